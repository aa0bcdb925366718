//! Adding namespaces to a running worker and removing them. Control allocates and frees them; a worker only takes them
//! in and returns them, so it never waits for memory.

use std::sync::Arc;

use crossbeam::queue::ArrayQueue;

use super::Worker;
use super::binding::{Binding, MAX_NAMESPACES, NamespaceId};
use super::namespace::NamespaceWorker;
use crate::io::QueuePair;
use crate::time::Clock;

/// A command about namespaces from control. Control sends the next one after the worker has replied.
pub enum NamespaceCommand<P> {
    /// Adds a namespace. No port is bound to it yet.
    Add(NamespaceId, Box<NamespaceWorker<P>>),
    /// Removes a namespace and returns it.
    Remove(NamespaceId),
    /// Replaces the bindings of all ports, by port number.
    Bind(Box<[Binding]>),
}

/// Memory that a worker returns to control to be freed.
pub enum Returned<P> {
    /// Nothing.
    Nothing,
    /// A removed or replaced namespace, with its connections and waiting packets.
    NamespaceWorker(Box<NamespaceWorker<P>>),
    /// The ports' previous bindings.
    Bindings(Box<[Binding]>),
}

/// The rings for namespace commands between control and one worker. Each command has a number, which the reply
/// repeats.
pub struct NamespaceRings<P> {
    /// From control to the worker.
    pub commands: ArrayQueue<(u64, NamespaceCommand<P>)>,
    /// From the worker to control.
    pub done: ArrayQueue<(u64, Returned<P>)>,
}

impl<P> NamespaceRings<P> {
    /// Rings for `depth` commands.
    pub fn new(depth: usize) -> Arc<NamespaceRings<P>> {
        Arc::new(NamespaceRings { commands: ArrayQueue::new(depth), done: ArrayQueue::new(depth) })
    }
}

impl<Q: QueuePair, C: Clock> Worker<Q, C> {
    /// Adds, removes and binds namespaces as control asks.
    #[inline]
    pub(super) fn process_namespace_commands(&mut self) {
        if !self.namespace_rings.commands.is_empty() {
            self.drain_namespace_commands();
        }
    }

    #[cold]
    fn drain_namespace_commands(&mut self) {
        while let Some((number, command)) = self.namespace_rings.commands.pop() {
            let returned = match command {
                NamespaceCommand::Add(id, namespace) => self.add_namespace(id, namespace),
                NamespaceCommand::Remove(id) => self.remove_namespace(id),
                NamespaceCommand::Bind(mut bindings) => {
                    for (port, binding) in self.ports.iter_mut().zip(&mut bindings) {
                        std::mem::swap(&mut port.binding, binding);
                    }
                    Returned::Bindings(bindings)
                }
            };
            // Never full: it is as deep as the ring of commands, and control waits for each reply.
            let _ = self.namespace_rings.done.push((number, returned));
        }
    }

    fn add_namespace(
        &mut self,
        id: NamespaceId,
        namespace: Box<NamespaceWorker<Q::Packet>>,
    ) -> Returned<Q::Packet> {
        let Some(index) = id.0.checked_sub(1).map(usize::from).filter(|&index| index < MAX_NAMESPACES) else {
            return Returned::NamespaceWorker(namespace);
        };
        while self.namespaces.len() <= index {
            self.namespaces.push(None);
        }
        self.namespaces[index].replace(namespace).map_or(Returned::Nothing, Returned::NamespaceWorker)
    }

    fn remove_namespace(&mut self, id: NamespaceId) -> Returned<Q::Packet> {
        let index = id.0.checked_sub(1).map(usize::from);
        let removed = index.and_then(|index| self.namespaces.get_mut(index)).and_then(Option::take);
        while let Some(None) = self.namespaces.last() {
            self.namespaces.pop();
        }
        removed.map_or(Returned::Nothing, Returned::NamespaceWorker)
    }
}
