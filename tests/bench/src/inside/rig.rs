//! The daemon without its ports: engine, control rings and workers, each worker on its own core between two generator ports.

use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use pollux_control::api::view::PortView;
use pollux_control::engine::compile::Compiler;
use pollux_control::engine::namespace_operations::{NamespaceWorkers, Parts, WorkerSlot, parts};
use pollux_control::engine::workers::Workers;
use pollux_control::engine::{Engine, NamespaceEngine, Ports, TwinState};
use pollux_control::kernel::namespace::{
    KernelMirror, KernelNamespaceError, KernelNamespaceOperations, KernelRings,
};
use pollux_control::model::parse;
use pollux_control::model::{self, Config, Namespace};
use pollux_dataplane::pipeline::egress::tx_buffers::HandOffRing;
use pollux_dataplane::stats::{Counter, WorkerStats};
use pollux_dataplane::steer::Steering;
use pollux_dataplane::worker::binding::NamespaceId;
use pollux_dataplane::worker::namespace::NamespaceSetup;
use pollux_dataplane::worker::{Port, Setup, Worker};

use super::buffer::{self, Buffer};
use super::generator::{Generator, Side, Time, lock, pin};
use super::script::Script;
use crate::world::PORTS;
use pollux_tests::bed::command::{Error, Result};

/// The engine and its workers.
pub struct Rig {
    /// The engine; the thread that owns the rig is the control thread.
    pub engine: Engine,
    /// Counters of the first worker.
    pub stats: Arc<WorkerStats>,
    /// Counters of each worker.
    pub worker_stats: Vec<Arc<WorkerStats>>,
    /// How flows are distributed over workers.
    pub steering: Steering,
    generators: Vec<Arc<Mutex<Generator>>>,
    hand_off: Box<[HandOffRing<Buffer>]>,
    workers: Vec<JoinHandle<()>>,
}

/// CPU of the control thread, CPU of the worker.
pub type Cpus = [usize; 2];

impl Rig {
    /// Starts the engine and one worker with a configuration.
    ///
    /// # Errors
    /// If memory runs out or the configuration is rejected.
    pub fn start(config: &str, cpus: Cpus, time: Time) -> Result<Rig> {
        Rig::of_many(config, cpus[0], &[cpus[1]], &time)
    }

    /// Starts the engine and a worker on each of these CPUs.
    ///
    /// # Errors
    /// If memory runs out or the configuration is rejected.
    pub fn of_many(config: &str, control: usize, cpus: &[usize], time: &Time) -> Result<Rig> {
        let config: Config = parse::toml(config).map_err(|wrong| Error(wrong.to_string()))?;
        pin(control)?;
        let cores: Vec<u16> = cpus.iter().map(|&cpu| cpu as u16).collect();
        let Parts { setups, handles, .. } = parts(&config.start, &cores, 2, None);
        let none = || Error("a rig has at least one worker".to_owned());
        let first = setups.first().ok_or_else(none)?;
        let (steering, hand_off) = (first.steering.clone(), first.hand_off.clone());
        let worker_stats: Vec<Arc<WorkerStats>> =
            handles.iter().map(|handle| Arc::clone(&handle.stats)).collect();
        let (mut generators, mut workers, mut slots) = (Vec::new(), Vec::new(), Vec::new());
        for (default_namespace, &cpu) in setups.into_iter().zip(cpus) {
            let mut generator = Generator::default();
            generator.ahead = others(&hand_off, generators.len());
            generators.push(Arc::new(Mutex::new(generator)));
            let (worker, slot) =
                start_worker(default_namespace, &generators[generators.len() - 1], cpu, time.clone())?;
            workers.push(worker);
            slots.push(slot);
        }
        let compiler = Compiler::new(&config.start, NoPorts.names());
        let default_namespace = NamespaceEngine::new(compiler, Workers::new(handles), None, Instant::now());
        let namespace_workers = NamespaceWorkers::new(slots, 2, Box::new(NoKernel));
        let mut engine = Engine::new(default_namespace, Box::new(NoPorts), Box::new(namespace_workers), None);
        engine.start(&config).map_err(|why| Error(why.to_string()))?;
        Ok(Rig {
            engine,
            stats: Arc::clone(&worker_stats[0]),
            worker_stats,
            steering,
            generators,
            hand_off,
            workers,
        })
    }

