//! `pollux fwmarks`: the rules that mark packets, as a file that holds nothing else.

use std::path::{Path, PathBuf};

use clap::Subcommand;

use super::run::CliError;
use crate::model::Config;
use crate::parse;
use crate::request::FwmarksSet;

/// What can be done to the rules that mark packets.
#[derive(Debug, Subcommand)]
#[command(after_help = "A file is TOML or JSON, by its extension:\n  \
    [[fwmarks]]\n  \
    destination = \"10.9.9.0/24\"\n  \
    protocol = \"tcp\"\n  \
    l4_ports = [\"80\", \"443\", \"8000-8999\"]\n  \
    fwmark = 7\n\n\
    Then: pollux fwmarks set fwmarks.toml && pollux service add fwmark 7")]
pub enum FwmarksCommand {
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
pub fn read(file: &Path) -> Result<FwmarksSet, CliError> {
    let mut config = parse::file(file)?;
    let fwmarks = std::mem::take(&mut config.fwmarks);
    if config == Config::default() {
        Ok(FwmarksSet { fwmarks })
    } else {
        let file = file.display();
        Err(CliError::Usage(format!("{file} holds more than [[fwmarks]]; use `pollux apply` for all of it")))
    }
}
