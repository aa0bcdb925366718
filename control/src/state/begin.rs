//! What a daemon starts with.
//!
//! The state goes before the configuration file as long as that is the file the state grew from: it is that file, and
//! everything that was changed since. When the file is another by now, somebody wrote it to be used: it goes before the
//! state.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use super::file::{self, Saved, beside};
use crate::model::Config;
use crate::model::input_error::InputErrors;
use crate::model::parse::{self, ParseError};
use crate::model::validate;

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

/// What to start with.
#[derive(Debug)]
pub struct Beginning {
    /// The configuration.
    pub config: Config,
    /// Whether it is that of the state.
    pub from_state: bool,
    /// Where to keep it; none keeps nothing.
    pub keep: Option<Keep>,
    /// What to tell about it.
    pub told: Vec<String>,
}

/// Where a state is kept, and what it grew from.
#[derive(Debug)]
pub struct Keep {
    /// The file.
    pub path: PathBuf,
    /// What the configuration file was when it was read last.
    pub file: Option<String>,
    /// The file that was applied last.
    pub applied: Option<String>,
    /// Held as long as we live, so that no other daemon writes there.
    _lock: Option<File>,
}

/// Why the daemon cannot start.
#[derive(Debug, thiserror::Error)]
pub enum BeginError {
    /// The configuration file cannot be read.
    #[error(transparent)]
    File(#[from] ParseError),
    /// The configuration file makes no sense.
    #[error("the configuration has errors: {0}")]
    InputErrors(#[from] InputErrors),
    /// Another daemon keeps its state there.
    #[error("another polluxd keeps its state in {0}; give this one its own with --state, or use --no-state")]
    InUse(PathBuf),
}

/// Reads the configuration file and the state, as the options say, and decides between them.
///
/// # Errors
/// When the configuration file is wrong, or the state is another daemon's. A state that is wrong is set aside.
pub fn begin(sources: Sources) -> Result<Beginning, BeginError> {
    let Sources { config: config_file, state, fresh } = sources;
    let file = config_file.map(parse::file_and_digest).transpose()?;
    let (config, digest) = file.map_or_else(Default::default, |(config, digest)| (config, Some(digest)));
    validate::validate(&config)?;
    let mut begun = Beginning { config, from_state: false, keep: None, told: Vec::new() };
    let Some(path) = state else { return Ok(begun) };
    let lock = lock(path, &mut begun.told)?;
    let mut keep = Keep { path: path.to_owned(), file: digest, applied: None, _lock: lock };
    if fresh {
        set_aside(path, "old", &mut begun.told);
    } else {
        match file::read(path) {
            Ok(None) => {}
            Ok(Some(saved)) => choose(&mut begun, &mut keep, saved, config_file),
            Err(error) => {
                let instead = if config_file.is_some() { "the configuration file" } else { "nothing" };
                begun.told.push(format!("the state is not used: {error}; starting from {instead}"));
                set_aside(path, &format!("broken-{}", now()), &mut begun.told);
            }
        }
    }
    begun.keep = Some(keep);
    Ok(begun)
}

fn choose(begun: &mut Beginning, keep: &mut Keep, saved: Saved, config: Option<&Path>) {
    let path = keep.path.display().to_string();
    if let (Some(config), Some(digest)) = (config, &keep.file)
        && !saved.grew_from(digest)
    {
        let config = config.display();
        begun.told.push(format!("{config} has changed since {path} was written and goes before it"));
        set_aside(&keep.path, "old", &mut begun.told);
        return;
    }
    let count = saved.config.services.len();
    begun.told.push(format!("going on from {path}, {count} services; --fresh starts without it"));
    keep.applied = saved.applied;
    begun.config = saved.config;
    begun.from_state = true;
}

/// Where nothing can be written there is nothing to lock either; the writer will tell.
fn lock(path: &Path, told: &mut Vec<String>) -> Result<Option<File>, BeginError> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let made = parent.map_or(Ok(()), fs::create_dir_all);
    let file = match made.and_then(|()| File::create(beside(path, "lock"))) {
        Ok(file) => file,
        Err(error) => {
            told.push(format!("cannot write beside {}: {error}; the state may not be kept", path.display()));
            return Ok(None);
        }
    };
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Err(BeginError::InUse(path.to_owned())),
        // A file system without locks.
        Err(TryLockError::Error(_)) => Ok(None),
    }
}

fn set_aside(path: &Path, suffix: &str, told: &mut Vec<String>) {
    let aside = beside(path, suffix);
    match fs::rename(path, &aside) {
        Ok(()) => told.push(format!("{} is kept as {}", path.display(), aside.display())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => told.push(format!("{} cannot be renamed: {error}", path.display())),
    }
}

/// Seconds, for names of files.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
