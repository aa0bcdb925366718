//! `pollux fwmarks`: the rules that set the fwmark of packets, in a file of their own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde::de::IgnoredAny;

use super::error::CliError;
use crate::api::request::FwmarksSet;
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
    /// Replace all rules with those of a file; an empty file removes them.
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
    let (sections, _) = parse::file_as::<BTreeMap<String, IgnoredAny>>(file)?;
    if let Some(other) = sections.keys().find(|name| *name != "fwmarks") {
        return Err(CliError::Usage(format!(
            "{}: {other}: only [[fwmarks]] is allowed here; remove the rest, or load the whole file with `pollux apply`",
            file.display()
        )));
    }
    Ok(FwmarksSet { fwmarks: parse::file(file)?.fwmarks })
}
