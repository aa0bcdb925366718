//! The real data plane: one worker with two ports in memory, configured by the daemon's compiler.

use std::sync::Arc;
use std::time::Duration;

use crossbeam::queue::ArrayQueue;
use pollux_dataplane::config::{Page, WorkerRings};
use pollux_dataplane::conn::{Shared, Sizes};
use pollux_dataplane::flow::Seed;
use pollux_dataplane::io::mem::{Frame, ManualClock, Wire};
use pollux_dataplane::packet::Packet;
use pollux_dataplane::stats::{Counter, WorkerStats};
use pollux_dataplane::steer::Steering;
use pollux_dataplane::time::Tick;
use pollux_dataplane::verdict::DropReason;
use pollux_dataplane::work_budget::WorkBudget;
use pollux_dataplane::worker::namespace_parts::{NamespaceLimits, NamespaceParts, RingDepths};
use pollux_dataplane::worker::{Port, Setup, Worker};

use super::balancer::{Balancer, Outcome, Refused, Side};
use crate::api::view::{ConnectionView, ServiceView};
use crate::engine::compile::Compiler;
use crate::engine::estimate::Estimators;
use crate::engine::{observe, trash};
use crate::model::edit::Step;
use crate::model::network::NetworkState;
use crate::model::{Config, ServiceKey, Start};

/// Connections per family; a trace has a few dozen.
const CONNECTIONS: u32 = 1024;
const SERVICES: u32 = 64;
const DESTINATIONS: u32 = 256;
const TEMPLATES: usize = 1024;
/// Capacity of the queues between two poll iterations.
const DEPTH: usize = 256;
/// Step of the clock, so that timers armed by other timers also fire.
const STEP_MS: u64 = 100;
/// Interval at which the trash is emptied.
const TRASH_INTERVAL_MS: u64 = 1000;

/// One worker, its ports and its configuration.
pub struct DataPlane {
    worker: Worker<Wire, ManualClock>,
    compiler: Compiler,
    network_state: NetworkState,
    wires: [Wire; 2],
    stats: Arc<WorkerStats>,
    shared: Arc<Shared>,
    estimators: Estimators,
    kernel: Arc<ArrayQueue<(usize, Frame)>>,
    inject: Arc<ArrayQueue<(usize, Frame)>>,
    rings: Arc<WorkerRings>,
    now_ms: u64,
    trash_emptied_ms: u64,
}

impl DataPlane {
    /// Creates a worker without configuration.
    ///
    /// # Errors
    /// If there is not enough memory.
    pub fn new() -> std::io::Result<DataPlane> {
        let wires = [Wire::default(), Wire::default()];
        let ports = (0..).zip(&wires).map(|(number, wire)| Port::new(number, wire.clone()));
        let limits = NamespaceLimits {
            connections: Sizes { ipv4: CONNECTIONS, ipv6: CONNECTIONS, extra: 0 },
            services: SERVICES as usize,
            destinations: DESTINATIONS as usize,
            templates: TEMPLATES,
            rings: RingDepths { control: DEPTH, kernel: DEPTH, inject: DEPTH, hand_off: DEPTH },
        };
        let steering = Steering { workers: 1, seed: Seed::random(), rss_keys: None };
        let mut parts = NamespaceParts::new(&steering, Side::ALL.len(), &limits);
        let setup = Setup::new(ports.collect(), parts.take_first());
        let NamespaceParts { kernel, inject, shared, .. } = parts;
        let (stats, rings) =
            (Arc::clone(&setup.default_namespace.stats), Arc::clone(&setup.default_namespace.rings));
        let start = Start { services: SERVICES, destinations: DESTINATIONS, ..Start::default() };
        let compiler = Compiler::new(&start, Side::ALL.map(|side| side.name().to_owned()));
        let worker = Worker::new(setup, ManualClock::default())?;
        let network_state = NetworkState::default();
        let estimators = Estimators::new();
        Ok(DataPlane {
            worker,
            compiler,
            network_state,
            wires,
            stats,
            shared,
            estimators,
            kernel,
            inject,
            rings,
            now_ms: 0,
            trash_emptied_ms: 0,
        })
    }

