//! The state file: the running configuration, saved at every change so that a restart resumes from it.
//!
//! - [`file`]: the format, and its atomic replacement.
//! - [`startup`]: chooses between configuration file and state file at start.
//! - [`writer`]: the thread that writes; neither workers nor the control thread wait for a disk.

pub mod file;
pub mod startup;
#[cfg(test)]
mod tests;
pub mod writer;

/// Default path of the state file.
pub const DEFAULT_PATH: &str = "/var/lib/pollux/state.json";
