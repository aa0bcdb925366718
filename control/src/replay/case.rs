//! Recorded case files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer};
use thiserror::Error;

use super::balancer::Side;

/// A recorded packet trace. Fields for human readers are ignored.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Case {
    /// Lines of `ipvsadm -R`.
    pub rules: Vec<String>,
    /// Sysctls and their values, set before the rules.
    #[serde(default)]
    pub sysctl: BTreeMap<String, String>,
    /// Commands before the rules.
    #[serde(default)]
    pub setup: Vec<String>,
    /// True if the recorder waited until the kernel had published its counters, so that `--stats` can be compared.
    #[serde(default)]
    pub stats: bool,
    /// Input frames, in order.
    pub inputs: Vec<Input>,
    /// Output frames, in order.
    pub outputs: Vec<Output>,
    /// Commands between the inputs.
    #[serde(default)]
    pub cmds: Vec<Cmd>,
    /// Listings at the end, by their options.
    #[serde(default)]
    pub ipvsadm: BTreeMap<String, Vec<String>>,
}

/// An input frame.
#[derive(Clone, Debug, Deserialize)]
pub struct Input {
    /// Its number.
    pub n: i64,
    /// Time of the case, in milliseconds.
    pub at_ms: f64,
    /// Side it arrives on.
    pub side: Side,
    /// The frame.
    #[serde(rename = "hex", deserialize_with = "hex")]
    pub frame: Vec<u8>,
}

/// An output frame.
#[derive(Clone, Debug, Deserialize)]
pub struct Output {
    /// Side it left on.
    pub side: Side,
    /// The number of the input that caused it.
    pub after: i64,
    /// Time of the recorder when it was seen, in milliseconds; never behind the time of the case.
    #[serde(default)]
    pub t_ms: f64,
    /// The frame.
    #[serde(rename = "hex", deserialize_with = "hex")]
    pub frame: Vec<u8>,
}

/// A command.
#[derive(Clone, Debug, Deserialize)]
pub struct Cmd {
    /// Number of the input before it; -1 if there is none.
    pub after: i64,
    /// Time of the case, in milliseconds.
    pub at_ms: f64,
    /// The command line.
    pub cmd: String,
    /// Its exit status.
    pub rc: u8,
    /// Its output.
    pub out: String,
}

/// Reason why a file cannot be loaded.
#[derive(Debug, Error)]
pub enum CaseError {
    /// It cannot be read.
    #[error("{path}: {why}", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Error of the system.
        why: std::io::Error,
    },
    /// It is not a recorded case.
    #[error("{path}: not a recorded case: {why}", path = path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Position and error.
        why: serde_json::Error,
    },
}

impl Case {
    /// Loads a file.
    ///
    /// # Errors
    /// If it cannot be read or is not a case.
    pub fn load(path: &Path) -> Result<Case, CaseError> {
        let text = std::fs::read_to_string(path)
            .map_err(|why| CaseError::Unreadable { path: path.to_owned(), why })?;
        serde_json::from_str(&text).map_err(|why| CaseError::Malformed { path: path.to_owned(), why })
    }
}

fn hex<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let digit = |byte: &u8| (*byte as char).to_digit(16);
    let pair = |pair: &[u8]| Some((digit(pair.first()?)? * 16 + digit(pair.get(1)?)?) as u8);
    let bytes: Option<Vec<u8>> = text.as_bytes().chunks(2).map(pair).collect();
    bytes.ok_or_else(|| serde::de::Error::custom("a frame is an even number of hexadecimal digits"))
}
