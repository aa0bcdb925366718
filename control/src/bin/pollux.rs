//! The client: steers a running `polluxd`, and checks configurations without one.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use pollux_control::cli::run::CliError;
use pollux_control::cli::{Cli, ipvsadm, run};

fn main() -> ExitCode {
    if let Some(words) = ipvsadm::wanted(std::env::args_os().map(|word| word.to_string_lossy().into_owned()))
    {
        return ExitCode::from(ipvsadm::run_here(words));
    }
    let cli = Cli::parse();
    // A reader that has seen enough, such as `head`, is no failure of ours.
    let print = |text: String| drop(std::io::stdout().write_all(text.as_bytes()));
    match run::run(&cli) {
        Ok(text) => {
            print(text);
            ExitCode::SUCCESS
        }
        // A report is what was asked for, whatever it says.
        Err(CliError::Differs(report) | CliError::NotReady(report)) => {
            print(report);
            ExitCode::FAILURE
        }
        Err(CliError::Status(status)) => ExitCode::from(status),
        Err(error @ CliError::Usage(_)) => {
            eprintln!("pollux: {error}");
            ExitCode::from(2)
        }
        Err(error) => {
            eprintln!("pollux: {error}");
            ExitCode::FAILURE
        }
    }
}
