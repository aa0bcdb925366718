//! How namespaces come to a worker and leave it: control builds and frees them, the worker only takes them in and
//! gives them back.

use std::sync::Arc;

use crossbeam::queue::ArrayQueue;

use super::binding::{Binding, NamespaceId};
use super::tenant::Tenant;

/// What control tells a worker about namespaces, one after the other.
pub enum Move<P> {
    /// It is at this worker from now on, though no port is bound to it yet.
    Enter(NamespaceId, Box<Tenant<P>>),
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
    Tenant(Box<Tenant<P>>),
    /// How ports were bound before.
    Bindings(Box<[Binding]>),
}

/// The rings for this between control and one worker. Every order has a number, and is answered by it.
pub struct Moves<P> {
    /// From control.
    pub orders: ArrayQueue<(u64, Move<P>)>,
    /// To control.
    pub done: ArrayQueue<(u64, Retired<P>)>,
}

impl<P> Moves<P> {
    /// Rings for `depth` orders.
    pub fn new(depth: usize) -> Arc<Moves<P>> {
        Arc::new(Moves { orders: ArrayQueue::new(depth), done: ArrayQueue::new(depth) })
    }
}
