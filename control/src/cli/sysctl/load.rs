//! `pollux sysctl -p`: files in the syntax of sysctl.conf(5).

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read as _};

use super::SysctlArgs;
use crate::cli::run::CliError;
use crate::socket::rpc::RpcError;
use crate::sysctl::PREFIX;
use crate::sysctl::conf::{self, Line};

/// Where sysctl(8) looks, too.
const FILE: &str = "/etc/sysctl.conf";
/// The largest file read.
const MAX_BYTES: u64 = 1 << 20;

/// What the files set: for each variable the last line about it. And what was passed over, to be told.
///
/// # Errors
/// When a file cannot be read, or with all that is wrong in them; then nothing is to be set.
pub fn files(args: &SysctlArgs) -> Result<(BTreeMap<String, Line>, Vec<String>), CliError> {
    let default = [FILE.to_owned()];
    let names = if args.variables.is_empty() { &default[..] } else { &args.variables };
    let (mut lines, mut skipped, mut errors) = (BTreeMap::new(), Vec::new(), Vec::new());
    for name in names {
        let text = text(name).map_err(|error| CliError::Sysctl(format!("cannot open {name:?}: {error}")))?;
        match conf::read(name, &text, args.ignore) {
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
    let mut text = String::new();
    let input: Box<dyn io::Read> =
        if name == "-" { Box::new(io::stdin()) } else { Box::new(fs::File::open(name)?) };
    input.take(MAX_BYTES).read_to_string(&mut text)?;
    Ok(text)
}

/// What the daemon says against values, in the words of sysctl(8), each with the line it is about.
pub fn told(error: &RpcError, lines: &BTreeMap<String, Line>) -> String {
    let told = error.data.errors.iter().map(|error| {
        let line = error.location.strip_prefix(PREFIX).and_then(|name| lines.get(name));
        let place = line.map(|line| format!("{}: ", line.place)).unwrap_or_default();
        format!("{place}setting key {:?}: Invalid argument: {}; {}", error.location, error.error, error.hint)
    });
    let told: Vec<String> = told.collect();
    if told.is_empty() { error.message.clone() } else { told.join("\n") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Config;
    use crate::sysctl::{Values, write};

    #[test]
    fn a_value_that_cannot_be_is_told_with_its_line() {
        let read =
            conf::read("a.conf", "\nnet.ipv4.vs.drop_entry = 4\nnet.ipv4.vs.sloppy_tcp = x", false).unwrap();
        let lines: BTreeMap<String, Line> =
            read.lines.into_iter().map(|line| (line.name.clone(), line)).collect();
        let values =
            Values { values: lines.iter().map(|(name, line)| (name.clone(), line.value.clone())).collect() };
        let refused = crate::error::Failure::from(write(&mut Config::default(), &values).unwrap_err());
        let said = told(&RpcError::from(&refused), &lines);
        let wanted =
            "a.conf:3: setting key \"net.ipv4.vs.sloppy_tcp\": Invalid argument: \"x\" is not a number";
        assert!(said.starts_with(wanted), "{said}");
        let one = Values { values: [("drop_entry".to_owned(), "4".to_owned())].into() };
        let refused = crate::error::Failure::from(write(&mut Config::default(), &one).unwrap_err());
        let said = told(&RpcError::from(&refused), &BTreeMap::new());
        assert!(
            said.starts_with("setting key \"net.ipv4.vs.drop_entry\": Invalid argument: 4 is no mode;"),
            "{said}"
        );
    }
}
