//! Builds what the workers need for one namespace: rings, counters and shared tables, wired to each other.

use std::sync::Arc;

use crossbeam::queue::ArrayQueue;

use super::namespace::NamespaceSetup;
use crate::config::WorkerRings;
use crate::conn::{Shared, Sizes};
use crate::pipeline::KernelRing;
use crate::stats::WorkerStats;
use crate::steer::{Steering, WorkerId};

/// Capacity of each kind of ring, in entries.
#[derive(Clone, Copy, Debug)]
pub struct RingDepths {
    /// Commands and notifications between control and each worker.
    pub control: usize,
    /// Frames to the kernel.
    pub kernel: usize,
    /// Frames from the kernel.
    pub inject: usize,
    /// Packets handed to each worker by the others.
    pub hand_off: usize,
}

impl Default for RingDepths {
    fn default() -> RingDepths {
        RingDepths { control: 1024, kernel: 4096, inject: 4096, hand_off: 4096 }
    }
}

/// Size limits of a namespace.
#[derive(Clone, Copy, Debug)]
pub struct NamespaceLimits {
    /// Connections of each worker.
    pub connections: Sizes,
    /// Services.
    pub services: usize,
    /// Destinations.
    pub destinations: usize,
    /// Persistence templates of all workers together.
    pub templates: usize,
    /// Capacity of the rings.
    pub rings: RingDepths,
}

/// One namespace, ready for its workers to be created.
pub struct NamespaceParts<P> {
    /// One setup per worker, by worker number.
    pub setups: Vec<NamespaceSetup<P>>,
    /// Frames from all workers to the kernel.
    pub kernel: KernelRing<P>,
    /// Frames from the kernel; only the first worker sends them.
    pub inject: KernelRing<P>,
    /// Tables that all workers share.
    pub shared: Arc<Shared>,
}

impl<P> NamespaceParts<P> {
    /// Builds the setups for all workers that `steering` names, which share `ports` ports.
    pub fn new(steering: &Steering, ports: usize, limits: &NamespaceLimits) -> NamespaceParts<P> {
        let NamespaceLimits { connections, services, destinations, templates, rings } = *limits;
        let workers = steering.workers;
        let hand_off: Box<[_]> = (0..workers).map(|_| Arc::new(ArrayQueue::new(rings.hand_off))).collect();
        let kernel = Arc::new(ArrayQueue::new(rings.kernel));
        let inject = Arc::new(ArrayQueue::new(rings.inject));
        // Only the first worker sends the kernel's frames. The others share a ring that stays empty.
        let unused = Arc::new(ArrayQueue::new(1));
        let shared = Arc::new(Shared::new(destinations, templates));
        let setup = |worker: u16| NamespaceSetup {
            worker_id: WorkerId(worker),
            steering: steering.clone(),
            ports,
            sizes: connections,
            shared: Arc::clone(&shared),
            services,
            rings: WorkerRings::new(rings.control),
            stats: Arc::new(WorkerStats::new(destinations)),
            kernel: Arc::clone(&kernel),
            inject: Arc::clone(if worker == 0 { &inject } else { &unused }),
            hand_off: hand_off.clone(),
        };
        let setups = (0..workers).map(setup).collect();
        NamespaceParts { setups, kernel, inject, shared }
    }

    /// Takes the setup of the first worker, for a namespace of one.
    ///
    /// # Panics
    /// If it has been taken.
    pub fn take_first(&mut self) -> NamespaceSetup<P> {
        self.setups.remove(0)
    }
}
