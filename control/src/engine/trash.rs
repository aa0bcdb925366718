//! The trash of removed destinations: their ids become free once nothing uses them.

use std::time::Duration;

use pollux_dataplane::conn::quota::Quotas;
use pollux_dataplane::service::DestinationId;
use pollux_dataplane::stats::WorkerStats;

use super::compile::Compiler;
use super::estimate::Estimators;
use super::observe;

/// Frees the ids of removed destinations without connections and templates.
pub fn empty<'a>(
    compiler: &mut Compiler,
    now: Duration,
    worker_stats: impl Iterator<Item = &'a WorkerStats> + Clone,
    quotas: Option<&Quotas>,
) -> Vec<DestinationId> {
    compiler.empty_trash(now, |id| {
        let load = observe::load(worker_stats.clone(), id);
        let templates = quotas.map_or(0, |quotas| quotas.templates(id));
        u64::from(load.active) + u64::from(load.inactive) + u64::from(templates)
    })
}

/// Resets the counters of freed destinations, for those that get their ids next.
pub fn reset<'a>(
    freed: &[DestinationId],
    worker_stats: impl Iterator<Item = &'a WorkerStats>,
    quotas: Option<&Quotas>,
    estimators: &mut Estimators,
) {
    for stats in worker_stats {
        freed.iter().for_each(|id| stats.destinations[id.0 as usize].reset());
    }
    if let Some(quotas) = quotas {
        freed.iter().for_each(|&id| quotas.reset(id));
    }
    estimators.remove(freed);
}
