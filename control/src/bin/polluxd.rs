//! The daemon: reads its command line and configuration, then forwards until it is told to stop.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, bail};
use pollux_control::daemon_args::{self, DaemonArgs};
use pollux_control::host::Outcome;
use pollux_control::model::Config;
use pollux_control::{host, log, parse, run, say, validate};
use signal_hook::consts::{SIGINT, SIGTERM};

fn main() -> ExitCode {
    let args = match daemon_args::parse(std::env::args()) {
        Ok(args) => args,
        Err(error) => error.exit(),
    };
    if let Ok(level) = args.options.log_level.parse() {
        log::set_level(level);
    }
    match start(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say!(Error, "{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// What the machine lacks is said before anything is tried: all of it, with the cure.
fn check_host() -> anyhow::Result<()> {
    let checks = host::checks(Path::new("/"));
    for check in checks.iter().filter(|check| check.outcome == Outcome::Fail) {
        say!(Error, "{}: found {}, needed {}; {}", check.name, check.found, check.needed, check.cure);
    }
    if !host::ready(&checks) {
        bail!("this machine is not ready; `pollux check-host` shows the whole list");
    }
    let warnings = checks.iter().filter(|check| check.outcome == Outcome::Warn).count();
    if warnings > 0 {
        say!(Warn, "{warnings} warnings about this machine; `pollux check-host` shows them");
    }
    Ok(())
}

fn start(args: &DaemonArgs) -> anyhow::Result<()> {
    check_host()?;
    let mut config = match &args.options.config {
        Some(path) => parse::file(path)?,
        None => Config::default(),
    };
    if let Some(level) = args.options.debug_level {
        config.settings.debug_level = level;
    }
    validate::validate(&config).context("the configuration has faults")?;
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop)).context("catching signals")?;
    }
    run::run(args, &config, &stop)?;
    Ok(())
}
