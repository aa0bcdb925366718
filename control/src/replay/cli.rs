//! The command `pollux replay CASE.json|DIR`.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;

use serde::Serialize;
use thiserror::Error;

use super::report::{CaseReport, Summary};

/// Output of a replay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// One line per case and a summary; or all of it as JSON.
    pub text: String,
    /// There was at least one case, and none failed.
    pub passed: bool,
}

/// Reason why there is no report.
#[derive(Debug, Error)]
pub enum ReplayError {
    /// The directory cannot be read.
    #[error("{path}: {why}", path = path.display())]
    Unreadable {
        /// Its path.
        path: PathBuf,
        /// Error of the system.
        why: std::io::Error,
    },
    /// The report cannot be written as JSON.
    #[error("cannot write JSON: {0}")]
    Json(#[from] serde_json::Error),
}

#[derive(Serialize)]
struct Json<'a> {
    cases: &'a [CaseReport],
    #[serde(flatten)]
    summary: Summary,
}

/// Replays a case file, or all case files of a directory.
///
/// # Errors
/// When the directory cannot be read.
pub fn cli(path: &Path, json: bool) -> Result<Output, ReplayError> {
    let files = case_files(path).map_err(|why| ReplayError::Unreadable { path: path.to_owned(), why })?;
    let reports = replay_all(&files);
    let summary = Summary::of(&reports);
    let passed = summary.failed == 0 && !reports.is_empty();
    let text = if json {
        serde_json::to_string_pretty(&Json { cases: &reports, summary })? + "\n"
    } else {
        let lines = reports.iter().map(|report| format!("{report}\n"));
        lines.collect::<String>() + &format!("{summary}\n")
    };
    Ok(Output { text, passed })
}

/// Replays all files on all cores, and shows the progress on a terminal.
fn replay_all(files: &[PathBuf]) -> Vec<CaseReport> {
    let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let shows_progress = files.len() > 1 && std::io::stderr().is_terminal();
    let work = || {
        let mut reports = Vec::new();
        while let Some((at, path)) =
            Some(next.fetch_add(1, Relaxed)).and_then(|at| Some((at, files.get(at)?)))
        {
            reports.push((at, super::file(path)));
            let so_far = done.fetch_add(1, Relaxed) + 1;
            if shows_progress && (so_far.is_multiple_of(16) || so_far == files.len()) {
                eprint!("\r{so_far} of {} replayed", files.len());
            }
        }
        reports
    };
    let cores = thread::available_parallelism().map_or(1, usize::from).min(files.len());
    let mut reports: Vec<(usize, CaseReport)> = thread::scope(|scope| {
        let workers: Vec<_> = (1..cores).map(|_| scope.spawn(work)).collect();
        let mut reports = work();
        // A panic outside a case is a bug of replay itself.
        reports.extend(workers.into_iter().flat_map(|worker| match worker.join() {
            Ok(reports) => reports,
            Err(panic) => std::panic::resume_unwind(panic),
        }));
        reports
    });
    if shows_progress {
        eprintln!();
    }
    reports.sort_by_key(|(at, _)| *at);
    reports.into_iter().map(|(_, report)| report).collect()
}

/// The file itself, or the `.json` files of a directory, sorted by name.
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
