//! The client: steers a running `polluxd`, and checks configurations without one.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use pollux_control::cli::{Cli, run};

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run::run(&cli) {
        // A reader that has seen enough, such as `head`, is no failure of ours.
        Ok(text) => {
            let _ = std::io::stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("pollux: {error}");
            ExitCode::FAILURE
        }
    }
}
