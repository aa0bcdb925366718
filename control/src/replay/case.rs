//! The recorded files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer};
use thiserror::Error;

use super::balancer::Side;

/// One recorded conversation. Fields that are there for people only are skipped.
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
    /// Whether the kernel was given time to publish its counters, so that `--stats` can be compared.
    #[serde(default)]
    pub stats: bool,
    /// Frames in, in order.
    pub inputs: Vec<Input>,
    /// Frames out, in order.
    pub outputs: Vec<Output>,
    /// Commands between the inputs.
    #[serde(default)]
    pub cmds: Vec<Cmd>,
    /// Listings at the end, by the options that made them.
    #[serde(default)]
    pub ipvsadm: BTreeMap<String, Vec<String>>,
}

/// A frame in.
#[derive(Clone, Debug, Deserialize)]
pub struct Input {
    /// Its number.
    pub n: i64,
    /// The case's own time, in milliseconds.
    pub at_ms: f64,
    /// Where it enters.
    pub side: Side,
    /// The frame.
    #[serde(rename = "hex", deserialize_with = "hex")]
    pub frame: Vec<u8>,
}

/// A frame out.
#[derive(Clone, Debug, Deserialize)]
pub struct Output {
    /// Where it left.
    pub side: Side,
    /// The number of the input that caused it.
    pub after: i64,
    /// When it was seen, in milliseconds of the recorder's own time, which is never behind the case's.
    #[serde(default)]
    pub t_ms: f64,
    /// The frame.
    #[serde(rename = "hex", deserialize_with = "hex")]
    pub frame: Vec<u8>,
}

/// A command.
#[derive(Clone, Debug, Deserialize)]
pub struct Cmd {
    /// The last input before it; -1 when it came before all.
    pub after: i64,
    /// The case's own time, in milliseconds.
    pub at_ms: f64,
    /// What was typed.
    pub cmd: String,
    /// Its exit status.
    pub rc: u8,
    /// What it printed.
    pub out: String,
}

/// Why a file is not a case.
#[derive(Debug, Error)]
pub enum CaseError {
    /// It cannot be read.
    #[error("{path}: {why}", path = path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        why: std::io::Error,
    },
    /// It is not what it should be.
    #[error("{path}: not a recorded case: {why}", path = path.display())]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// Where and why.
        why: serde_json::Error,
    },
}

impl Case {
    /// Reads a file.
    ///
    /// # Errors
    /// When it cannot be read or is not a case.
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
