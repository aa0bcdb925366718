//! The daemon put together: EAL, ports, workers, the kernel's mirror, the socket, and the loop that joins them.

mod cores;
mod ports;
mod rest;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam::channel::{self, Receiver, Sender, never, select};
use crossbeam::queue::ArrayQueue;
use pollux_dataplane::conn::Sizes;
use pollux_dataplane::dpdk::{Eal, Mbuf, Pool, Queue, Tsc};
use pollux_dataplane::rest::{Mode, Rule};
use pollux_dataplane::steer::Spread;
use pollux_dataplane::worker::moves::Moves;
use pollux_dataplane::worker::{Setup, Worker};
use thiserror::Error;

use self::cores::Cores;
use self::ports::OpenPorts;
use crate::compile::Compiler;
use crate::daemon_args::DaemonArgs;
use crate::engine::{Engine, Instance};
use crate::house::{self, KernelRings, ORDERS, Parts, Seat, Tenants};
use crate::kernel::exception::{ExceptionPath, Injector, Switch};
use crate::kernel::facts::Facts;
use crate::kernel::netlink::{Mirror, Twin};
use crate::kernel::realm::{Face, Faces, Realms};
use crate::kernel::tap::TapDevice;
use crate::model::Config;
use crate::socket::server::{Job, Server};
use crate::state::begin::Beginning;
use crate::state::reload;
use crate::state::writer::Writer;
use crate::workers::{WorkerHandle, Workers};
use crate::{announce, say};

/// How often the control thread looks at the workers' notes.
const TICK: Duration = Duration::from_millis(5);

/// Why the daemon does not run.
#[derive(Debug, Error)]
pub enum RunError {
    /// DPDK did not start.
    #[error(transparent)]
    Eal(#[from] pollux_dataplane::dpdk::EalError),
    /// A port could not be used.
    #[error(transparent)]
    Port(#[from] pollux_dataplane::dpdk::PortError),
    /// No packet buffers.
    #[error(transparent)]
    Pool(#[from] pollux_dataplane::dpdk::PoolError),
    /// There is nothing to forward between.
    #[error(
        "DPDK found no port; name one with `-a 0000:3b:00.0` or `--vdev=net_af_packet0,iface=eth1` before the `--`"
    )]
    NoPorts,
    /// The configuration speaks of a port that is not there.
    #[error("ports: DPDK has no port {name}; it has {known}")]
    UnknownPort {
        /// The name that was written.
        name: String,
        /// The names there are.
        known: String,
    },
    /// A twin could not be made.
    #[error("the twin of port {port}: {why}")]
    Twin {
        /// The port.
        port: String,
        /// Why.
        why: crate::kernel::tap::TapError,
    },
    /// The kernel cannot be mirrored.
    #[error(transparent)]
    Netlink(#[from] crate::kernel::netlink::NetlinkError),
    /// Not enough memory for connections.
    #[error(
        "{ipv4} IPv4 and {ipv6} IPv6 connections do not fit into memory: {why}; lower start.connections_ipv4"
    )]
    Memory {
        /// IPv4 connections wanted.
        ipv4: u32,
        /// IPv6 connections wanted.
        ipv6: u32,
        /// What the kernel said.
        why: std::io::Error,
    },
    /// A thread or the socket could not be made.
    #[error("{what}: {why}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What the kernel said.
        why: std::io::Error,
    },
    /// The first configuration could not be brought to the workers.
    #[error(transparent)]
    Start(#[from] crate::error::Failure),
    /// A worker could not be pinned to its core.
    #[error(
        "core {0}: the worker could not be pinned to it; is it among the cores of this process's cpuset?"
    )]
    Pin(usize),
}