    /// Starts a script.
    pub fn play(&mut self, script: Script) {
        self.play_each(vec![script]);
    }

    /// Starts one script per worker.
    pub fn play_each(&mut self, scripts: Vec<Script>) {
        let pools = self.generators.iter().map(|generator| std::mem::take(&mut lock(generator).pool));
        let pools = buffer::apart(pools.collect());
        for ((generator, script), pool) in self.generators.iter().zip(scripts).zip(pools) {
            let mut generator = lock(generator);
            (generator.script, generator.pool) = (script, pool);
            generator.paused = false;
        }
    }

    /// Stops the script when all its packets have been processed, and returns it with its counts.
    pub fn stop(&mut self) -> Script {
        self.stop_each().swap_remove(0)
    }

    /// Stops the scripts of all workers.
    pub fn stop_each(&mut self) -> Vec<Script> {
        let rest = |generator: &Arc<Mutex<Generator>>| lock(generator).paused = true;
        self.generators.iter().for_each(rest);
        while !self.hand_off.iter().all(|ring| ring.is_empty()) {
            self.rest(Duration::from_millis(1));
        }
        let empty_polls: Vec<u64> =
            self.generators.iter().map(|generator| lock(generator).empty_polls).collect();
        // A port is polled again once all earlier packets have left.
        while self
            .generators
            .iter()
            .zip(&empty_polls)
            .any(|(generator, empty_polls)| lock(generator).empty_polls < empty_polls + 4)
        {
            self.rest(Duration::from_millis(1));
        }
        let nothing = || Script::new(Vec::new(), Vec::new());
        self.generators
            .iter()
            .map(|generator| std::mem::replace(&mut lock(generator).script, nothing()))
            .collect()
    }

    /// Runs a script until all its sources end.
    ///
    /// # Errors
    /// If it takes more than five minutes.
    pub fn play_out(&mut self, script: Script) -> Result<Script> {
        Ok(self.play_each_out(vec![script])?.swap_remove(0))
    }

    /// Runs one script per worker until all sources end.
    ///
    /// # Errors
    /// If it takes more than five minutes.
    pub fn play_each_out(&mut self, scripts: Vec<Script>) -> Result<Vec<Script>> {
        self.play_each(scripts);
        let began = Instant::now();
        while !self.generators.iter().all(|generator| lock(generator).script.is_over()) {
            if began.elapsed() > Duration::from_secs(300) {
                return Err(Error("a worker has not taken all packets in five minutes".to_owned()));
            }
            self.rest(Duration::from_millis(5));
        }
        Ok(self.stop_each())
    }

    /// Inspects the running script.
    pub fn look<T>(&self, look: impl FnOnce(&mut Script) -> T) -> T {
        look(&mut lock(&self.generators[0]).script)
    }

    /// Packets generated and packets that left, of all workers.
    pub fn counts(&self) -> (u64, u64) {
        let each = self.generators.iter().map(|generator| lock(generator).script.counts());
        each.fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1))
    }

    /// Runs the daemon's control loop for this long.
    pub fn rest(&mut self, time: Duration) {
        let until = Instant::now() + time;
        loop {
            self.engine.tick();
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            thread::sleep(left.min(Duration::from_millis(5)));
        }
    }

    /// Number of connections.
    pub fn connections(&self) -> u64 {
        let all = self.worker_stats.iter().map(|stats| &stats.counters);
        all.map(|counters| counters.connections_ipv4.get() + counters.connections_ipv6.get()).sum()
    }

    /// Packets that were dropped or sent to the kernel.
    pub fn lost(&self) -> u64 {
        let all = self.worker_stats.iter().map(|stats| &stats.counters);
        let dropped = |drops: &[Counter]| drops.iter().map(|counter| counter.get()).sum::<u64>();
        all.map(|counters| counters.to_kernel.get() + dropped(&counters.drops)).sum()
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.engine.workers().stop();
        for worker in self.workers.drain(..) {
            let _ = worker.join();
        }
    }
}

