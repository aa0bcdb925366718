//! `pollux marks`: the rules that mark packets, as a file that holds nothing else.

use std::path::{Path, PathBuf};

use clap::Subcommand;

use super::run::CliError;
use crate::model::Config;
use crate::parse;
use crate::request::MarksSet;

/// What can be done to the rules that mark packets.
#[derive(Debug, Subcommand)]
#[command(after_help = "A file is TOML or JSON, by its extension:\n  \
    [[marks]]\n  \
    destination = \"10.9.9.0/24\"\n  \
    protocol = \"tcp\"\n  \
    l4_ports = [\"80\", \"443\", \"8000-8999\"]\n  \
    mark = 7\n\n\
    Then: pollux marks set marks.toml && pollux service add mark 7")]
pub enum MarksCommand {
    /// Show the rules as TOML, in the form that `set` reads.
    List,
    /// Replace all rules by a file's.
    Set {
        /// A file with [[marks]] and nothing else.
        file: PathBuf,
    },
}

/// Reads a file of rules.
///
/// # Errors
/// When it cannot be read, or holds more.
pub fn read(file: &Path) -> Result<MarksSet, CliError> {
    let mut config = parse::file(file)?;
    let marks = std::mem::take(&mut config.marks);
    if config == Config::default() {
        Ok(MarksSet { marks })
    } else {
        let file = file.display();
        Err(CliError::Usage(format!("{file} holds more than [[marks]]; use `pollux apply` for all of it")))
    }
}
