//! How namespaces come to a worker and leave it: control builds and frees them, the worker only takes them in and
//! gives them back.

use std::sync::Arc;

use crossbeam::queue::ArrayQueue;

use super::binding::{Binding, NamespaceId};
use super::namespace::NamespaceWorker;

/// What control tells a worker about namespaces, one after the other.
pub enum NamespaceCommand<P> {
    /// It is at this worker from now on, though no port is bound to it yet.
    Enter(NamespaceId, Box<NamespaceWorker<P>>),
    /// It is given back.
    Leave(NamespaceId),
    /// Ports are bound so from now on, by their numbers.
    Bind(Box<[Binding]>),
}

/// What a worker gives back, to be freed.
pub enum Retired<P> {
    /// Nothing.
    Nothing,
    /// A namespace with all it holds.
    NamespaceWorker(Box<NamespaceWorker<P>>),
    /// How ports were bound before.
    Bindings(Box<[Binding]>),
}

/// The rings for this between control and one worker. Every order has a number, and is answered by it.
pub struct NamespaceRings<P> {
    /// From control.
    pub commands: ArrayQueue<(u64, NamespaceCommand<P>)>,
    /// To control.
    pub done: ArrayQueue<(u64, Retired<P>)>,
}

impl<P> NamespaceRings<P> {
    /// Rings for `depth` orders.
    pub fn new(depth: usize) -> Arc<NamespaceRings<P>> {
        Arc::new(NamespaceRings { commands: ArrayQueue::new(depth), done: ArrayQueue::new(depth) })
    }
}
