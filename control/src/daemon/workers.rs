//! The workers' threads.

use std::sync::Arc;
use std::thread::{self, JoinHandle};

use crossbeam::channel;
use pollux_dataplane::conn::Sizes;
use pollux_dataplane::dpdk::{Eal, Mbuf, Queue, Tsc};
use pollux_dataplane::steer::RssKeys;
use pollux_dataplane::worker::idle::IdleConfig;
use pollux_dataplane::worker::{Setup, Worker};

use super::error::RunError;
use super::idle;
use super::ports::OpenPorts;
use crate::engine::namespace_operations::{self, Parts, WorkerSlot};
use crate::engine::workers::WorkerHandle;
use crate::kernel::namespace::KernelRings;
use crate::log;
use crate::model::Config;

/// EAL, and the clock of the workers.
#[derive(Clone, Copy)]
pub(super) struct Dpdk<'a> {
    pub(super) eal: &'a Arc<Eal>,
    pub(super) clock: Tsc,
}

/// Running workers, and the control thread's handles of them.
pub(super) struct Started {
    pub(super) handles: Vec<WorkerHandle>,
    pub(super) slots: Vec<WorkerSlot<Mbuf>>,
    pub(super) threads: Vec<JoinHandle<()>>,
    pub(super) rings: KernelRings<Mbuf>,
}

pub(super) fn start(
    dpdk: Dpdk,
    config: &Config,
    cores: &[usize],
    idle: IdleConfig,
    ports: &mut OpenPorts,
    rss_keys: Option<&Arc<RssKeys>>,
) -> Result<Started, RunError> {
    let numbers: Vec<u16> = cores.iter().map(|&core| core as u16).collect();
    let Parts { setups, mut handles, rings } =
        namespace_operations::parts(&config.start, &numbers, ports.names().len(), rss_keys);
    let (mut slots, mut threads) = (Vec::new(), Vec::new());
    for ((number, default_namespace), &core) in setups.into_iter().enumerate().zip(cores) {
        let sizes = default_namespace.sizes;
        let setup = Setup { idle, ..Setup::new(ports.queues_of_worker(), default_namespace) };
        slots.push(WorkerSlot { core: core as u16, namespace_rings: Arc::clone(&setup.namespace_rings) });
        let (thread, entry_bytes) = start_one(dpdk, setup, number, core, sizes)?;
        handles[number].entry_bytes = entry_bytes;
        threads.push(thread);
    }
    Ok(Started { handles, slots, threads, rings })
}

/// Starts a worker on its core, where it allocates its memory, on the local NUMA node. Returns the bytes per
/// connection.
fn start_one(
    dpdk: Dpdk,
    setup: Setup<Queue>,
    number: usize,
    core: usize,
    sizes: Sizes,
) -> Result<(JoinHandle<()>, usize), RunError> {
    let (eal, clock) = (Arc::clone(dpdk.eal), dpdk.clock);
    let (started, outcome) = channel::bounded(1);
    let body = move || {
        if !core_affinity::set_for_current(core_affinity::CoreId { id: core }) {
            let _ = started.send(Err(RunError::Pin(core)));
            return;
        }
        idle::set_timer_slack(setup.idle);
        // If the registration fails, packet pools work without a cache.
        let _registered = eal.register_thread().ok();
        match Worker::new(setup, clock) {
            Ok(mut worker) => {
                announce(&worker.default_namespace.pipeline.conns, number, core);
                let _ = started.send(Ok(worker.default_namespace.pipeline.conns.bytes_per_ipv4()));
                worker.run();
            }
            Err(why) => {
                let _ = started.send(Err(RunError::Memory { ipv4: sizes.ipv4, ipv6: sizes.ipv6, why }));
            }
        }
    };
    let thread = thread::Builder::new()
        .name(format!("pollux-w{number}"))
        .spawn(body)
        .map_err(|why| RunError::System { what: "start a worker", why })?;
    let entry_bytes = outcome.recv().unwrap_or(Err(RunError::Pin(core)))?;
    Ok((thread, entry_bytes))
}

fn announce(table: &pollux_dataplane::conn::Table, number: usize, core: usize) {
    let Sizes { ipv4, ipv6, .. } = table.sizes();
    let entries = u64::from(ipv4) + u64::from(ipv6);
    log!(
        Info,
        "worker {number} on core {core}: connection table: {entries} entries, {} MiB ({} bytes each, index included)",
        table.bytes() >> 20,
        table.bytes() as u64 / entries.max(1)
    );
}
