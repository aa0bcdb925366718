//! The exception path: carries frames between the TAP twins and the data plane.
//!
//! Workers put frames for the kernel on a ring and make no system calls. One thread writes them to the twins, and
//! passes frames from the twins to the first worker. Frames are not modified, except for the VLAN tag of twins of a
//! VLAN.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam::channel::{self, Sender};
use crossbeam::queue::ArrayQueue;
use pollux_dataplane::packet::Packet;
use pollux_dataplane::worker::binding::NamespaceId;
use serde::Serialize;

use super::tap::TapDevice;

mod thread;

/// Time to wait until the twins of a removed namespace are gone.
const REMOVE_TIMEOUT: Duration = Duration::from_secs(5);

/// Frames for the kernel, each with the index of its ingress port.
pub type ToKernel<P> = ArrayQueue<(usize, P)>;

/// Sends frames from the kernel; implemented by the owner of the ports.
pub trait Injector: Send + 'static {
    /// Sends a copy of `frame` out of a port; returns false if there is no buffer or ring space.
    fn inject(&mut self, port: usize, frame: &[u8]) -> bool;
}

/// Counters of the exception path, written only by its thread.
#[derive(Debug, Default, Serialize)]
pub struct ExceptionCounters {
    /// Frames written to twins.
    pub to_kernel: AtomicU64,
    /// Frames for the kernel that were dropped, because there is no twin or it is down.
    pub to_kernel_drops: AtomicU64,
    /// Frames from twins, passed to the data plane.
    pub from_kernel: AtomicU64,
    /// Frames from twins that were dropped, because the injector had no space.
    pub from_kernel_drops: AtomicU64,
    /// Twins deleted by someone else while in use; their frames are dropped.
    pub twins_lost: AtomicU64,
}

/// A twin of a port, or of one of its VLANs.
pub struct TwinDevice {
    /// Number of the port.
    pub port: usize,
    /// VLAN whose frames it has, without their tag; if absent, it has all frames of the port, unmodified.
    pub vlan: Option<u16>,
    /// The TAP interface.
    pub device: TapDevice,
}

/// Twins and rings of one namespace.
pub struct NamespaceTwins<P> {
    /// Its twins.
    pub twins: Vec<TwinDevice>,
    /// Frames for the kernel.
    pub ring: Arc<ToKernel<P>>,
    /// Sends frames from its twins.
    pub injector: Box<dyn Injector>,
}

/// Commands to the thread of the exception path.
enum Command<P> {
    Add(NamespaceId, NamespaceTwins<P>),
    /// Keeps only the twins of these ports and VLANs, and adds others.
    Twins(NamespaceId, Vec<(usize, Option<u16>)>, Vec<TwinDevice>),
    /// The sender is dropped when done.
    Remove(NamespaceId, Sender<()>),
}

/// Adds and removes namespaces other than the default one.
pub struct ExceptionHandle<P>(Sender<Command<P>>);

impl<P> ExceptionHandle<P> {
    /// Adds a namespace.
    pub fn add(&self, id: NamespaceId, namespace: NamespaceTwins<P>) {
        // Fails only if the thread has ended, when the daemon ends.
        let _ = self.0.send(Command::Add(id, namespace));
    }

    /// Keeps only a namespace's twins of the ports and VLANs in `keep`, and adds `new` ones.
    pub fn change(&self, id: NamespaceId, keep: Vec<(usize, Option<u16>)>, new: Vec<TwinDevice>) {
        let _ = self.0.send(Command::Twins(id, keep, new));
    }

    /// Removes a namespace; its twins are gone on return.
    pub fn remove(&self, id: NamespaceId) {
        let (done, wait) = channel::bounded(0);
        if self.0.send(Command::Remove(id, done)).is_ok() {
            let _ = wait.recv_timeout(REMOVE_TIMEOUT);
        }
    }
}

/// The running exception path; dropping it ends the thread and removes the twins.
pub struct ExceptionPath {
    counters: Arc<ExceptionCounters>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl ExceptionPath {
    /// Starts the exception path for the default namespace. `twins[i]` belongs to port `i`; a port without a twin has
    /// `None`. Packets are returned to their pool on this thread.
    ///
    /// # Errors
    /// If the thread cannot be created.
    pub fn start<P: Packet>(
        twins: Vec<Option<TapDevice>>,
        ring: Arc<ToKernel<P>>,
        injector: impl Injector,
    ) -> io::Result<(ExceptionPath, ExceptionHandle<P>)> {
        let twins = (0..)
            .zip(twins)
            .filter_map(|(port, device)| Some(TwinDevice { port, vlan: None, device: device? }));
        let default_namespace = NamespaceTwins { twins: twins.collect(), ring, injector: Box::new(injector) };
        let (handle, commands) = channel::unbounded();
        let counters = Arc::new(ExceptionCounters::default());
        let stop = Arc::new(AtomicBool::new(false));
        let mut exception_thread =
            thread::ExceptionThread::new(default_namespace, commands, Arc::clone(&counters));
        let its_stop = Arc::clone(&stop);
        let thread = std::thread::Builder::new()
            .name("pollux-kernel".to_owned())
            .spawn(move || exception_thread.run(&its_stop))?;
        Ok((ExceptionPath { counters, stop, thread: Some(thread) }, ExceptionHandle(handle)))
    }

    /// Returns the counters, which outlive the path.
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
