//! What was configured survives: a file with the configuration that runs, written whenever that changes.
//!
//! - [`file`]: the text, and how it is replaced so that there is always a whole one.
//! - [`begin`]: what to start with, out of the configuration file and the state.
//! - [`writer`]: the thread that writes; neither workers nor the control thread wait for a disk.

pub mod begin;
pub mod file;
#[cfg(test)]
mod tests;
pub mod writer;

/// Where the state is unless told otherwise.
pub const DEFAULT_PATH: &str = "/var/lib/pollux/state.json";