/// Hand-off rings of all workers except one.
fn others(hand_off: &[HandOffRing<Buffer>], me: usize) -> Vec<HandOffRing<Buffer>> {
    let all = hand_off.iter().enumerate();
    all.filter(|&(number, _)| number != me).map(|(_, ring)| Arc::clone(ring)).collect()
}

/// Starts a worker's thread on its CPU.
fn start_worker(
    default_namespace: NamespaceSetup<Buffer>,
    generator: &Arc<Mutex<Generator>>,
    cpu: usize,
    time: Time,
) -> Result<(JoinHandle<()>, WorkerSlot<Buffer>)> {
    let port = |(number, queues): (usize, Side)| Port::new(number as u16, queues);
    let ports = Side::pair(generator).into_iter().enumerate().map(port).collect();
    let setup = Setup::new(ports, default_namespace);
    let slot = WorkerSlot { core: cpu as u16, namespace_rings: Arc::clone(&setup.namespace_rings) };
    let (started, outcome) = crossbeam::channel::bounded(1);
    let body = move || {
        // It allocates its memory on its core, as in the daemon.
        let made = pin(cpu).and_then(|()| Ok(Worker::new(setup, time)?));
        match made {
            Ok(mut worker) => {
                let _ = started.send(Ok(()));
                worker.run();
            }
            Err(why) => drop(started.send(Err(why))),
        }
    };
    let thread = thread::Builder::new().name("worker".to_owned()).spawn(body)?;
    outcome.recv().map_err(|_| Error("the worker has ended".to_owned()))??;
    Ok((thread, slot))
}

/// Ports without statistics: the generator has none.
struct NoPorts;

impl Ports for NoPorts {
    fn views(&self) -> Vec<PortView> {
        Vec::new()
    }

    fn names(&self) -> Vec<String> {
        PORTS[..2].iter().map(|port| port.name.to_owned()).collect()
    }

    fn links_up(&self) -> Vec<bool> {
        vec![true; 2]
    }

    fn follow(&mut self, _: usize, _: &TwinState) {}
}

/// A frame carrier without a kernel and without other namespaces.
struct NoKernel;

impl<P> KernelNamespaceOperations<P> for NoKernel {
    fn add(
        &mut self,
        _: NamespaceId,
        _: &Namespace,
        _: KernelRings<P>,
    ) -> std::result::Result<Option<KernelMirror>, KernelNamespaceError> {
        Ok(None)
    }

    fn prepare_bindings(
        &mut self,
        _: NamespaceId,
        _: &[model::Binding],
    ) -> std::result::Result<Option<KernelMirror>, KernelNamespaceError> {
        Ok(None)
    }

    fn cancel_bindings(&mut self, _: NamespaceId) {}

    fn commit_bindings(&mut self) {}

    fn remove(&mut self, _: NamespaceId) {}
}

#[cfg(test)]
mod tests {
    use crate::inside::throughput::Case;
    use crate::kinds::{Family, Method, Pattern};

    #[test]
    fn the_worker_balances_what_is_played() {
        for (family, method) in
            [(Family::Ipv4, Method::Nat), (Family::Ipv6, Method::Nat), (Family::Ipv4, Method::Gue)]
        {
            let case = Case { family, method, flows: 1000, pattern: Pattern::Zipf };
            let mut rig = case.rig([0, 0], 1000, "").unwrap();
            let mut script = case.script(&case.orders());
            script.sides.iter_mut().flatten().for_each(|source| source.left = 5000);
            let script = rig.play_out(script).unwrap();
            let all = if method.is_mixed() { 10_000 } else { 5000 };
            assert_eq!((script.counts(), rig.lost()), ((all, all), 0), "{family:?} {method:?}");
        }
    }
}
