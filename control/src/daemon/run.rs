//! The daemon: starts EAL, ports, workers, the kernel mirror and the control socket, and runs the control loop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Instant;

use crossbeam::channel::{self, Receiver, Sender, select};
use pollux_dataplane::dpdk::{Eal, Tsc};
use pollux_dataplane::worker::idle::Mode;

use super::arguments::DaemonArgs;
use super::error::RunError;
use super::ports::{self, OpenPorts};
use super::twins::{self, kernel_namespaces, port_list, start_exception, start_mirror};
use super::workers::{self, Dpdk, Started};
use super::{announce, cores, idle, reload};
use crate::api::socket;
use crate::api::socket::server::{Job, Server};
use crate::engine::compile::Compiler;
use crate::engine::namespace_operations::NamespaceWorkers;
use crate::engine::workers::Workers;
use crate::engine::{Engine, NamespaceEngine, TICK};
use crate::interface::eal;
use crate::interface::journal::Journal;
use crate::interface::system::Linux;
use crate::interface::take::Interfaces;
use crate::log;
use crate::model::network::NetworkState;
use crate::state::startup::StartupConfig;
use crate::state::writer::Writer;

/// Runs the daemon until it is stopped.
///
/// # Errors
/// The reason why it could not start.
pub fn run(args: &DaemonArgs, startup: StartupConfig, stop: &Arc<AtomicBool>) -> Result<(), RunError> {
    let options = &args.options;
    let journal = Journal::beside(&socket::path(options.socket.as_deref()));
    // Dropped last: the interfaces are restored after DPDK has released them.
    let mut interfaces = Interfaces::take(&options.interfaces, options.take_over, journal, Linux)?;
    forward(args, startup, &mut interfaces, stop)
}

/// The arguments for EAL, with the program's name first.
fn arguments(given: &[String], interfaces: &[eal::Port]) -> Vec<String> {
    if interfaces.is_empty() {
        return given.to_vec();
    }
    let arguments = eal::defaults(given, interfaces.len(), &eal::Machine::read());
    let workers = cores::of_workers(&arguments).len();
    let arguments = eal::ports(arguments, interfaces, workers);
    log!(Info, "arguments for DPDK: {}", arguments[1..].join(" "));
    arguments
}

/// Starts EAL and creates the ports of interfaces; returns the workers' cores, too.
fn start_eal(given: &[String], interfaces: &Interfaces<Linux>) -> Result<(Arc<Eal>, Vec<usize>), RunError> {
    let arguments = arguments(given, &interfaces.ports());
    // The first argument is the program's name.
    let eal = Arc::new(Eal::init(&arguments[1..])?);
    interfaces.connect()?;
    Ok((eal, cores::of_workers(&arguments)))
}

fn forward(
    args: &DaemonArgs,
    startup: StartupConfig,
    interfaces: &mut Interfaces<Linux>,
    stop: &Arc<AtomicBool>,
) -> Result<(), RunError> {
    let options = &args.options;
    let config = &startup.config;
    let (eal, cores) = start_eal(&args.eal, interfaces)?;
    let count = cores.len();
    let rss_keys = ports::rss_keys(config);
    let idle = idle::config(options, &config.start);
    let interrupts = idle.mode == Mode::Interrupt;
    let (mut ports, pool) =
        OpenPorts::start(&eal, config, count, interrupts, rss_keys.as_deref(), &interfaces.mtus())?;
    let mut debug = announce::debug(&options.debug, config);
    announce::protocols(&mut debug, config, &Eal::version(), ports.names().len());
    let use_kernel = config.start.kernel && !options.no_kernel;
    let (dpdk, epoch) = (Dpdk { eal: &eal, clock: Tsc::new(&eal) }, Instant::now());
    let Started { handles, slots, threads, rings } =
        workers::start(dpdk, config, &cores, idle, &mut ports, rss_keys.as_ref())?;
    idle::announce(idle);
    announce::connections(&mut debug, &handles);
    let named = ports.name_twins(config, &options.twin_prefix);
    let port_list = port_list(&named, &ports);
    if !use_kernel {
        ports.clear_twins();
    }
    let twins = if use_kernel { named } else { Vec::new() };
    let (exception, exception_handle) = start_exception(&twins, &ports, rings, pool.clone())?;
    announce::twins(&mut debug, twins.len());
    interfaces.move_to_twins(&twins::by_port(&twins))?;
    let (mirror, network_state) = start_mirror(twins)?;

    let compiler = Compiler::new(&config.start, ports.names());
    let default_namespace = NamespaceEngine::new(compiler, Workers::new(handles), mirror, epoch);
    let kernel_namespaces = kernel_namespaces(exception_handle, port_list, pool, use_kernel);
    let namespaces = NamespaceWorkers::new(slots, ports.names().len(), Box::new(kernel_namespaces))
        .with_rss_keys(rss_keys);
    let mut engine =
        Engine::new(default_namespace, Box::new(ports), Box::new(namespaces), Some(Eal::version()));
    announce::configuration(&mut debug, config);
    engine.use_debug(debug);
    engine.show_exception_path(exception.counters());
    engine.start(config)?;
    // The mirror has already published its first state; the first packet needs its routes.
    if let Ok(first) = network_state.try_recv() {
        engine.set_network(first)?;
    }
    let failed = |what| move |why| RunError::System { what, why };
    if let Some(state_file) = startup.state_file {
        let writer = Writer::start(state_file, options.state_sync);
        engine.set_state_writer(writer.map_err(failed("start the writer of the state file"))?);
    }
    let (sender, jobs) = channel::unbounded();
    reload::start(options.config.clone(), sender.clone()).map_err(failed("start the thread for SIGHUP"))?;
    let socket = socket::path(options.socket.as_deref());
    let server = listen(&socket, sender)?;
    announce::ready(engine.debug(), config, &socket);
    serve(&mut engine, &jobs, &network_state, interfaces, stop);
    log!(Info, "stopping");
    drop(server);
    engine.workers().stop();
    threads.into_iter().for_each(|thread| _ = thread.join());
    drop(exception);
    drop(engine);
    announce::unloaded();
    Ok(())
}

/// Runs the loop of the control thread.
fn serve(
    engine: &mut Engine,
    jobs: &Receiver<Job>,
    network_state: &Receiver<NetworkState>,
    interfaces: &mut Interfaces<Linux>,
    stop: &AtomicBool,
) {
    while !stop.load(Relaxed) && !engine.is_stopping() {
        select! {
            recv(jobs) -> job => if let Ok(job) = job {
                let Job { namespace, request, reply } = job;
                engine.execute(namespace.as_deref(), request, reply);
            },
            recv(network_state) -> network_state => if let Ok(network_state) = network_state
                && let Err(why) = engine.set_network(network_state)
            {
                log!(Warn, "the kernel's network state was not installed: {why}");
            },
            default(TICK) => {}
        }
        engine.tick();
        interfaces.follow(Instant::now());
    }
}

fn listen(path: &std::path::Path, jobs: Sender<Job>) -> Result<Server, RunError> {
    Ok(Server::start(path, jobs)?)
}
