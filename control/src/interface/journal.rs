//! The file with the changes that were made to interfaces. It is written before they are made, so that after a crash the
//! next start, or `polluxd --restore-interfaces`, can undo them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::InterfaceError;
use super::change::Change;

/// Version of the format.
const VERSION: u32 = 1;
/// Longest file that is read, in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// An interface and its changes, in the order in which they are made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Name of the interface.
    pub name: String,
    /// Its index.
    pub index: u32,
    /// The changes.
    pub changes: Vec<Change>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    version: u32,
    /// The kernel's changes end with the boot and with the network namespace.
    boot: String,
    netns: u64,
    interfaces: Vec<Entry>,
}

/// The file.
#[derive(Clone, Debug)]
pub struct Journal {
    path: PathBuf,
    boot: String,
    netns: u64,
}

impl Journal {
    /// The file next to a control socket: `control.interfaces` for `control.sock`.
    pub fn beside(socket: &Path) -> Journal {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let netns = fs::metadata("/proc/self/ns/net").map_or(0, |place| place.ino());
        Journal { path: socket.with_extension("interfaces"), boot: boot.trim().to_owned(), netns }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it exists.
    pub fn exists(&self) -> bool {
        self.path.exists()
    }

    /// The changes that another process left behind in this network namespace.
    ///
    /// # Errors
    /// If the file cannot be read or is invalid.
    pub fn read(&self) -> Result<Vec<Entry>, InterfaceError> {
        let failed = |source| InterfaceError::File { doing: "read", path: self.path.clone(), source };
        let invalid = |why| InterfaceError::Journal { path: self.path.clone(), why };
        let mut text = String::new();
        match File::open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            file => file.and_then(|file| file.take(MAX_BYTES).read_to_string(&mut text)).map_err(failed)?,
        };
        let content: Content = serde_json::from_str(&text).map_err(|error| invalid(error.to_string()))?;
        if content.version != VERSION {
            return Err(invalid(format!(
                "the file has version {}, and this polluxd reads version {VERSION}",
                content.version
            )));
        }
        let here = content.boot == self.boot && content.netns == self.netns;
        Ok(if here { content.interfaces } else { Vec::new() })
    }

    /// Replaces the file, or removes it if there is nothing to undo.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, interfaces: Vec<Entry>) -> Result<(), InterfaceError> {
        let failed = |doing| move |source| InterfaceError::File { doing, path: self.path.clone(), source };
        if interfaces.iter().all(|entry| entry.changes.is_empty()) {
            return match fs::remove_file(&self.path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove")(error)),
                _ => Ok(()),
            };
        }
        let content = Content { version: VERSION, boot: self.boot.clone(), netns: self.netns, interfaces };
        self.replace(&content).map_err(failed("write"))
    }

    fn replace(&self, content: &Content) -> io::Result<()> {
        if let Some(directory) = self.path.parent() {
            fs::create_dir_all(directory)?;
        }
        let fresh = self.path.with_extension("interfaces.new");
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
        file.write_all(serde_json::to_string_pretty(content)?.as_bytes())?;
        file.write_all(b"\n")?;
        fs::rename(&fresh, &self.path)
    }
}
