//! The exception path: carries frames between the kernel's twins and the data plane.
//!
//! A worker puts what is not its to balance on a ring and goes on; it never makes a system call. One thread empties
//! the ring into the twins and hands what the kernel sends to the daemon, which puts it on a port. Frames pass as they
//! are: foreign hardware addresses, VLAN tags and all.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam::channel::{self, Sender};
use crossbeam::queue::ArrayQueue;
use pollux_dataplane::packet::Packet;
use pollux_dataplane::worker::binding::NamespaceId;

use super::tap::TapDevice;

mod carrier;

/// How long who lets a namespace leave waits until its twins are gone.
const PATIENCE: Duration = Duration::from_secs(5);

/// Frames for the kernel, each with the index of the port it came in at.
pub type ToKernel<P> = ArrayQueue<(usize, P)>;

/// The way from the kernel to the wire, supplied by who owns the ports.
pub trait Injector: Send + 'static {
    /// Sends a copy of `frame` out of a port, or returns false when there is no room.
    fn inject(&mut self, port: usize, frame: &[u8]) -> bool;
}

/// One direction's counts.
#[derive(Debug, Default)]
pub struct WayCounters {
    /// Frames delivered.
    pub frames: AtomicU64,
    /// Their bytes, from the Ethernet header on and without the check sequence.
    pub bytes: AtomicU64,
    /// Frames lost: to the kernel, because the twin is down, gone or was never there; from the kernel, because the
    /// injector had no room.
    pub drops: AtomicU64,
}

/// What passed; only the carrying thread writes, anyone may read.
#[derive(Debug, Default)]
pub struct ExceptionCounters {
    /// From the data plane to the kernel.
    pub to_kernel: WayCounters,
    /// From the kernel to the data plane.
    pub from_kernel: WayCounters,
    /// Twins that were taken away while we used them. Their frames are dropped from then on.
    pub twins_lost: AtomicU64,
}

/// A twin of a port, or of one of its VLANs.
pub struct CarriedTwin {
    /// Number of the port.
    pub port: usize,
    /// The VLAN whose frames it has, without their tag; all frames of the port, as they are, when absent.
    pub vlan: Option<u16>,
    /// The twin.
    pub device: TapDevice,
}

/// What is carried for one namespace.
pub struct Carried<P> {
    /// Its twins.
    pub twins: Vec<CarriedTwin>,
    /// Its frames for the kernel.
    pub ring: Arc<ToKernel<P>>,
    /// The way from its twins to the wire.
    pub injector: Box<dyn Injector>,
}

/// What the carrying thread is told.
enum Change<P> {
    Join(NamespaceId, Carried<P>),
    /// Of the twins only these stay, and others come.
    Twins(NamespaceId, Vec<(usize, Option<u16>)>, Vec<CarriedTwin>),
    /// The sender is dropped when it is done.
    Leave(NamespaceId, Sender<()>),
}

/// By this namespaces beside the default one come to the exception path and leave it.
pub struct Switch<P>(Sender<Change<P>>);

impl<P> Switch<P> {
    /// Carries for another namespace too.
    pub fn join(&self, id: NamespaceId, carried: Carried<P>) {
        // A thread that has ended carries nothing, and then the daemon ends.
        let _ = self.0.send(Change::Join(id, carried));
    }

    /// Of a namespace's twins only those for these ports and VLANs stay, and others come.
    pub fn change(&self, id: NamespaceId, stay: Vec<(usize, Option<u16>)>, come: Vec<CarriedTwin>) {
        let _ = self.0.send(Change::Twins(id, stay, come));
    }

    /// Carries no more for a namespace; its twins are gone on return.
    pub fn leave(&self, id: NamespaceId) {
        let (done, wait) = channel::bounded(0);
        if self.0.send(Change::Leave(id, done)).is_ok() {
            let _ = wait.recv_timeout(PATIENCE);
        }
    }
}

/// The running exception path; dropping it ends the thread and, with it, the twins.
pub struct ExceptionPath {
    counters: Arc<ExceptionCounters>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl ExceptionPath {
    /// Starts to carry for the default namespace. `twins[i]` belongs to port `i`; a port without a twin has `None`.
    ///
    /// Packets are dropped, and so given back to their pool, on this path's thread.
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn start<P: Packet>(
        twins: Vec<Option<TapDevice>>,
        ring: Arc<ToKernel<P>>,
        injector: impl Injector,
    ) -> io::Result<(ExceptionPath, Switch<P>)> {
        let twins = (0..)
            .zip(twins)
            .filter_map(|(port, device)| Some(CarriedTwin { port, vlan: None, device: device? }));
        let default_namespace = Carried { twins: twins.collect(), ring, injector: Box::new(injector) };
        let (switch, changes) = channel::unbounded();
        let counters = Arc::new(ExceptionCounters::default());
        let stop = Arc::new(AtomicBool::new(false));
        let mut carrier = carrier::Carrier::new(default_namespace, changes, Arc::clone(&counters));
        let its_stop = Arc::clone(&stop);
        let thread =
            thread::Builder::new().name("pollux-kernel".to_owned()).spawn(move || carrier.run(&its_stop))?;
        Ok((ExceptionPath { counters, stop, thread: Some(thread) }, Switch(switch)))
    }

    /// What passed so far; the counts outlive the path.
    pub fn counters(&self) -> Arc<ExceptionCounters> {
        Arc::clone(&self.counters)
    }
}

impl Drop for ExceptionPath {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
