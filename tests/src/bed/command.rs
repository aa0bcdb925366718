//! Running other programs, with errors that contain the command line and its output.

use std::path::PathBuf;
use std::process::Command;

/// An error of the test network, for the reader of the test's output.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Error(pub String);

/// Result with such an error.
pub type Result<T> = std::result::Result<T, Error>;

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Error {
        Error(error.to_string())
    }
}

impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Error {
        Error(format!("invalid JSON: {error}"))
    }
}

/// Runs a command and returns its standard output.
///
/// # Errors
/// If it cannot be started or fails; the message contains the command line and its standard error.
pub fn output(command: &mut Command) -> Result<String> {
    let done = command.output().map_err(|error| Error(format!("cannot run {command:?}: {error}")))?;
    if done.status.success() {
        return Ok(String::from_utf8_lossy(&done.stdout).into_owned());
    }
    let stderr = String::from_utf8_lossy(&done.stderr);
    Err(Error(format!("{command:?} failed ({}): {}", done.status, stderr.trim())))
}

/// Runs `ip` with these arguments.
///
/// # Errors
/// If it fails.
pub fn ip(words: &str) -> Result<()> {
    output(Command::new("ip").args(words.split_whitespace())).map(|_| ())
}

/// Finds a program of the project: in `POLLUX_BIN_DIR`, next to the running program, or in `target/release`.
///
/// # Errors
/// If it is in none of these directories.
pub fn program(name: &str) -> Result<PathBuf> {
    let configured = std::env::var_os("POLLUX_BIN_DIR").map(PathBuf::from);
    let own = std::env::current_exe()?;
    let beside = own.ancestors().skip(1).take(2).map(PathBuf::from);
    let release = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target/release"));
    let mut places = configured.into_iter().chain(beside).chain([release]).map(|place| place.join(name));
    places.find(|path| path.is_file()).ok_or_else(|| {
        Error(format!(
            "{name} is not built; `cargo build --release -p pollux-control --features dpdk` builds it"
        ))
    })
}
