//! The daemon put together: EAL, ports, workers, the kernel's mirror, the socket, and the loop that joins them.

mod cores;
mod ports;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam::channel::{self, Receiver, Sender, never, select};
use crossbeam::queue::ArrayQueue;
use pollux_dataplane::config::WorkerRings;
use pollux_dataplane::conn::{Shared, Sizes};
use pollux_dataplane::dpdk::{Eal, Mbuf, Pool, Queue, Tsc};
use pollux_dataplane::flow::Seed;
use pollux_dataplane::stats::Board;
use pollux_dataplane::steer::{Steering, WorkerId};
use pollux_dataplane::worker::{Setup, Worker};
use thiserror::Error;

use self::cores::Cores;
use self::ports::OpenPorts;
use crate::compile::Compiler;
use crate::daemon_args::DaemonArgs;
use crate::engine::Engine;
use crate::kernel::exception::{ExceptionPath, Injector};
use crate::kernel::facts::Facts;
use crate::kernel::netlink::{Mirror, Twin};
use crate::kernel::tap::TapDevice;
use crate::model::Config;
use crate::socket::server::{Job, Server};
use crate::state::begin::Beginning;
use crate::state::reload;
use crate::state::writer::Writer;
use crate::workers::{RING_DEPTH, WorkerHandle, Workers};

/// Frames on their way to the kernel, and from it.
const KERNEL_RING: usize = 4096;
/// Packets on their way to the worker that owns them.
const HAND_OFF_RING: usize = 4096;
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
    let (mut ports, pool) = OpenPorts::start(&eal, config, count)?;
    let use_kernel = config.start.kernel && !options.no_kernel;
    let kernel = Arc::new(ArrayQueue::new(KERNEL_RING));
    let inject = Arc::new(ArrayQueue::new(KERNEL_RING));
    let (clock, epoch) = (Tsc::new(&eal), Instant::now());
    let (handles, threads) = start_workers(&eal, config, (&cores, clock), &mut ports, &kernel, &inject)?;
    let twins = if use_kernel { ports.name_twins(config, &options.twin_prefix) } else { Vec::new() };
    let exception = start_exception(&twins, &ports, kernel, ToWire { pool, ring: inject })?;
    let (mirror, facts) = start_mirror(twins)?;

    let compiler = Compiler::new(&config.start, ports.names());
    let dpdk = Some(Eal::version());
    let mut engine = Engine::new(compiler, Workers::new(handles), Box::new(ports), mirror, (dpdk, epoch));
    if let Some(facts) = &config.facts {
        engine.use_facts(facts.clone())?;
    }
    engine.configure(config)?;
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
    eprintln!("polluxd: ready; control socket {}", options.socket.display());
    serve(&mut engine, &jobs, &facts, stop);
    eprintln!("polluxd: stopping");
    drop(server);
    engine.workers().stop();
    for thread in threads {
        let _ = thread.join();
    }
    drop(exception);
    drop(engine);
    Ok(())
}

