//! The state file.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, Serialize};

use crate::model::Config;
use crate::model::input_error::InputErrors;
use crate::model::parse::{self, SyntaxError};
use crate::model::validate;

/// The version written, and the only one read.
pub const VERSION: u32 = 2;
/// The largest file read.
const MAX_BYTES: u64 = 256 << 20;

/// What is written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Saved {
    /// Of this format. It is read first, so that a newer file is told from a broken one.
    #[serde(deserialize_with = "version")]
    pub version: u32,
    /// What the configuration file was when the daemon read it last; none if it had none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The file that was applied last, if the client told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied: Option<String>,
    /// The configuration that runs.
    pub config: Config,
}

impl Saved {
    /// Whether the configuration grew from a file like this.
    pub fn grew_from(&self, digest: &str) -> bool {
        [&self.file, &self.applied].into_iter().flatten().any(|known| known == digest)
    }
}

fn version<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    match u32::deserialize(from)? {
        VERSION => Ok(VERSION),
        other => Err(serde::de::Error::custom(format!(
            "the file is of version {other} and this polluxd reads version {VERSION}"
        ))),
    }
}

/// Why a state cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The system gave an error.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The text is wrong at one place.
    #[error("{}{wrong}", path.display())]
    Text {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        wrong: SyntaxError,
    },
    /// What it says makes no sense.
    #[error("{}: config.{errors}", path.display())]
    InputErrors {
        /// The file.
        path: PathBuf,
        /// What makes no sense.
        errors: InputErrors,
    },
}

/// Reads and checks a state; none if there is no file.
///
/// # Errors
/// When it is not whole, of another version, or makes no sense. It is not used in part, then.
pub fn read(path: &Path) -> Result<Option<Saved>, StateError> {
    let failed = |source| StateError::Read { path: path.to_owned(), source };
    let mut text = String::new();
    match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file.map_err(failed)?.take(MAX_BYTES).read_to_string(&mut text).map_err(failed)?,
    };
    let saved = parse(&text).map_err(|wrong| StateError::Text { path: path.to_owned(), wrong })?;
    match validate::validate(&saved.config) {
        Ok(()) => Ok(Some(saved)),
        Err(errors) => Err(StateError::InputErrors { path: path.to_owned(), errors }),
    }
}

/// Reads the text of a state.
///
/// # Errors
/// At the first place that is wrong.
pub fn parse(text: &str) -> Result<Saved, SyntaxError> {
    parse::json(text)
}

/// Replaces the file: whoever reads it, now or after a crash, finds the old one or the new one, whole.
///
/// # Errors
/// What the system says; the old file is then still there.
pub fn write(path: &Path, saved: &Saved) -> io::Result<()> {
    let fresh = beside(path, "new");
    let written = write_whole(&fresh, saved).and_then(|()| fs::rename(&fresh, path));
    if written.is_err() {
        // A disk that is full needs the room.
        let _ = fs::remove_file(&fresh);
        return written;
    }
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(directory.unwrap_or(Path::new("."))).and_then(|directory| directory.sync_all())
}

fn write_whole(path: &Path, saved: &Saved) -> io::Result<()> {
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    let mut buffered = BufWriter::with_capacity(1 << 16, file);
    serde_json::to_writer(&mut buffered, saved)?;
    buffered.write_all(b"\n")?;
    buffered.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
}

/// `PATH.SUFFIX`.
pub fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    name.into()
}
