//! Log lines and debug events of the start, with the kernel's texts in the kernel's order; spec 12.3.

use std::path::Path;

use pollux_dataplane::trace_site;

use crate::debug::{DebugLog, query, sites};
use crate::engine::workers::WorkerHandle;
use crate::log;
use crate::model::Config;
use crate::model::modules;
use crate::plural::count;

/// The debug events enabled at start, by `--debug` and `settings.debug_level`. Invalid queries are ignored here: parsing
/// the command line refuses them.
pub fn debug(queries: &[String], config: &Config) -> DebugLog {
    let mut debug = DebugLog::default();
    debug.set_level(config.settings.debug_level);
    for queries in queries.iter().filter_map(|text| query::parse(text).ok()) {
        debug.set(&queries);
    }
    debug
}

/// Logs that DPDK has started with this number of ports.
pub fn protocols(debug: &mut DebugLog, config: &Config, dpdk: &str, ports: usize) {
    debug.event(trace_site!(sites, StartDpdk), || [dpdk.to_owned(), count(ports as u64, "port")]);
    let names = modules::registered_protocols(&config.settings.disabled_modules);
    log!(Info, "IPVS: Registered protocols ({names})");
}

/// Logs the sizes of the connection tables.
pub fn connections(debug: &mut DebugLog, workers: &[WorkerHandle]) {
    let counter = |field: fn(&WorkerHandle) -> u64| workers.iter().map(field).sum::<u64>();
    let (size, bytes) =
        (counter(|worker| worker.capacity), counter(|worker| worker.stats.counters.table_bytes.get()));
    debug.event(trace_site!(sites, StartTables), || {
        [count(workers.len() as u64, "worker"), bytes.to_string()]
    });
    log!(Info, "IPVS: Connection hash table configured (size={size}, memory={}Kbytes)", bytes >> 10);
    let entry = workers.iter().map(|worker| worker.entry_bytes).max().unwrap_or_default();
    log!(Info, "IPVS: Each connection entry needs {entry} bytes at least");
}

/// Logs that the TAP twins exist.
pub fn twins(debug: &mut DebugLog, twins: usize) {
    debug.event(trace_site!(sites, StartTwins), || [count(twins as u64, "twin")]);
}

/// Logs that the configuration is about to be applied.
pub fn configuration(debug: &mut DebugLog, config: &Config) {
    debug.event(trace_site!(sites, StartConfiguration), || [count(config.services.len() as u64, "service")]);
}

/// Logs that the control socket accepts requests.
pub fn ready(debug: &mut DebugLog, config: &Config, socket: &Path) {
    debug.event(trace_site!(sites, StartSocket), || [socket.display().to_string()]);
    log!(Info, "IPVS: ipvs loaded.");
    let on = |module: &&str| !config.settings.disabled_modules.contains(*module);
    for text in modules::switchable().filter(on).filter_map(|module| modules::registration(module, true)) {
        log!(Info, "IPVS: {text}");
    }
    log!(Info, "ready; control socket {}", socket.display());
}

/// Logs the end of the daemon.
pub fn unloaded() {
    log!(Info, "IPVS: ipvs unloaded.");
}
