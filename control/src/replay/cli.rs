//! The command `pollux replay CASE.json|DIR [--json]`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::report::{CaseReport, Summary};

/// Run recorded conversations through the core and tell what differs. Needs neither root nor DPDK.
#[derive(Clone, Debug, Args)]
pub struct ReplayArgs {
    /// A case file, or a directory of them.
    pub path: PathBuf,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Serialize)]
struct Json<'a> {
    cases: &'a [CaseReport],
    #[serde(flatten)]
    summary: Summary,
}

/// Runs the command; fails when a case differs or there is none.
pub fn cli(args: &ReplayArgs) -> ExitCode {
    let files = match case_files(&args.path) {
        Ok(files) => files,
        Err(why) => {
            eprintln!("{}: {why}", args.path.display());
            return ExitCode::FAILURE;
        }
    };
    let reports: Vec<CaseReport> = files.iter().map(|path| super::file(path)).collect();
    let summary = Summary::of(&reports);
    let good = summary.failed == 0 && !reports.is_empty();
    if args.json {
        match serde_json::to_string_pretty(&Json { cases: &reports, summary }) {
            Ok(text) => println!("{text}"),
            Err(why) => eprintln!("{why}"),
        }
    } else {
        for report in &reports {
            println!("{report}");
        }
        println!("{summary}");
    }
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
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
