//! `pollux sysctl`: `net.ipv4.vs.*` as sysctl(8) reads and writes it.

mod load;

use clap::Args;

pub use self::load::{files, told};
use super::run::CliError;
use crate::sysctl::conf::{dotted, is_pattern, matches};
use crate::sysctl::{PREFIX, Values, bare, names};

/// Which variables.
#[derive(Clone, Debug, Default, Args)]
#[allow(clippy::struct_excessive_bools, reason = "the switches of sysctl(8)")]
pub struct SysctlArgs {
    /// Show all.
    #[arg(short, long)]
    pub all: bool,
    /// Print values only.
    #[arg(short = 'n', long, conflicts_with = "names")]
    pub values: bool,
    /// Print names only.
    #[arg(long)]
    pub names: bool,
    /// Pass over names that are not there.
    #[arg(short = 'e', long)]
    pub ignore: bool,
    /// Do not show what was set.
    #[arg(short, long)]
    pub quiet: bool,
    /// Everything named is to be set.
    #[arg(short, long, conflicts_with_all = ["all", "load"])]
    pub write: bool,
    /// Set what files in the syntax of sysctl.conf(5) say, /etc/sysctl.conf if none is named; `-` is the standard
    /// input. Lines about other variables are passed over.
    #[arg(short = 'p', long, conflicts_with = "all")]
    pub load: bool,
    /// A variable to show, or to set: all that are set take effect together. `net.ipv4.vs.` before the name may be left
    /// out; `*`, `?` and `[a-c]` stand for letters. With --load, a file.
    #[arg(
        value_name = "NAME[=VALUE]",
        required_unless_present_any = ["all", "load"],
        allow_negative_numbers = true
    )]
    pub variables: Vec<String>,
}

/// What one or more words of the command line ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Asked {
    Show(String),
    Set(String, String),
}

impl SysctlArgs {
    /// What is to be set.
    ///
    /// # Errors
    /// When one variable is set twice, or is not there.
    pub fn changes(&self) -> Result<Values, CliError> {
        let mut changes = Values::default();
        for asked in self.asked()? {
            let Asked::Set(name, value) = asked else { continue };
            for name in self.meant(&name)? {
                if changes.values.insert(name.clone(), value.clone()).is_some() {
                    return Err(CliError::Usage(format!("{name} is set twice; write it once")));
                }
            }
        }
        Ok(changes)
    }

    /// What is to be shown, in turn.
    ///
    /// # Errors
    /// When one is not there.
    pub fn shown(&self) -> Result<Vec<String>, CliError> {
        if self.all {
            let mut all: Vec<String> = names().map(str::to_owned).collect();
            all.sort();
            return Ok(all);
        }
        let mut shown = Vec::new();
        for asked in self.asked()? {
            match asked {
                Asked::Set(..) if self.quiet => {}
                Asked::Set(name, _) | Asked::Show(name) => shown.extend(self.meant(&name)?),
            }
        }
        Ok(shown)
    }

    /// `NAME=VALUE`, also with spaces around the `=`; and `NAME VALUE`, where the value cannot be a name.
    fn asked(&self) -> Result<Vec<Asked>, CliError> {
        let mut asked = Vec::new();
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
                    return Err(CliError::Usage(format!("{word:?} names no variable; write NAME=VALUE")));
                }
                Some(value) => asked.push(Asked::Set(name, value.trim().to_owned())),
                None if self.write => {
                    return Err(CliError::Usage(format!("{name} has no value; write {name}=VALUE")));
                }
                None => asked.push(Asked::Show(name)),
            }
        }
        Ok(asked)
    }

    /// The variables that a name or a pattern means.
    fn meant(&self, name: &str) -> Result<Vec<String>, CliError> {
        let all = name == PREFIX.trim_end_matches('.');
        let fits = |known: &&str| all || *known == name || (is_pattern(name) && matches(name, known));
        let mut meant: Vec<String> = names().filter(fits).map(str::to_owned).collect();
        meant.sort();
        if meant.is_empty() && !self.ignore {
            return Err(CliError::Sysctl(format!(
                "{PREFIX}{name}: No such file or directory; `pollux sysctl -a` shows those there are"
            )));
        }
        Ok(meant)
    }

    /// A line for each, as sysctl(8) prints them.
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

/// All of them, a line each.
pub fn lines(values: &Values) -> String {
    values.values.iter().map(|(name, value)| line(name, value)).collect()
}

fn line(name: &str, value: &str) -> String {
    format!("{PREFIX}{name} = {value}\n")
}

/// Whether a word can only be a value: no name begins with a digit.
fn is_value(word: &str) -> bool {
    word.trim_start_matches('-').starts_with(|first: char| first.is_ascii_digit())
}

fn is_name(word: &str) -> bool {
    let name = word.split('=').next().unwrap_or_default().trim();
    is_pattern(name) || names().any(|known| known == bare(&dotted(name)))
}
