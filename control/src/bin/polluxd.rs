//! The daemon: reads its command line and configuration, then forwards until it is told to stop.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, bail};
use pollux_control::daemon_args::{self, DaemonArgs};
use pollux_control::host::Outcome;
use pollux_control::state::begin;
use pollux_control::{host, run};
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

/// What the machine lacks is said before anything is tried: all of it, with the cure.
fn check_host() -> anyhow::Result<()> {
    let checks = host::checks(Path::new("/"));
    for check in checks.iter().filter(|check| check.outcome == Outcome::Fail) {
        eprintln!("polluxd: {}: found {}, needed {}; {}", check.name, check.found, check.needed, check.cure);
    }
    if !host::ready(&checks) {
        bail!("this machine is not ready; `pollux check-host` shows the whole list");
    }
    let warnings = checks.iter().filter(|check| check.outcome == Outcome::Warn).count();
    if warnings > 0 {
        eprintln!("polluxd: {warnings} warnings about this machine; `pollux check-host` shows them");
    }
    Ok(())
}

fn start(args: &DaemonArgs) -> anyhow::Result<()> {
    check_host()?;
    let begun = begin::begin(&args.options)?;
    for line in &begun.told {
        eprintln!("polluxd: {line}");
    }
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop)).context("catching signals")?;
    }
    let hint = if begun.from_state { "with what was kept; --fresh starts without it" } else { "starting" };
    run::run(args, begun, &stop).context(hint)
}
