//! Linux network namespaces of Pollux namespaces: each has its own TAP twins and its own mirror, so that two namespaces
//! may use the same addresses, routes and neighbours.

use std::collections::HashMap;
use std::sync::Arc;

use crossbeam::channel::Receiver;
use crossbeam::queue::ArrayQueue;
use pollux_dataplane::packet::Packet;
use pollux_dataplane::pipeline::KernelRing;
use pollux_dataplane::worker::binding::NamespaceId;

use super::exception::{ExceptionHandle, Injector, NamespaceTwins, TwinDevice};
use super::netlink::{Mirror, NetlinkError, Twin};
use super::netns::{Netns, NetnsError};
use super::tap::{TapDevice, TapError};
use crate::model::network::{Mac, NetworkState};
use crate::model::{Binding, Namespace};

/// Reason why twins or mirror of a namespace cannot be created.
#[derive(Debug, thiserror::Error)]
pub enum KernelNamespaceError {
    /// The network namespace cannot be created or entered.
    #[error(transparent)]
    Netns(#[from] NetnsError),
    /// A twin cannot be created.
    #[error("TAP twin of {binding}: {why}")]
    Twin {
        /// Port or VLAN of the twin.
        binding: Binding,
        /// The error.
        why: TapError,
    },
    /// The mirror cannot be started.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
}

/// A mirror of a namespace, and its network states.
pub type KernelMirror = (Mirror, Receiver<NetworkState>);

/// Rings between a namespace and the kernel.
pub struct KernelRings<P> {
    /// Frames to the kernel.
    pub kernel: KernelRing<P>,
    /// Frames from the kernel.
    pub inject: Arc<ArrayQueue<(usize, P)>>,
}

/// What the kernel does for a namespace other than the default one.
pub trait KernelNamespaceOperations<P> {
    /// Prepares a new namespace.
    ///
    /// # Errors
    /// If its twins cannot be created; then it is not added.
    fn add(
        &mut self,
        id: NamespaceId,
        namespace: &Namespace,
        rings: KernelRings<P>,
    ) -> Result<Option<KernelMirror>, KernelNamespaceError>;

    /// Prepares a change of the bindings of a namespace.
    ///
    /// # Errors
    /// If twins cannot be created; then nothing has changed.
    fn prepare_bindings(
        &mut self,
        id: NamespaceId,
        bindings: &[Binding],
    ) -> Result<Option<KernelMirror>, KernelNamespaceError>;

    /// Discards what was prepared for a namespace.
    fn cancel_bindings(&mut self, id: NamespaceId);

    /// Connects the twins according to the prepared bindings, which the workers have adopted. Before that, workers would
    /// drop frames from the kernel.
    fn commit_bindings(&mut self);

    /// Removes a namespace.
    fn remove(&mut self, id: NamespaceId);
}

/// Attributes of a port that its twins share.
#[derive(Clone, Debug)]
pub struct PortAttributes {
    /// Name of the port.
    pub port: String,
    /// Name of its twin; the twin of a VLAN has the VLAN ID appended.
    pub twin: String,
    /// MAC address.
    pub mac: Mac,
    /// MTU in bytes.
    pub mtu: u16,
}

/// Attributes of all ports, by number.
#[derive(Clone, Debug, Default)]
pub struct PortList(pub Vec<PortAttributes>);

impl PortList {
    fn number(&self, binding: &Binding) -> Option<usize> {
        self.0.iter().position(|port| port.port == binding.port)
    }

    fn twin(&self, binding: &Binding) -> Option<Twin> {
        let port = &self.0[self.number(binding)?];
        let tag = binding.vlan.map(|vlan| format!(".{vlan}")).unwrap_or_default();
        Some(Twin { ifname: format!("{}{tag}", port.twin), port: port.port.clone(), vlan: binding.vlan })
    }

    /// Creates a twin in the network namespace of the calling thread.
    fn device(&self, binding: &Binding) -> Option<Result<TwinDevice, KernelNamespaceError>> {
        let (number, twin) = (self.number(binding)?, self.twin(binding)?);
        let port = &self.0[number];
        let twin_device = |device| TwinDevice { port: number, vlan: binding.vlan, device };
        let refused = |why| KernelNamespaceError::Twin { binding: binding.clone(), why };
        Some(TapDevice::create(&twin.ifname, port.mac, port.mtu).map(twin_device).map_err(refused))
    }

