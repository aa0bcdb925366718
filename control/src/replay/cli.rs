//! The command `pollux replay CASE.json|DIR`: what it prints and whether all is well.

use std::path::{Path, PathBuf};

use serde::Serialize;
use thiserror::Error;

use super::report::{CaseReport, Summary};

/// What a replay prints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// A line for each case, then the summary; or all of it as JSON.
    pub text: String,
    /// There were cases, and none differs.
    pub good: bool,
}

/// Why there is nothing to tell.
#[derive(Debug, Error)]
pub enum ReplayError {
    /// The directory cannot be read.
    #[error("{path}: {why}", path = path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// What the system says.
        why: std::io::Error,
    },
    /// The answer cannot be written as JSON.
    #[error("cannot write JSON: {0}")]
    Json(#[from] serde_json::Error),
}

#[derive(Serialize)]
struct Json<'a> {
    cases: &'a [CaseReport],
    #[serde(flatten)]
    summary: Summary,
}

/// Replays a case file, or all of a directory.
///
/// # Errors
/// When the directory cannot be read.
pub fn cli(path: &Path, json: bool) -> Result<Told, ReplayError> {
    let files = case_files(path).map_err(|why| ReplayError::Unreadable { path: path.to_owned(), why })?;
    let reports: Vec<CaseReport> = files.iter().map(|path| super::file(path)).collect();
    let summary = Summary::of(&reports);
    let good = summary.failed == 0 && !reports.is_empty();
    let text = if json {
        serde_json::to_string_pretty(&Json { cases: &reports, summary })? + "\n"
    } else {
        let lines = reports.iter().map(|report| format!("{report}\n"));
        lines.collect::<String>() + &format!("{summary}\n")
    };
    Ok(Told { text, good })
}

/// The file itself, or the `.json` files of a directory by name.
///
/// # Errors
/// When the directory cannot be read.
pub fn case_files(path: &Path) -> std::io::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let file = entry?.path();
        if file.extension().is_some_and(|e| e == "json") {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}
