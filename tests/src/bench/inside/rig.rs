//! The daemon without its ports: engine, control's rings and one worker on a core of its own, between a generator's ports.

use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use pollux_control::compile::Compiler;
use pollux_control::engine::{Engine, Instance, Ports};
use pollux_control::house::{Carries, KernelRings, ORDERS, Parts, Seat, Tenants, parts};
use pollux_control::kernel::realm::{Heard, RealmError};
use pollux_control::model::{self, Config, Namespace, Start};
use pollux_control::parse;
use pollux_control::view::PortView;
use pollux_control::workers::{WorkerHandle, Workers};
use pollux_dataplane::rest::Rule;
use pollux_dataplane::stats::Board;
use pollux_dataplane::worker::binding::{Binding, NamespaceId};
use pollux_dataplane::worker::moves::Moves;
use pollux_dataplane::worker::{Port, Setup, Worker};

use super::buffer::Buffer;
use super::lab::{Lab, Side, Time, lock, pin};
use super::script::Script;
use crate::bed::command::{Result, Trouble};
use crate::bench::world::PORTS;

/// All of it.
pub struct Rig {
    /// The control thread's part; this thread is the control thread.
    pub engine: Engine,
    /// What the worker counts.
    pub board: Arc<Board>,
    lab: Arc<Mutex<Lab>>,
    worker: Option<JoinHandle<()>>,
}

/// One CPU for control, one that forwards.
pub type Cpus = [usize; 2];

impl Rig {
    /// Starts engine and worker with a configuration.
    ///
    /// # Errors
    /// When there is no memory, or the configuration is refused.
    pub fn start(config: &str, cpus: Cpus, time: Time) -> Result<Rig> {
        let config: Config = parse::toml(config).map_err(|wrong| Trouble(wrong.to_string()))?;
        let lab = Arc::new(Mutex::new(Lab::default()));
        pin(cpus[0])?;
        let (worker, handle, seat) = start_worker(&config.start, &lab, cpus[1], time)?;
        let board = Arc::clone(&handle.board);
        let compiler = Compiler::new(&config.start, NoPorts.names());
        let home = Instance::new(compiler, Workers::new(vec![handle]), None, Instant::now());
        let house = Tenants::new(vec![seat], 2, Box::new(NoKernel));
        let mut engine = Engine::new(home, Box::new(NoPorts), Box::new(house), None);
        engine.start(&config).map_err(|why| Trouble(why.to_string()))?;
        Ok(Rig { engine, board, lab, worker: Some(worker) })
    }

    /// Begins a play.
    pub fn play(&mut self, script: Script) {
        let mut lab = lock(&self.lab);
        lab.script = script;
        lab.resting = false;
    }

    /// Ends it, once all packets that came have gone; gives what it counted.
    pub fn stop(&mut self) -> Script {
        let asked = {
            let mut lab = lock(&self.lab);
            lab.resting = true;
            lab.asked
        };
        // A port is asked again when all that came before has left.
        while lock(&self.lab).asked < asked + 4 {
            self.rest(Duration::from_millis(1));
        }
        std::mem::replace(&mut lock(&self.lab).script, Script::new(Vec::new(), Vec::new()))
    }

    /// Plays to the end of all sources.
    ///
    /// # Errors
    /// When it takes minutes.
    pub fn play_out(&mut self, script: Script) -> Result<Script> {
        self.play(script);
        let began = Instant::now();
        while !lock(&self.lab).script.is_over() {
            if began.elapsed() > Duration::from_secs(300) {
                return Err(Trouble("the worker has not taken all packets in five minutes".to_owned()));
            }
            self.rest(Duration::from_millis(5));
        }
        Ok(self.stop())
    }

    /// Looks at the play as it goes on.
    pub fn look<T>(&self, look: impl FnOnce(&mut Script) -> T) -> T {
        look(&mut lock(&self.lab).script)
    }

    /// Lets time pass as the daemon's loop does.
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

    /// Connections there are.
    pub fn connections(&self) -> u64 {
        self.board.gauges.connections_ipv4.get() + self.board.gauges.connections_ipv6.get()
    }

    /// Packets that were dropped or went to the kernel.
    pub fn lost(&self) -> u64 {
        let gauges = &self.board.gauges;
        gauges.to_kernel.get() + gauges.drops.iter().map(|counter| counter.get()).sum::<u64>()
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.engine.workers().stop();
        if let Some(worker) = self.worker.take() {
            let _ = worker.join();
        }
    }
}

/// The one place that knows how a worker is made.
fn start_worker(
    start: &Start,
    lab: &Arc<Mutex<Lab>>,
    cpu: usize,
    time: Time,
) -> Result<(JoinHandle<()>, WorkerHandle, Seat<Buffer>)> {
    let Parts { mut setups, mut handles, .. } = parts(start, &[cpu as u16], 2, None);
    let moves = Moves::new(ORDERS);
    let seat = Seat { core: cpu as u16, moves: Arc::clone(&moves) };
    let port = |(number, queues): (usize, Side)| Port {
        number: number as u16,
        mac: PORTS[number].mac,
        queues,
        binding: Binding::default(),
    };
    let ports = Side::pair(lab).into_iter().enumerate().map(port).collect();
    let setup = Setup { ports, home: setups.remove(0), moves, rest: Rule::default() };
    let (started, outcome) = crossbeam::channel::bounded(1);
    let body = move || {
        // Its memory is taken on its core, as the daemon does.
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
    outcome.recv().map_err(|_| Trouble("the worker has ended".to_owned()))??;
    Ok((thread, handles.remove(0), seat))
}

/// There is nothing to tell of the generator's ports.
struct NoPorts;

impl Ports for NoPorts {
    fn views(&self) -> Vec<PortView> {
        Vec::new()
    }

    fn names(&self) -> Vec<String> {
        PORTS[..2].iter().map(|port| port.name.to_owned()).collect()
    }
}

/// There is no kernel and no other namespace.
struct NoKernel;

impl<P> Carries<P> for NoKernel {
    fn join(
        &mut self,
        _: NamespaceId,
        _: &Namespace,
        _: KernelRings<P>,
    ) -> std::result::Result<Option<Heard>, RealmError> {
        Ok(None)
    }

    fn rebind(
        &mut self,
        _: NamespaceId,
        _: &[model::Binding],
    ) -> std::result::Result<Option<Heard>, RealmError> {
        Ok(None)
    }

    fn stay(&mut self, _: NamespaceId) {}

    fn bound(&mut self) {}

    fn leave(&mut self, _: NamespaceId) {}
}

#[cfg(test)]
mod tests {
    use crate::bench::inside::throughput::Case;
    use crate::bench::kinds::{Family, Method, Pattern};

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
