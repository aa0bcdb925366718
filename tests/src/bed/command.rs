//! Running other programs, with errors that say what was run and what it answered.

use std::path::PathBuf;
use std::process::Command;

/// Something in the world did not work; the text is for the person who reads the test's output.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Trouble(pub String);

/// What building and using a bed returns.
pub type Result<T> = std::result::Result<T, Trouble>;

impl From<std::io::Error> for Trouble {
    fn from(error: std::io::Error) -> Trouble {
        Trouble(error.to_string())
    }
}

impl From<serde_json::Error> for Trouble {
    fn from(error: serde_json::Error) -> Trouble {
        Trouble(format!("an answer is not the JSON that was expected: {error}"))
    }
}

/// Runs a command to its end and gives what it printed.
///
/// # Errors
/// When it cannot be started or fails; the message has the command line and what it complained about.
pub fn output(command: &mut Command) -> Result<String> {
    let done = command.output().map_err(|error| Trouble(format!("cannot run {command:?}: {error}")))?;
    if done.status.success() {
        return Ok(String::from_utf8_lossy(&done.stdout).into_owned());
    }
    let complaint = String::from_utf8_lossy(&done.stderr);
    Err(Trouble(format!("{command:?} failed ({}): {}", done.status, complaint.trim())))
}

/// Runs `ip` with these words.
///
/// # Errors
/// When it fails.
pub fn ip(words: &str) -> Result<()> {
    output(Command::new("ip").args(words.split_whitespace())).map(|_| ())
}

/// Finds a program of the project: in `POLLUX_BIN_DIR`, beside the running program, or in `target/release`.
///
/// # Errors
/// When it is in none of these places.
pub fn program(name: &str) -> Result<PathBuf> {
    let configured = std::env::var_os("POLLUX_BIN_DIR").map(PathBuf::from);
    let own = std::env::current_exe()?;
    let beside = own.ancestors().skip(1).take(2).map(PathBuf::from);
    let release = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target/release"));
    let mut places = configured.into_iter().chain(beside).chain([release]).map(|place| place.join(name));
    places.find(|path| path.is_file()).ok_or_else(|| {
        Trouble(format!(
            "{name} is not built; `cargo build --release -p pollux-control --features dpdk` builds it"
        ))
    })
}