    /// Creates twins of the `new` bindings, and a mirror for `all`.
    fn connect(
        &self,
        netns: &Netns,
        all: &[Binding],
        new: &[&Binding],
    ) -> Result<(Vec<TwinDevice>, KernelMirror), KernelNamespaceError> {
        let twins: Vec<Twin> = all.iter().filter_map(|binding| self.twin(binding)).collect();
        netns.within(|| {
            let devices = new.iter().filter_map(|binding| self.device(binding)).collect::<Result<_, _>>()?;
            Ok((devices, Mirror::start(twins)?))
        })?
    }
}

/// Creates the injector for the ring of a namespace's first worker.
pub type NewInjector<P> = Box<dyn Fn(Arc<ArrayQueue<(usize, P)>>) -> Box<dyn Injector>>;

/// Change of the exception path that is made when the ports are bound.
enum Prepared<P> {
    Add(NamespaceTwins<P>),
    /// Twins to keep, new twins, and the bindings they belong to.
    Twins(Vec<(usize, Option<u16>)>, Vec<TwinDevice>, Vec<Binding>),
}

/// Network namespaces, twins and mirrors of all namespaces except the default one.
pub struct KernelNamespaces<P> {
    exception: ExceptionHandle<P>,
    ports: PortList,
    new_injector: NewInjector<P>,
    /// False if the daemon runs without twins.
    kernel: bool,
    /// Network namespaces, each with the bindings that have a twin in it.
    netns: HashMap<NamespaceId, (Netns, Vec<Binding>)>,
    prepared: HashMap<NamespaceId, Prepared<P>>,
}

impl<P: Packet> KernelNamespaces<P> {
    /// Begins without namespaces; `kernel` is false if the daemon runs without twins.
    pub fn new(
        exception: ExceptionHandle<P>,
        ports: PortList,
        new_injector: NewInjector<P>,
        kernel: bool,
    ) -> KernelNamespaces<P> {
        KernelNamespaces {
            exception,
            ports,
            new_injector,
            kernel,
            netns: HashMap::new(),
            prepared: HashMap::new(),
        }
    }
}

impl<P: Packet> KernelNamespaceOperations<P> for KernelNamespaces<P> {
    fn add(
        &mut self,
        id: NamespaceId,
        namespace: &Namespace,
        rings: KernelRings<P>,
    ) -> Result<Option<KernelMirror>, KernelNamespaceError> {
        let mut namespace_twins = NamespaceTwins {
            twins: Vec::new(),
            ring: rings.kernel,
            injector: (self.new_injector)(rings.inject),
        };
        let mut mirror = None;
        if self.kernel && namespace.start.kernel {
            let netns = Netns::open(namespace.netns())?;
            let new: Vec<_> = namespace.bindings.iter().collect();
            let (twins, started) = self.ports.connect(&netns, &namespace.bindings, &new)?;
            (namespace_twins.twins, mirror) = (twins, Some(started));
            self.netns.insert(id, (netns, namespace.bindings.clone()));
        }
        self.prepared.insert(id, Prepared::Add(namespace_twins));
        Ok(mirror)
    }

    fn prepare_bindings(
        &mut self,
        id: NamespaceId,
        bindings: &[Binding],
    ) -> Result<Option<KernelMirror>, KernelNamespaceError> {
        let Some((netns, before)) = self.netns.get(&id).filter(|(_, before)| before != bindings) else {
            return Ok(None);
        };
        let new: Vec<_> = bindings.iter().filter(|binding| !before.contains(binding)).collect();
        let (twins, mirror) = self.ports.connect(netns, bindings, &new)?;
        let keep = bindings.iter().filter(|binding| before.contains(binding));
        let keep = keep.filter_map(|binding| Some((self.ports.number(binding)?, binding.vlan))).collect();
        self.prepared.insert(id, Prepared::Twins(keep, twins, bindings.to_vec()));
        Ok(Some(mirror))
    }

    fn cancel_bindings(&mut self, id: NamespaceId) {
        self.prepared.remove(&id);
    }

    fn commit_bindings(&mut self) {
        for (id, prepared) in self.prepared.drain() {
            match prepared {
                Prepared::Add(namespace_twins) => self.exception.add(id, namespace_twins),
                Prepared::Twins(keep, twins, bindings) => {
                    self.exception.change(id, keep, twins);
                    if let Some((_, bound)) = self.netns.get_mut(&id) {
                        *bound = bindings;
                    }
                }
            }
        }
    }

    fn remove(&mut self, id: NamespaceId) {
        // The twins must be gone before their network namespace.
        self.prepared.remove(&id);
        self.exception.remove(id);
        self.netns.remove(&id);
    }
}
