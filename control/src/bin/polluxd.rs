//! The daemon: reads its command line and configuration, then forwards until it is told to stop.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::Context;
use pollux_control::daemon_args::{self, DaemonArgs};
use pollux_control::model::Config;
use pollux_control::{parse, run, validate};
use signal_hook::consts::{SIGINT, SIGTERM};

fn main() -> ExitCode {
    let args = match daemon_args::parse(std::env::args()) {
        Ok(args) => args,
        Err(error) => error.exit(),
    };
    match start(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("polluxd: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start(args: &DaemonArgs) -> anyhow::Result<()> {
    let config = match &args.options.config {
        Some(path) => parse::file(path)?,
        None => Config::default(),
    };
    validate::validate(&config).context("the configuration has faults")?;
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop)).context("catching signals")?;
    }
    run::run(args, &config, &stop)?;
    Ok(())
}