/// Runs the daemon until it is told to stop.
///
/// # Errors
/// Why it could not start.
pub fn run(args: &DaemonArgs, begun: Beginning, stop: &Arc<AtomicBool>) -> Result<(), RunError> {
    let options = &args.options;
    let config = &begun.config;
    let cores = Cores::from_eal(&args.eal);
    // EAL's arguments without the program's name.
    let eal = Arc::new(Eal::init(&args.eal[1..])?);
    let count = cores.workers.len();
    let spread = ports::spread(config);
    let rule = rest::rule(options, &config.start);
    let interrupts = rule.mode == Mode::Interrupt;
    let (mut ports, pool) = OpenPorts::start(&eal, config, (count, interrupts), spread.as_deref())?;
    let mut debug = announce::debug(&options.debug, config);
    announce::protocols(&mut debug, config, &Eal::version(), ports.names().len());
    let use_kernel = config.start.kernel && !options.no_kernel;
    let (clock, epoch) = (Tsc::new(&eal), Instant::now());
    let Started { handles, seats, threads, rings } =
        start_workers(&eal, config, (&cores, clock, rule), &mut ports, spread.as_ref())?;
    rest::announce(rule);
    announce::connections(&mut debug, &handles);
    let named = ports.name_twins(config, &options.twin_prefix);
    let faces = faces(&named, &ports);
    let twins = if use_kernel { named } else { ports.forget_twins() };
    let (exception, switch) = start_exception(&twins, &ports, rings, pool.clone())?;
    announce::twins(&mut debug, twins.len());
    let (mirror, facts) = start_mirror(twins)?;

    let home =
        Instance::new(Compiler::new(&config.start, ports.names()), Workers::new(handles), mirror, epoch);
    let realms = realms(switch, faces, pool, use_kernel);
    let house = Tenants::new(seats, ports.names().len(), Box::new(realms)).spread_by(spread);
    let mut engine = Engine::new(home, Box::new(ports), Box::new(house), Some(Eal::version()));
    announce::configuration(&mut debug, config);
    engine.use_debug(debug);
    engine.start(config)?;
    // The mirror's first picture is there already: the first packet must find its route.
    if let Ok(first) = facts.try_recv() {
        engine.learn(first)?;
    }
    let failed = |what| move |why| RunError::System { what, why };
    if let Some(keep) = begun.keep {
        engine.keep(Writer::start(keep, options.state_sync).map_err(failed("keeping the state"))?);
    }
    let (sender, jobs) = channel::unbounded();
    reload::start(options.config.clone(), sender.clone()).map_err(failed("catching SIGHUP"))?;
    let server = listen(&options.socket, sender)?;
    announce::ready(engine.debug(), config, &options.socket);
    serve(&mut engine, &jobs, &facts, stop);
    say!(Info, "stopping");
    drop(server);
    engine.workers().stop();
    for thread in threads {
        let _ = thread.join();
    }
    drop(exception);
    drop(engine);
    announce::unloaded();
    Ok(())
}

/// The control thread's loop.
fn serve(engine: &mut Engine, jobs: &Receiver<Job>, facts: &Receiver<Facts>, stop: &AtomicBool) {
    while !stop.load(Relaxed) && !engine.is_stopping() {
        select! {
            recv(jobs) -> job => if let Ok(job) = job {
                let Job { namespace, request, reply } = job;
                engine.answer(namespace.as_deref(), request, reply);
            },
            recv(facts) -> facts => if let Ok(facts) = facts
                && let Err(why) = engine.learn(facts)
            {
                say!(Warn, "what the kernel says of the network cannot be used: {why}");
            },
            default(TICK) => {}
        }
        engine.tick();
    }
}

fn listen(path: &std::path::Path, jobs: Sender<Job>) -> Result<Server, RunError> {
    Server::start(path, jobs)
        .map_err(|why| RunError::System { what: "the control socket", why: std::io::Error::other(why) })
}

/// Workers that run, and what control has of them.
struct Started {
    handles: Vec<WorkerHandle>,
    seats: Vec<Seat<Mbuf>>,
    threads: Vec<JoinHandle<()>>,
    rings: KernelRings<Mbuf>,
}

fn start_workers(
    eal: &Arc<Eal>,
    config: &Config,
    (cores, clock, rest): (&Cores, Tsc, Rule),
    ports: &mut OpenPorts,
    spread: Option<&Arc<Spread>>,
) -> Result<Started, RunError> {
    let numbers: Vec<u16> = cores.workers.iter().map(|&core| core as u16).collect();
    let Parts { setups, mut handles, rings } =
        house::parts(&config.start, &numbers, ports.names().len(), spread);
    let (mut seats, mut threads) = (Vec::new(), Vec::new());
    for ((number, home), &core) in setups.into_iter().enumerate().zip(&cores.workers) {
        let (sizes, moves) = (home.sizes, Moves::new(ORDERS));
        seats.push(Seat { core: core as u16, moves: Arc::clone(&moves) });
        let setup = Setup { ports: ports.queues_of_worker(), home, moves, rest };
        let (thread, entry_bytes) = start_worker((eal, clock), setup, number, core, sizes)?;
        handles[number].entry_bytes = entry_bytes;
        threads.push(thread);
    }
    Ok(Started { handles, seats, threads, rings })
}

