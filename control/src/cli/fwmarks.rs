//! `pollux fwmarks`: the rules that set the fwmark of packets, in a file of their own.

use std::path::{Path, PathBuf};

use clap::Subcommand;

use super::error::CliError;
use crate::api::request::FwmarksSet;
use crate::model::Config;
use crate::model::parse;

/// Subcommands of `pollux fwmarks`.
#[derive(Debug, Subcommand)]
#[command(after_help = "A rules file is TOML or JSON, by its extension:\n  \
    [[fwmarks]]\n  \
    destination = \"10.9.9.0/24\"\n  \
    protocol = \"tcp\"\n  \
    l4_ports = [\"80\", \"443\", \"8000-8999\"]\n  \
    fwmark = 7\n\n\
    Then: pollux fwmarks set fwmarks.toml && pollux service add fwmark 7")]
pub enum FwmarksCommand {
    /// Print the rules as TOML, in the format that `set` reads.
    List,
    /// Replace all rules with those of a file.
    Set {
        /// File with [[fwmarks]] tables and nothing else.
        file: PathBuf,
    },
}

/// Reads a file of rules.
///
/// # Errors
/// If it cannot be read, or contains anything else.
pub fn read(file: &Path) -> Result<FwmarksSet, CliError> {
    let mut config = parse::file(file)?;
    let fwmarks = std::mem::take(&mut config.fwmarks);
    if config == Config::default() {
        Ok(FwmarksSet { fwmarks })
    } else {
        let file = file.display();
        Err(CliError::Usage(format!(
            "{file} contains more than [[fwmarks]]; remove the rest, or load the whole file with `pollux apply`"
        )))
    }
}
