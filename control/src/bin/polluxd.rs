//! The daemon: reads its command line and configuration, then forwards packets until it is stopped.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, bail};
use pollux_control::api::socket;
use pollux_control::daemon::arguments::{self, DaemonArgs};
use pollux_control::daemon::run;
use pollux_control::host::Outcome;
use pollux_control::interface::journal::Journal;
use pollux_control::interface::system::Linux;
use pollux_control::interface::take::Interfaces;
use pollux_control::plural::count;
use pollux_control::state::startup;
use pollux_control::{host, log};
use pollux_dataplane::cache_aligned_alloc::CacheAlignedAlloc;
use signal_hook::consts::{SIGINT, SIGTERM};

/// Keeps allocations of different workers on separate cache lines.
#[global_allocator]
static HEAP: CacheAlignedAlloc = CacheAlignedAlloc;

fn main() -> ExitCode {
    let args = match arguments::parse(std::env::args()) {
        Ok(args) => args,
        Err(error) => error.exit(),
    };
    log::set_level(args.options.log_level);
    match start(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log!(Error, "{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Reports everything the machine lacks, each with a hint, before anything is started.
fn check_host() -> anyhow::Result<()> {
    let checks = host::checks(Path::new("/"));
    for check in checks.iter().filter(|check| check.outcome == Outcome::Fail) {
        log!(Error, "{}: found {}, needed {}; {}", check.name, check.found, check.needed, check.hint);
    }
    if !host::ready(&checks) {
        bail!("this machine is not ready for polluxd; `pollux check-host` lists all checks");
    }
    let warnings = checks.iter().filter(|check| check.outcome == Outcome::Warn).count() as u64;
    if warnings > 0 {
        let warnings = count(warnings, "warning");
        log!(Warn, "this machine has {warnings}; `pollux check-host` lists them");
    }
    Ok(())
}

/// Undoes what a killed daemon changed on interfaces.
fn restore_interfaces(args: &DaemonArgs) -> anyhow::Result<()> {
    let journal = Journal::beside(&socket::path(args.options.socket.as_deref()));
    if !journal.exists() {
        log!(Info, "there is no {}; no interface is to be restored", journal.path().display());
        return Ok(());
    }
    let left = Interfaces::take(&[], false, journal, Linux).context("cannot restore interfaces")?;
    Ok(left.restore()?)
}

fn start(args: &DaemonArgs) -> anyhow::Result<()> {
    if args.options.restore_interfaces {
        return restore_interfaces(args);
    }
    check_host()?;
    let mut startup = startup::load(args.options.sources())?;
    for (level, text) in &startup.messages {
        log::write(*level, format_args!("{text}"));
    }
    if let Some(level) = args.options.debug_level {
        startup.override_debug_level(level);
    }
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop)).context("cannot catch signals")?;
    }
    let failed = if startup.from_state {
        "cannot start from the state file; --fresh starts from the configuration file"
    } else {
        "cannot start"
    };
    run::run(args, startup, &stop).context(failed)
}