/// The control thread's loop.
fn serve(engine: &mut Engine, jobs: &Receiver<Job>, facts: &Receiver<Facts>, stop: &AtomicBool) {
    while !stop.load(Relaxed) && !engine.is_stopping() {
        select! {
            recv(jobs) -> job => if let Ok(job) = job {
                engine.answer(job.request, job.reply);
            },
            recv(facts) -> facts => if let Ok(facts) = facts
                && let Err(why) = engine.learn(facts)
            {
                eprintln!("polluxd: what the kernel says of the network cannot be used: {why}");
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

type KernelRing = Arc<ArrayQueue<(usize, Mbuf)>>;

fn start_workers(
    eal: &Arc<Eal>,
    config: &Config,
    (cores, clock): (&Cores, Tsc),
    ports: &mut OpenPorts,
    kernel: &KernelRing,
    inject: &KernelRing,
) -> Result<(Vec<WorkerHandle>, Vec<JoinHandle<()>>), RunError> {
    let count = cores.workers.len();
    let share = |total: u32| total.div_ceil(count as u32);
    let sizes =
        Sizes { ipv4: share(config.start.connections_ipv4), ipv6: share(config.start.connections_ipv6) };
    let steering = Steering { workers: count as u16, seed: Seed::random() };
    let rings: Box<[_]> = (0..count).map(|_| Arc::new(ArrayQueue::new(HAND_OFF_RING))).collect();
    // Frames of the kernel all leave by the first worker; the others have a ring nobody fills.
    let idle: KernelRing = Arc::new(ArrayQueue::new(1));
    let shared = Arc::new(Shared::new(config.start.destinations as usize, config.start.templates as usize));
    let (mut handles, mut threads) = (Vec::new(), Vec::new());
    for (number, &core) in cores.workers.iter().enumerate() {
        let handle = WorkerHandle {
            core: core as u16,
            capacity: u64::from(sizes.ipv4) + u64::from(sizes.ipv6),
            rings: WorkerRings::new(RING_DEPTH),
            board: Arc::new(Board::new(config.start.destinations as usize)),
            shared: Arc::clone(&shared),
        };
        let setup = Setup {
            me: WorkerId(number as u16),
            steering,
            ports: ports.queues_of_worker(),
            sizes,
            shared: Arc::clone(&shared),
            services: config.start.services as usize,
            board: Arc::clone(&handle.board),
            rings: Arc::clone(&handle.rings),
            kernel: Arc::clone(kernel),
            inject: Arc::clone(if number == 0 { inject } else { &idle }),
            hand_off: rings.clone(),
        };
        handles.push(handle);
        threads.push(start_worker((eal, clock), setup, number, core, sizes)?);
    }
    Ok((handles, threads))
}

/// Starts one worker on its core; it takes its memory there, so that the memory is near.
fn start_worker(
    (eal, clock): (&Arc<Eal>, Tsc),
    setup: Setup<Queue>,
    number: usize,
    core: usize,
    sizes: Sizes,
) -> Result<JoinHandle<()>, RunError> {
    let eal = Arc::clone(eal);
    let (started, outcome) = channel::bounded(1);
    let body = move || {
        if !core_affinity::set_for_current(core_affinity::CoreId { id: core }) {
            let _ = started.send(Err(RunError::Pin(core)));
            return;
        }
        // Without a place in EAL's table the pools work too, only slower.
        let _registered = eal.register_thread().ok();
        match Worker::new(setup, clock) {
            Ok(mut worker) => {
                announce(&worker.line.conns, number, core);
                let _ = started.send(Ok(()));
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
    outcome.recv().unwrap_or(Err(RunError::Pin(core)))?;
    Ok(thread)
}

fn announce(table: &pollux_dataplane::conn::Table, number: usize, core: usize) {
    let Sizes { ipv4, ipv6 } = table.sizes();
    let entries = u64::from(ipv4) + u64::from(ipv6);
    eprintln!(
        "polluxd: worker {number} on core {core}: Connection table: {entries} entries, {} bytes each, {} MiB",
        table.bytes_per_ipv4(),
        table.bytes() >> 20
    );
}

/// Puts frames of the kernel into buffers and on the ring to the first worker.
struct ToWire {
    pool: Pool,
    ring: KernelRing,
}

impl Injector for ToWire {
    fn inject(&mut self, port: usize, frame: &[u8]) -> bool {
        self.pool.packet(frame).is_some_and(|packet| self.ring.push((port, packet)).is_ok())
    }
}

fn start_exception(
    twins: &[Twin],
    ports: &OpenPorts,
    kernel: KernelRing,
    to_wire: ToWire,
) -> Result<ExceptionPath, RunError> {
    let create = |twin: &Twin| {
        let device = TapDevice::create(&twin.ifname, ports.mac(&twin.port), ports.mtu(&twin.port));
        device.map(Some).map_err(|why| RunError::Twin { port: twin.port.clone(), why })
    };
    let devices = twins.iter().map(create).collect::<Result<_, _>>()?;
    ExceptionPath::start(devices, kernel, to_wire)
        .map_err(|why| RunError::System { what: "starting the exception path", why })
}

fn start_mirror(twins: Vec<Twin>) -> Result<(Option<Mirror>, Receiver<Facts>), RunError> {
    if twins.is_empty() {
        return Ok((None, never()));
    }
    let (mirror, facts) = Mirror::start(twins)?;
    Ok((Some(mirror), facts))
}
