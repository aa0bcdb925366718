//! `pollux sysctl`: `net.ipv4.vs.*` as sysctl(8) reads and writes it.

mod load;

use clap::Args;

pub use self::load::{explain, files};
use super::error::CliError;
use crate::model::sysctl::conf::{dotted, is_pattern, matches};
use crate::model::sysctl::{PREFIX, Values, bare, names};

/// Arguments of `pollux sysctl`.
#[derive(Clone, Debug, Default, Args)]
#[allow(clippy::struct_excessive_bools, reason = "the switches of sysctl(8)")]
pub struct SysctlArgs {
    /// Show all variables.
    #[arg(short, long)]
    pub all: bool,
    /// Print values only.
    #[arg(short = 'n', long, conflicts_with = "names")]
    pub values: bool,
    /// Print names only.
    #[arg(long)]
    pub names: bool,
    /// Ignore unknown names.
    #[arg(short = 'e', long)]
    pub ignore: bool,
    /// Do not print the values that were set.
    #[arg(short, long)]
    pub quiet: bool,
    /// Require a value for every variable.
    #[arg(short, long, conflicts_with_all = ["all", "load"])]
    pub write: bool,
    /// Set the variables in files with the syntax of sysctl.conf(5); without a file, in /etc/sysctl.conf. `-` is standard
    /// input. Variables outside net.ipv4.vs are ignored.
    #[arg(short = 'p', long, conflicts_with = "all")]
    pub load: bool,
    /// Variable to show or set; all values take effect together. The prefix `net.ipv4.vs.` is optional, and the patterns
    /// `*`, `?` and `[a-c]` are allowed. With --load, a file.
    #[arg(
        value_name = "NAME[=VALUE]",
        required_unless_present_any = ["all", "load"],
        allow_negative_numbers = true
    )]
    pub variables: Vec<String>,
}

/// One operation on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Operation {
    Show(String),
    Set(String, String),
}

impl SysctlArgs {
    /// The variables to set.
    ///
    /// # Errors
    /// If a variable is set twice or does not exist.
    pub fn changes(&self) -> Result<Values, CliError> {
        let mut changes = Values::default();
        for operation in self.operations()? {
            let Operation::Set(name, value) = operation else { continue };
            for name in self.matching(&name)? {
                if changes.values.insert(name.clone(), value.clone()).is_some() {
                    return Err(CliError::Usage(format!("{name} is set twice; give it one value")));
                }
            }
        }
        Ok(changes)
    }

    /// The variables to show, in order.
    ///
    /// # Errors
    /// If one does not exist.
    pub fn shown(&self) -> Result<Vec<String>, CliError> {
        if self.all {
            let mut all: Vec<String> = names().map(str::to_owned).collect();
            all.sort();
            return Ok(all);
        }
        let mut shown = Vec::new();
        for operation in self.operations()? {
            match operation {
                Operation::Set(..) if self.quiet => {}
                Operation::Set(name, _) | Operation::Show(name) => shown.extend(self.matching(&name)?),
            }
        }
        Ok(shown)
    }

    /// `NAME=VALUE`, also with spaces around the `=`; and `NAME VALUE`, where the value cannot be a name.
    fn operations(&self) -> Result<Vec<Operation>, CliError> {
        let mut operations = Vec::new();
        let mut words = self.variables.iter().map(|word| word.trim()).peekable();
        while let Some(word) = words.next() {
            let (name, value) = match word.split_once('=') {
                Some((name, "")) => {
                    let next = words.next_if(|next| is_value(next) || (!name.is_empty() && !is_name(next)));
                    (name, Some(next.unwrap_or_default()))
                }
                Some((name, value)) => (name, Some(value)),
                None if words.next_if_eq(&"=").is_some() => (word, Some(words.next().unwrap_or_default())),
                None => match words.peek().and_then(|next| next.strip_prefix('=')) {
                    Some(value) => {
                        words.next();
                        (word, Some(value))
                    }
                    None => (word, words.next_if(|next| is_value(next))),
                },
            };
            let name = bare(&dotted(name.trim())).to_owned();
            match value {
                _ if name.is_empty() => {
                    return Err(CliError::Usage(format!("{word:?} has no variable name; write NAME=VALUE")));
                }
                Some(value) => operations.push(Operation::Set(name, value.trim().to_owned())),
                None if self.write => {
                    return Err(CliError::Usage(format!("{name} has no value; write {name}=VALUE")));
                }
                None => operations.push(Operation::Show(name)),
            }
        }
        Ok(operations)
    }

    /// The variables that match a name or pattern.
    fn matching(&self, name: &str) -> Result<Vec<String>, CliError> {
        let all = name == PREFIX.trim_end_matches('.');
        let fits = |known: &&str| all || *known == name || (is_pattern(name) && matches(name, known));
        let mut matching: Vec<String> = names().filter(fits).map(str::to_owned).collect();
        matching.sort();
        if matching.is_empty() && !self.ignore {
            return Err(CliError::Sysctl(format!(
                "{PREFIX}{name}: No such file or directory; `pollux sysctl -a` lists the variables"
            )));
        }
        Ok(matching)
    }

    /// One line per variable, as sysctl(8) prints it.
    pub fn text(&self, shown: &[String], values: &Values) -> String {
        let shown_as = |name: &String| {
            let value = values.values.get(name).map_or("", String::as_str);
            match (self.values, self.names) {
                (true, _) => format!("{value}\n"),
                (_, true) => format!("{PREFIX}{name}\n"),
                _ => line(name, value),
            }
        };
        shown.iter().map(shown_as).collect()
    }
}

/// All values, one line each.
pub fn lines(values: &Values) -> String {
    values.values.iter().map(|(name, value)| line(name, value)).collect()
}

fn line(name: &str, value: &str) -> String {
    format!("{PREFIX}{name} = {value}\n")
}

/// Returns true if a word can only be a value: no name begins with a digit.
fn is_value(word: &str) -> bool {
    word.trim_start_matches('-').starts_with(|first: char| first.is_ascii_digit())
}

fn is_name(word: &str) -> bool {
    let name = word.split('=').next().unwrap_or_default().trim();
    is_pattern(name) || names().any(|known| known == bare(&dotted(name)))
}