    /// Frees destinations that have been in the trash long enough and have no connections.
    fn empty_trash(&mut self) {
        self.trash_emptied_ms = self.now_ms;
        let (stats, quotas) = (std::iter::once(&*self.stats), Some(&self.shared.quotas));
        let freed =
            trash::empty(&mut self.compiler, Duration::from_millis(self.now_ms), stats.clone(), quotas);
        if freed.is_empty() {
            return;
        }
        self.worker.install(self.compiler.snapshot().clone(), &[]);
        trash::reset(&freed, stats, quotas, &mut self.estimators);
    }

    /// Runs a poll iteration and collects its results.
    fn outcome(&mut self, before: &[u64]) -> Outcome {
        self.worker.poll_once();
        while self.rings.notifications.pop().is_some() {}
        let mut outcome = Outcome::default();
        for (side, wire) in Side::ALL.into_iter().zip(&self.wires) {
            outcome.outputs.extend(std::iter::from_fn(|| wire.take()).map(|frame| (side, frame)));
        }
        while let Some((port, frame)) = self.kernel.pop() {
            outcome.to_kernel.extend(Side::ALL.get(port).map(|side| (*side, frame.bytes().to_vec())));
        }
        let after = self.drops();
        let dropped = DropReason::ALL.iter().find(|why| after[**why as usize] != before[**why as usize]);
        outcome.dropped = dropped.map(|why| why.why().to_owned());
        outcome
    }

    fn drops(&self) -> Vec<u64> {
        self.stats.counters.drops.iter().map(Counter::get).collect()
    }
}

impl Balancer for DataPlane {
    fn configure(&mut self, config: &Config, steps: &[Step]) -> Result<(), Refused> {
        let network_state = config.network.clone().unwrap_or_default();
        if network_state != self.network_state {
            self.compiler.set_network(&network_state).map_err(|why| Refused(why.to_string()))?;
            self.network_state = network_state;
        }
        let now = Duration::from_millis(self.now_ms);
        let (snapshot, events) =
            self.compiler.apply_steps(config.clone(), steps, now).map_err(|why| Refused(why.to_string()))?;
        self.worker.install(snapshot, &events);
        let stats = &self.stats;
        self.estimators.update(&self.compiler, |id| observe::stats(std::iter::once(&**stats), id));
        Ok(())
    }

    fn advance(&mut self, at_ms: u64) {
        while self.now_ms < at_ms {
            self.now_ms = (self.now_ms + STEP_MS).min(at_ms);
            self.worker.clock().0 = Tick(self.now_ms);
            self.worker.poll_once();
            let (stats, runs) = (&self.stats, self.compiler.config().settings.run_estimation != 0);
            let counters = |id| observe::stats(std::iter::once(&**stats), id);
            self.estimators.tick(Duration::from_millis(self.now_ms), runs, counters);
            if self.now_ms >= self.trash_emptied_ms + TRASH_INTERVAL_MS {
                self.empty_trash();
            }
        }
    }

    fn input(&mut self, side: Side, frame: &[u8]) -> Outcome {
        let before = self.drops();
        self.wires[side as usize].put(frame);
        self.outcome(&before)
    }

    fn kernel_sends(&mut self, side: Side, frame: &[u8]) -> Outcome {
        let before = self.drops();
        // Every poll iteration empties the queue.
        let _ = self.inject.push((side as usize, Frame::new(frame)));
        self.outcome(&before)
    }

    fn fire_due_timers(&mut self) {
        self.worker.default_namespace.pipeline.expire_deferred_now();
        self.worker.poll_once();
    }

    fn zero(&mut self, only: Option<ServiceKey>) {
        self.estimators.zero(only);
    }

    fn flush_pmtu(&mut self) {
        // The next configuration then installs a new network state, which flushes the cache.
        self.network_state = NetworkState::default();
    }

    fn services(&self) -> Vec<ServiceView> {
        let worker_stats = std::iter::once(&*self.stats);
        observe::services(&self.compiler, worker_stats, &self.estimators, Some(&self.shared.quotas), None)
    }

    fn connections(&mut self) -> Vec<ConnectionView> {
        let (mut views, mut from) = (Vec::new(), Some(0));
        while let Some(at) = from {
            let mut page = Page::new(0, at, DEPTH, Vec::new());
            self.worker
                .default_namespace
                .pipeline
                .list(&mut page, Tick(self.now_ms), &mut { WorkBudget::UNLIMITED });
            views.extend(observe::connections(&page, 0));
            from = page.next;
        }
        let (templates, _) = self.shared.templates.list(0, usize::MAX, Tick(self.now_ms));
        views.extend(templates.iter().map(observe::template));
        views
    }
}