/// Starts one worker on its core; it takes its memory there, so that the memory is near. Gives the bytes of an entry.
fn start_worker(
    (eal, clock): (&Arc<Eal>, Tsc),
    setup: Setup<Queue>,
    number: usize,
    core: usize,
    sizes: Sizes,
) -> Result<(JoinHandle<()>, usize), RunError> {
    let eal = Arc::clone(eal);
    let (started, outcome) = channel::bounded(1);
    let body = move || {
        if !core_affinity::set_for_current(core_affinity::CoreId { id: core }) {
            let _ = started.send(Err(RunError::Pin(core)));
            return;
        }
        rest::be_punctual(setup.rest);
        // Without a place in EAL's table the pools work too, only slower.
        let _registered = eal.register_thread().ok();
        match Worker::new(setup, clock) {
            Ok(mut worker) => {
                announce(&worker.home.line.conns, number, core);
                let _ = started.send(Ok(worker.home.line.conns.bytes_per_ipv4()));
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
        .map_err(|why| RunError::System { what: "starting a worker", why })?;
    let entry_bytes = outcome.recv().unwrap_or(Err(RunError::Pin(core)))?;
    Ok((thread, entry_bytes))
}

fn announce(table: &pollux_dataplane::conn::Table, number: usize, core: usize) {
    let Sizes { ipv4, ipv6 } = table.sizes();
    let entries = u64::from(ipv4) + u64::from(ipv6);
    say!(
        Info,
        "worker {number} on core {core}: Connection table: {entries} entries, {} bytes each, {} MiB",
        table.bytes_per_ipv4(),
        table.bytes() >> 20
    );
}

/// Puts frames of the kernel into buffers and on the ring to the first worker.
struct ToWire {
    pool: Pool,
    ring: Arc<ArrayQueue<(usize, Mbuf)>>,
}

impl Injector for ToWire {
    fn inject(&mut self, port: usize, frame: &[u8]) -> bool {
        self.pool.packet(frame).is_some_and(|packet| self.ring.push((port, packet)).is_ok())
    }
}

fn start_exception(
    twins: &[Twin],
    ports: &OpenPorts,
    rings: KernelRings<Mbuf>,
    pool: Pool,
) -> Result<(ExceptionPath, Switch<Mbuf>), RunError> {
    let create = |twin: &Twin| {
        let device = TapDevice::create(&twin.ifname, ports.mac(&twin.port), ports.mtu(&twin.port));
        device.map(Some).map_err(|why| RunError::Twin { port: twin.port.clone(), why })
    };
    let devices = twins.iter().map(create).collect::<Result<_, _>>()?;
    ExceptionPath::start(devices, rings.kernel, ToWire { pool, ring: rings.inject })
        .map_err(|why| RunError::System { what: "starting the exception path", why })
}

fn faces(twins: &[Twin], ports: &OpenPorts) -> Faces {
    let face = |twin: &Twin| {
        let (mac, mtu) = (ports.mac(&twin.port), ports.mtu(&twin.port));
        Face { port: twin.port.clone(), twin: twin.ifname.clone(), mac, mtu }
    };
    Faces(twins.iter().map(face).collect())
}

fn realms(switch: Switch<Mbuf>, faces: Faces, pool: Pool, use_kernel: bool) -> Realms<Mbuf> {
    let to_wire = move |ring| Box::new(ToWire { pool: pool.clone(), ring }) as Box<dyn Injector>;
    Realms::new(switch, faces, Box::new(to_wire), use_kernel)
}

fn start_mirror(twins: Vec<Twin>) -> Result<(Option<Mirror>, Receiver<Facts>), RunError> {
    if twins.is_empty() {
        return Ok((None, never()));
    }
    let (mirror, facts) = Mirror::start(twins)?;
    Ok((Some(mirror), facts))
}
