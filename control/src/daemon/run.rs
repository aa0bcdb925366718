//! The daemon put together: EAL, ports, workers, the kernel's mirror, the socket, and the loop that joins them.

mod cores;
mod idle;
mod ports;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam::channel::{self, Receiver, Sender, never, select};
use crossbeam::queue::ArrayQueue;
use pollux_dataplane::conn::Sizes;
use pollux_dataplane::dpdk::{Eal, Mbuf, Pool, Queue, Tsc};
use pollux_dataplane::steer::Spread;
use pollux_dataplane::worker::idle::{IdleConfig, Mode};
use pollux_dataplane::worker::{Setup, Worker};
use thiserror::Error;

use self::cores::Cores;
use self::ports::OpenPorts;
use crate::api::socket::server::{Job, Server};
use crate::daemon::announce;
use crate::daemon::arguments::DaemonArgs;
use crate::daemon::reload;
use crate::engine::compile::Compiler;
use crate::engine::namespace_manager::{self, NamespaceWorkers, Parts, WorkerSlot};
use crate::engine::workers::{WorkerHandle, Workers};
use crate::engine::{Engine, NamespaceEngine};
use crate::kernel::exception::{ExceptionPath, Injector, Switch};
use crate::kernel::namespace::{Face, Facing, KernelNamespaces, KernelRings};
use crate::kernel::netlink::{Mirror, Twin};
use crate::kernel::tap::TapDevice;
use crate::model::Config;
use crate::model::network_config::NetworkConfig;
use crate::say;
use crate::state::begin::Beginning;
use crate::state::writer::Writer;

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
    Start(#[from] crate::api::error::Failure),
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
    let rule = idle::rule(options, &config.start);
    let interrupts = rule.mode == Mode::Interrupt;
    let (mut ports, pool) = OpenPorts::start(&eal, config, (count, interrupts), spread.as_deref())?;
    let mut debug = announce::debug(&options.debug, config);
    announce::protocols(&mut debug, config, &Eal::version(), ports.names().len());
    let use_kernel = config.start.kernel && !options.no_kernel;
    let (clock, epoch) = (Tsc::new(&eal), Instant::now());
    let Started { handles, slots, threads, rings } =
        start_workers(&eal, config, (&cores, clock, rule), &mut ports, spread.as_ref())?;
    idle::announce(rule);
    announce::connections(&mut debug, &handles);
    let named = ports.name_twins(config, &options.twin_prefix);
    let facing = facing(&named, &ports);
    let twins = if use_kernel { named } else { ports.forget_twins() };
    let (exception, switch) = start_exception(&twins, &ports, rings, pool.clone())?;
    announce::twins(&mut debug, twins.len());
    let (mirror, network_config) = start_mirror(twins)?;

    let default_namespace = NamespaceEngine::new(
        Compiler::new(&config.start, ports.names()),
        Workers::new(handles),
        mirror,
        epoch,
    );
    let kernel_namespaces = kernel_namespaces(switch, facing, pool, use_kernel);
    let namespaces =
        NamespaceWorkers::new(slots, ports.names().len(), Box::new(kernel_namespaces)).spread_by(spread);
    let mut engine =
        Engine::new(default_namespace, Box::new(ports), Box::new(namespaces), Some(Eal::version()));
    announce::configuration(&mut debug, config);
    engine.use_debug(debug);
    engine.start(config)?;
    // The mirror's first picture is there already: the first packet must find its route.
    if let Ok(first) = network_config.try_recv() {
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
    serve(&mut engine, &jobs, &network_config, stop);
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
fn serve(
    engine: &mut Engine,
    jobs: &Receiver<Job>,
    network_config: &Receiver<NetworkConfig>,
    stop: &AtomicBool,
) {
    while !stop.load(Relaxed) && !engine.is_stopping() {
        select! {
            recv(jobs) -> job => if let Ok(job) = job {
                let Job { namespace, request, reply } = job;
                engine.answer(namespace.as_deref(), request, reply);
            },
            recv(network_config) -> network_config => if let Ok(network_config) = network_config
                && let Err(why) = engine.learn(network_config)
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
    slots: Vec<WorkerSlot<Mbuf>>,
    threads: Vec<JoinHandle<()>>,
    rings: KernelRings<Mbuf>,
}

fn start_workers(
    eal: &Arc<Eal>,
    config: &Config,
    (cores, clock, idle): (&Cores, Tsc, IdleConfig),
    ports: &mut OpenPorts,
    spread: Option<&Arc<Spread>>,
) -> Result<Started, RunError> {
    let numbers: Vec<u16> = cores.workers.iter().map(|&core| core as u16).collect();
    let Parts { setups, mut handles, rings } =
        namespace_manager::parts(&config.start, &numbers, ports.names().len(), spread);
    let (mut slots, mut threads) = (Vec::new(), Vec::new());
    for ((number, default_namespace), &core) in setups.into_iter().enumerate().zip(&cores.workers) {
        let sizes = default_namespace.sizes;
        let setup = Setup { idle, ..Setup::new(ports.queues_of_worker(), default_namespace) };
        slots.push(WorkerSlot { core: core as u16, namespace_rings: Arc::clone(&setup.namespace_rings) });
        let (thread, entry_bytes) = start_worker((eal, clock), setup, number, core, sizes)?;
        handles[number].entry_bytes = entry_bytes;
        threads.push(thread);
    }
    Ok(Started { handles, slots, threads, rings })
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
        idle::be_punctual(setup.idle);
        // Without a place in EAL's table the pools work too, only slower.
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
        .map_err(|why| RunError::System { what: "starting a worker", why })?;
    let entry_bytes = outcome.recv().unwrap_or(Err(RunError::Pin(core)))?;
    Ok((thread, entry_bytes))
}

fn announce(table: &pollux_dataplane::conn::Table, number: usize, core: usize) {
    let Sizes { ipv4, ipv6, .. } = table.sizes();
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

fn facing(twins: &[Twin], ports: &OpenPorts) -> Facing {
    let face = |twin: &Twin| {
        let (mac, mtu) = (ports.mac(&twin.port), ports.mtu(&twin.port));
        Face { port: twin.port.clone(), twin: twin.ifname.clone(), mac, mtu }
    };
    Facing(twins.iter().map(face).collect())
}

fn kernel_namespaces(
    switch: Switch<Mbuf>,
    facing: Facing,
    pool: Pool,
    use_kernel: bool,
) -> KernelNamespaces<Mbuf> {
    let to_wire = move |ring| Box::new(ToWire { pool: pool.clone(), ring }) as Box<dyn Injector>;
    KernelNamespaces::new(switch, facing, Box::new(to_wire), use_kernel)
}

fn start_mirror(twins: Vec<Twin>) -> Result<(Option<Mirror>, Receiver<NetworkConfig>), RunError> {
    if twins.is_empty() {
        return Ok((None, never()));
    }
    let (mirror, network_config) = Mirror::start(twins)?;
    Ok((Some(mirror), network_config))
}
