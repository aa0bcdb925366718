//! `pollux sysctl -p`: files in the syntax of sysctl.conf(5).

use std::collections::BTreeMap;
use std::fs;
use std::io;

use super::SysctlArgs;
use crate::api::socket::rpc::RpcError;
use crate::cli::error::CliError;
use crate::model::parse::read_limited;
use crate::model::sysctl::PREFIX;
use crate::model::sysctl::conf::{self, Line};

/// The default of sysctl(8).
const FILE: &str = "/etc/sysctl.conf";
/// The largest file read.
const MAX_BYTES: u64 = 1 << 20;

/// Reads the files. Returns the last line about each variable, and the ignored lines.
///
/// # Errors
/// If a file cannot be read, or with all errors in the files; then nothing must be set.
pub fn files(args: &SysctlArgs) -> Result<(BTreeMap<String, Line>, Vec<String>), CliError> {
    let default = [FILE.to_owned()];
    let names = if args.variables.is_empty() { &default[..] } else { &args.variables };
    let (mut lines, mut skipped, mut errors) = (BTreeMap::new(), Vec::new(), Vec::new());
    for name in names {
        let text = text(name).map_err(|error| CliError::Sysctl(format!("cannot open {name:?}: {error}")))?;
        match conf::parse(name, &text, args.ignore) {
            Ok(read) => {
                lines.extend(read.lines.into_iter().map(|line| (line.name.clone(), line)));
                skipped.extend(read.skipped);
            }
            Err(wrong) => errors.push(wrong.to_string()),
        }
    }
    if errors.is_empty() { Ok((lines, skipped)) } else { Err(CliError::Sysctl(errors.join("\n"))) }
}

fn text(name: &str) -> io::Result<String> {
    if name == "-" {
        read_limited(io::stdin(), MAX_BYTES)
    } else {
        read_limited(fs::File::open(name)?, MAX_BYTES)
    }
}

/// The daemon's errors in the words of sysctl(8), each with its line in the file.
pub fn explain(error: &RpcError, lines: &BTreeMap<String, Line>) -> String {
    let errors = error.data.errors.iter().map(|error| {
        let line = error.location.strip_prefix(PREFIX).and_then(|name| lines.get(name));
        let location = line.map(|line| format!("{}: ", line.location)).unwrap_or_default();
        format!(
            "{location}setting key {:?}: Invalid argument: {}; {}",
            error.location, error.error, error.hint
        )
    });
    let errors: Vec<String> = errors.collect();
    if errors.is_empty() { error.message.clone() } else { errors.join("\n") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Config;
    use crate::model::sysctl::{Values, write};

    #[test]
    fn a_wrong_value_is_reported_with_its_line() {
        let read =
            conf::parse("a.conf", "\nnet.ipv4.vs.drop_entry = 4\nnet.ipv4.vs.sloppy_tcp = x", false).unwrap();
        let lines: BTreeMap<String, Line> =
            read.lines.into_iter().map(|line| (line.name.clone(), line)).collect();
        let values =
            Values { values: lines.iter().map(|(name, line)| (name.clone(), line.value.clone())).collect() };
        let refused = crate::api::error::Failure::from(write(&mut Config::default(), &values).unwrap_err());
        let text = explain(&RpcError::from(&refused), &lines);
        let wanted = "a.conf:3: setting key \"net.ipv4.vs.sloppy_tcp\": Invalid argument: \"x\" is not a 32-bit integer";
        assert!(text.starts_with(wanted), "{text}");
        let one = Values { values: [("drop_entry".to_owned(), "4".to_owned())].into() };
        let refused = crate::api::error::Failure::from(write(&mut Config::default(), &one).unwrap_err());
        let text = explain(&RpcError::from(&refused), &BTreeMap::new());
        assert!(
            text.starts_with("setting key \"net.ipv4.vs.drop_entry\": Invalid argument: 4 is not a mode;"),
            "{text}"
        );
    }
}
