//! Format of the state file, reading, and atomic replacement.
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, Serialize};

use crate::model::Config;
use crate::model::input_error::InputErrors;
use crate::model::parse::{self, SyntaxError, read_limited};
use crate::model::validate;

/// Version of the format that is written, and the only one that is read.
pub const VERSION: u32 = 2;
/// Maximum size of a state file, in bytes.
const MAX_BYTES: u64 = 256 << 20;

/// Content of the state file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedState {
    /// Version of the format; the first field, so that another version is recognized before other fields are read.
    #[serde(deserialize_with = "version")]
    pub version: u32,
    /// Digest of the configuration file when the daemon last read it; absent without `--config`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Digest of the file that was last applied, if the client sent it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied: Option<String>,
    /// The running configuration.
    pub config: Config,
}

impl SavedState {
    /// Returns true if the state is based on the file with this digest.
    pub fn is_based_on(&self, digest: &str) -> bool {
        [&self.file, &self.applied].into_iter().flatten().any(|known| known == digest)
    }
}

fn version<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    match u32::deserialize(from)? {
        VERSION => Ok(VERSION),
        other => Err(serde::de::Error::custom(format!(
            "the file has version {other}, and this polluxd reads version {VERSION}"
        ))),
    }
}

/// Reason why a state file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The file could not be read.
    #[error("cannot read {path}: {why}; check its permissions")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's error.
        why: io::Error,
    },
    /// Another version of polluxd wrote the file.
    #[error(
        "state file {path}: the file has version {found}, and this polluxd reads version {VERSION}; start with --fresh \
         to begin without it (it is kept as {path}.version-{found}); to recover its configuration, start the polluxd \
         that wrote it and save the output of `pollux config`"
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
    /// The text is invalid.
    #[error("{}{wrong}", path.display())]
    Text {
        /// The file.
        path: PathBuf,
        /// The error and its position.
        wrong: SyntaxError,
    },
    /// The configuration in it is invalid.
    #[error("{}: config.{errors}", path.display())]
    InputErrors {
        /// The file.
        path: PathBuf,
        /// The errors.
        errors: InputErrors,
    },
}

/// Reads and validates a state file; `None` if it does not exist.
///
/// # Errors
/// If it is truncated, of another version, or invalid. No part of it is used then.
pub fn read(path: &Path) -> Result<Option<SavedState>, StateError> {
    let failed = |why| StateError::Read { path: path.to_owned(), why };
    let text = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file.and_then(|file| read_limited(file, MAX_BYTES)).map_err(failed)?,
    };
    if let Some(found) = other_version(&text) {
        return Err(StateError::Version { path: path.to_owned(), found });
    }
    let saved = parse(&text).map_err(|wrong| StateError::Text { path: path.to_owned(), wrong })?;
    match validate::validate(&saved.config) {
        Ok(()) => Ok(Some(saved)),
        Err(errors) => Err(StateError::InputErrors { path: path.to_owned(), errors }),
    }
}

/// Returns the version of a complete file, if it is not ours.
fn other_version(text: &str) -> Option<u32> {
    #[derive(Deserialize)]
    struct Head {
        version: u32,
    }
    serde_json::from_str(text).ok().map(|head: Head| head.version).filter(|version| *version != VERSION)
}

/// Parses the text of a state file, without validation.
///
/// # Errors
/// Returns the first error in the text.
pub fn parse(text: &str) -> Result<SavedState, SyntaxError> {
    parse::json(text)
}

/// Replaces the file atomically: after a crash either the old or the new file is there, complete.
///
/// # Errors
/// The system's error; the old file is unchanged.
pub fn write(path: &Path, saved: &SavedState) -> io::Result<()> {
    let fresh = path.with_added_extension("new");
    let written = write_whole(&fresh, saved).and_then(|()| fs::rename(&fresh, path));
    if written.is_err() {
        // The disk may be full.
        let _ = fs::remove_file(&fresh);
        return written;
    }
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(directory.unwrap_or(Path::new("."))).and_then(|directory| directory.sync_all())
}

fn write_whole(path: &Path, saved: &SavedState) -> io::Result<()> {
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    let mut buffered = BufWriter::with_capacity(1 << 16, file);
    serde_json::to_writer(&mut buffered, saved)?;
    buffered.write_all(b"\n")?;
    buffered.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
}
