//! Chooses the configuration at start.
//!
//! The state file takes precedence while the configuration file is byte-identical to the version last read or applied:
//! the state is then that file plus all later changes. If the configuration file has changed, it takes precedence.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use super::file::{self, SavedState, StateError};
use crate::log::Level;
use crate::model::Config;
use crate::model::input_error::InputErrors;
use crate::model::parse::{self, ParseError};
use crate::model::validate;
use crate::plural::count;

/// The files to start from.
#[derive(Clone, Copy, Debug)]
pub struct Sources<'a> {
    /// The configuration file.
    pub config: Option<&'a Path>,
    /// The state file; none keeps no state.
    pub state: Option<&'a Path>,
    /// Set the state aside instead of reading it.
    pub fresh: bool,
}

/// The configuration to start with.
#[derive(Debug)]
pub struct StartupConfig {
    /// The configuration.
    pub config: Config,
    /// True if it comes from the state file.
    pub from_state: bool,
    /// The state file; `None` if no state is kept.
    pub state_file: Option<StateFile>,
    /// Messages for the log, with their severity.
    pub messages: Vec<(Level, String)>,
}

impl StartupConfig {
    /// Uses this debug level until the daemon stops. The state file keeps the configured one.
    pub fn override_debug_level(&mut self, level: i32) {
        let configured = std::mem::replace(&mut self.config.settings.debug_level, level);
        if let Some(state_file) = &mut self.state_file {
            state_file.debug_level = Some(DebugLevelOverride { level, configured });
        }
    }
}

/// A debug level that was given on the command line.
#[derive(Clone, Copy, Debug)]
pub struct DebugLevelOverride {
    /// The level in use.
    pub level: i32,
    /// The level of the configuration.
    pub configured: i32,
}

/// The state file, and the digests of the configuration files it is based on.
#[derive(Debug)]
pub struct StateFile {
    /// Path of the state file.
    pub path: PathBuf,
    /// Digest of the configuration file when it was last read.
    pub file: Option<String>,
    /// Digest of the file that was last applied.
    pub applied: Option<String>,
    /// The debug level of the command line, which is not saved.
    pub debug_level: Option<DebugLevelOverride>,
    /// Held while the daemon runs, so that no other daemon uses the same state file.
    _lock: Option<File>,
}

/// Reason why the daemon cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartupError {
    /// The configuration file cannot be read.
    #[error(transparent)]
    File(#[from] ParseError),
    /// The configuration file is invalid.
    #[error("the configuration has errors: {0}")]
    InputErrors(InputErrors),
    /// The state file was written by another version of polluxd.
    #[error(transparent)]
    State(StateError),
    /// Another daemon uses the state file.
    #[error("state file {0} is in use by another polluxd; use another file with --state, or --no-state")]
    InUse(PathBuf),
}

/// Reads the configuration file and the state file, and chooses between them.
///
/// # Errors
/// If the configuration file is invalid, or the state file has another version or is in use by another daemon. A state
/// file that is truncated or invalid is renamed and not used.
pub fn load(sources: Sources) -> Result<StartupConfig, StartupError> {
    let Sources { config: config_file, state, fresh } = sources;
    let file = config_file.map(parse::file_and_digest).transpose()?;
    let (config, digest) = file.map_or_else(Default::default, |(config, digest)| (config, Some(digest)));
    validate::validate(&config).map_err(StartupError::InputErrors)?;
    let mut startup = StartupConfig { config, from_state: false, state_file: None, messages: Vec::new() };
    let Some(path) = state else { return Ok(startup) };
    let lock = lock(path, &mut startup.messages)?;
    let mut state_file =
        StateFile { path: path.to_owned(), file: digest, applied: None, debug_level: None, _lock: lock };
    if fresh {
        let suffix = match file::read(path) {
            Err(StateError::Version { found, .. }) => format!("version-{found}"),
            _ => "old".to_owned(),
        };
        set_aside(path, &suffix, &mut startup.messages);
    } else {
        match file::read(path) {
            Ok(None) => {}
            Ok(Some(saved)) => choose(&mut startup, &mut state_file, saved, config_file),
            Err(error @ StateError::Version { .. }) => return Err(StartupError::State(error)),
            Err(error) => {
                let instead =
                    if config_file.is_some() { "the configuration file" } else { "an empty configuration" };
                let text = format!("state file not used: {error}; starting from {instead}");
                startup.messages.push((Level::Warn, text));
                set_aside(path, &format!("broken-{}", now()), &mut startup.messages);
            }
        }
    }
    startup.state_file = Some(state_file);
    Ok(startup)
}

fn choose(startup: &mut StartupConfig, state_file: &mut StateFile, saved: SavedState, config: Option<&Path>) {
    let path = state_file.path.display().to_string();
    if let (Some(config), Some(digest)) = (config, &state_file.file)
        && !saved.is_based_on(digest)
    {
        let config = config.display();
        let text = format!("{config} has changed since {path} was written and takes precedence");
        startup.messages.push((Level::Info, text));
        set_aside(&state_file.path, "old", &mut startup.messages);
        return;
    }
    let services = count(saved.config.services.len() as u64, "service");
    let text = format!("resuming from state file {path}, {services}; --fresh starts without it");
    startup.messages.push((Level::Info, text));
    state_file.applied = saved.applied;
    startup.config = saved.config;
    startup.from_state = true;
}

/// Locks the state file. If its directory is not writable there is no lock; the writer will report errors.
fn lock(path: &Path, messages: &mut Vec<(Level, String)>) -> Result<Option<File>, StartupError> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let made = parent.map_or(Ok(()), fs::create_dir_all);
    let file = match made.and_then(|()| File::create(path.with_added_extension("lock"))) {
        Ok(file) => file,
        Err(error) => {
            let text = format!(
                "cannot write in the directory of state file {}: {error}; changes may be lost at a restart; make it \
                 writable, or use --state or --no-state",
                path.display()
            );
            messages.push((Level::Warn, text));
            return Ok(None);
        }
    };
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Err(StartupError::InUse(path.to_owned())),
        // The file system has no locks.
        Err(TryLockError::Error(_)) => Ok(None),
    }
}

fn set_aside(path: &Path, suffix: &str, messages: &mut Vec<(Level, String)>) {
    let aside = path.with_added_extension(suffix);
    let (from, to) = (path.display(), aside.display());
    messages.push(match fs::rename(path, &aside) {
        Ok(()) => (Level::Info, format!("state file {from} renamed to {to}")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return,
        Err(error) => {
            let text =
                format!("state file {from} cannot be renamed to {to}: {error}; it will be overwritten");
            (Level::Warn, text)
        }
    });
}

/// Returns seconds since 1970, for file names.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
