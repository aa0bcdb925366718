//! The client: controls a running `polluxd`, and checks configurations without one.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use pollux_control::cli::error::CliError;
use pollux_control::cli::{Cli, ipvsadm, run};

fn main() -> ExitCode {
    if let Some(words) =
        ipvsadm::arguments(std::env::args_os().map(|word| word.to_string_lossy().into_owned()))
    {
        return ExitCode::from(ipvsadm::run_here(words));
    }
    let cli = Cli::parse();
    // A closed pipe, such as after `| head`, is not an error.
    let print = |text: String| drop(std::io::stdout().write_all(text.as_bytes()));
    match run::run(&cli) {
        Ok(text) => {
            print(text);
            ExitCode::SUCCESS
        }
        // A report goes to standard output whatever its result.
        Err(CliError::Differs(report) | CliError::NotReady(report)) => {
            print(report);
            ExitCode::FAILURE
        }
        Err(CliError::Status(status)) => ExitCode::from(status),
        Err(error) => {
            if cli.json {
                print(format!("{:#}\n", error.json()));
            } else {
                eprintln!("pollux: {error}");
            }
            if let CliError::Usage(_) = error { ExitCode::from(2) } else { ExitCode::FAILURE }
        }
    }
}
