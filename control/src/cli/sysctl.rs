//! `pollux sysctl`: `net.ipv4.vs.*` as sysctl(8) reads and writes it.

use clap::Args;

use super::run::CliError;
use crate::sysctl::{PREFIX, Values, bare};

/// Which variables.
#[derive(Clone, Debug, Args)]
pub struct SysctlArgs {
    /// Show all.
    #[arg(short, long)]
    pub all: bool,
    /// A variable to show, or to set: all that are set take effect together. `net.ipv4.vs.` before the name may be left
    /// out.
    #[arg(value_name = "NAME[=VALUE]", required_unless_present = "all")]
    pub variables: Vec<String>,
}

impl SysctlArgs {
    /// What is to be set.
    ///
    /// # Errors
    /// When one variable is set twice.
    pub fn changes(&self) -> Result<Values, CliError> {
        let mut changes = Values::default();
        for (name, value) in self.variables.iter().filter_map(|text| text.split_once('=')) {
            let name = bare(name.trim());
            if changes.values.insert(name.to_owned(), value.trim().to_owned()).is_some() {
                return Err(CliError::Usage(format!("{name} is set twice; write it once")));
            }
        }
        Ok(changes)
    }

    /// What is to be shown; all when empty.
    pub fn shown(&self) -> Vec<String> {
        let name = |text: &String| bare(text.split('=').next().unwrap_or_default().trim()).to_owned();
        if self.all { Vec::new() } else { self.variables.iter().map(name).collect() }
    }
}

/// A line for each, as sysctl(8) prints them.
pub fn text(values: &Values) -> String {
    values.values.iter().map(|(name, value)| format!("{PREFIX}{name} = {value}\n")).collect()
}
