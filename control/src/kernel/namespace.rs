//! The kernel's side of namespaces: the twins of what is bound to one are in a network namespace of its own, with a
//! mirror in there, so that addresses, routes and neighbours of two namespaces may be the same.

use std::collections::HashMap;
use std::sync::Arc;

use crossbeam::channel::Receiver;
use crossbeam::queue::ArrayQueue;
use pollux_dataplane::packet::Packet;
use pollux_dataplane::pipeline::KernelRing;
use pollux_dataplane::worker::binding::NamespaceId;

use super::exception::{Carried, CarriedTwin, Injector, Switch};
use super::netlink::{Mirror, NetlinkError, Twin};
use super::netns::{Netns, NetnsError};
use super::tap::{TapDevice, TapError};
use crate::model::network_config::{Mac, NetworkConfig};
use crate::model::{Binding, Namespace};

/// The kernel's side cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum KernelNamespaceError {
    /// The network namespace.
    #[error(transparent)]
    Netns(#[from] NetnsError),
    /// A twin.
    #[error("the twin of {binding}: {why}")]
    Twin {
        /// What it is the twin of.
        binding: Binding,
        /// Why.
        why: TapError,
    },
    /// The mirror.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
}

/// What the kernel says in a namespace, and how to ask it.
pub type Heard = (Mirror, Receiver<NetworkConfig>);

/// Rings between a namespace and the kernel.
pub struct KernelRings<P> {
    /// To the kernel.
    pub kernel: KernelRing<P>,
    /// From the kernel.
    pub inject: Arc<ArrayQueue<(usize, P)>>,
}

/// Who carries frames between namespaces and the kernel.
pub trait FrameCarrier<P> {
    /// A namespace comes.
    ///
    /// # Errors
    /// When its twins cannot be made; then it has not come.
    fn join(
        &mut self,
        id: NamespaceId,
        of: &Namespace,
        rings: KernelRings<P>,
    ) -> Result<Option<Heard>, KernelNamespaceError>;

    /// Other ports and VLANs will be bound to it.
    ///
    /// # Errors
    /// When twins cannot be made; then nothing has changed.
    fn rebind(
        &mut self,
        id: NamespaceId,
        bindings: &[Binding],
    ) -> Result<Option<Heard>, KernelNamespaceError>;

    /// They will not.
    fn stay(&mut self, id: NamespaceId);

    /// Ports are bound as was said; frames are carried so from now on, and not before: those of the kernel would drop.
    fn bound(&mut self);

    /// It goes.
    fn leave(&mut self, id: NamespaceId);
}

/// What is known of a port to make twins of it.
#[derive(Clone, Debug)]
pub struct Face {
    /// The port's name.
    pub port: String,
    /// Its twin's name; a VLAN's has the tag behind it.
    pub twin: String,
    /// Its hardware address.
    pub mac: Mac,
    /// Its MTU.
    pub mtu: u16,
}

/// All ports, by number.
#[derive(Clone, Debug, Default)]
pub struct Facing(pub Vec<Face>);

impl Facing {
    fn number(&self, binding: &Binding) -> Option<usize> {
        self.0.iter().position(|face| face.port == binding.port)
    }

    fn twin(&self, binding: &Binding) -> Option<Twin> {
        let face = &self.0[self.number(binding)?];
        let tag = binding.vlan.map(|vlan| format!(".{vlan}")).unwrap_or_default();
        Some(Twin { ifname: format!("{}{tag}", face.twin), port: face.port.clone(), vlan: binding.vlan })
    }

    /// A twin in the network namespace of the calling thread.
    fn device(&self, binding: &Binding) -> Option<Result<CarriedTwin, KernelNamespaceError>> {
        let (port, twin) = (self.number(binding)?, self.twin(binding)?);
        let face = &self.0[port];
        let carried = |device| CarriedTwin { port, vlan: binding.vlan, device };
        let refused = |why| KernelNamespaceError::Twin { binding: binding.clone(), why };
        Some(TapDevice::create(&twin.ifname, face.mac, face.mtu).map(carried).map_err(refused))
    }

    /// Twins for what has none yet, and a mirror that knows all.
    fn connect(
        &self,
        netns: &Netns,
        all: &[Binding],
        new: &[&Binding],
    ) -> Result<(Vec<CarriedTwin>, Heard), KernelNamespaceError> {
        let twins: Vec<Twin> = all.iter().filter_map(|binding| self.twin(binding)).collect();
        netns.within(|| {
            let devices = new.iter().filter_map(|binding| self.device(binding)).collect::<Result<_, _>>()?;
            Ok((devices, Mirror::start(twins)?))
        })?
    }
}

/// Makes the way from twins to the ring that a namespace's first worker empties.
pub type ToWire<P> = Box<dyn Fn(Arc<ArrayQueue<(usize, P)>>) -> Box<dyn Injector>>;

/// What the carrying thread is to be told when ports are bound.
enum Prepared<P> {
    Join(Carried<P>),
    /// Of the twins only these stay, and others come.
    Twins(Vec<(usize, Option<u16>)>, Vec<CarriedTwin>, Vec<Binding>),
}

/// The kernel's side of all namespaces but the default one.
pub struct KernelNamespaces<P> {
    switch: Switch<P>,
    facing: Facing,
    to_wire: ToWire<P>,
    /// There are twins at all.
    kernel: bool,
    /// With what has a twin there.
    netns: HashMap<NamespaceId, (Netns, Vec<Binding>)>,
    prepared: HashMap<NamespaceId, Prepared<P>>,
}

impl<P: Packet> KernelNamespaces<P> {
    /// None yet; `kernel` says whether there will be twins.
    pub fn new(switch: Switch<P>, facing: Facing, to_wire: ToWire<P>, kernel: bool) -> KernelNamespaces<P> {
        KernelNamespaces { switch, facing, to_wire, kernel, netns: HashMap::new(), prepared: HashMap::new() }
    }
}

impl<P: Packet> FrameCarrier<P> for KernelNamespaces<P> {
    fn join(
        &mut self,
        id: NamespaceId,
        of: &Namespace,
        rings: KernelRings<P>,
    ) -> Result<Option<Heard>, KernelNamespaceError> {
        let mut carried =
            Carried { twins: Vec::new(), ring: rings.kernel, injector: (self.to_wire)(rings.inject) };
        let mut heard = None;
        if self.kernel && of.start.kernel {
            let netns = Netns::open(of.netns())?;
            let new: Vec<_> = of.bindings.iter().collect();
            let (twins, hears) = self.facing.connect(&netns, &of.bindings, &new)?;
            (carried.twins, heard) = (twins, Some(hears));
            self.netns.insert(id, (netns, of.bindings.clone()));
        }
        self.prepared.insert(id, Prepared::Join(carried));
        Ok(heard)
    }

    fn rebind(
        &mut self,
        id: NamespaceId,
        bindings: &[Binding],
    ) -> Result<Option<Heard>, KernelNamespaceError> {
        let Some((netns, before)) = self.netns.get(&id).filter(|(_, before)| before != bindings) else {
            return Ok(None);
        };
        let new: Vec<_> = bindings.iter().filter(|binding| !before.contains(binding)).collect();
        let (twins, heard) = self.facing.connect(netns, bindings, &new)?;
        let stay = bindings.iter().filter(|binding| before.contains(binding));
        let stay = stay.filter_map(|binding| Some((self.facing.number(binding)?, binding.vlan))).collect();
        self.prepared.insert(id, Prepared::Twins(stay, twins, bindings.to_vec()));
        Ok(Some(heard))
    }

    fn stay(&mut self, id: NamespaceId) {
        self.prepared.remove(&id);
    }

    fn bound(&mut self) {
        for (id, prepared) in self.prepared.drain() {
            match prepared {
                Prepared::Join(carried) => self.switch.join(id, carried),
                Prepared::Twins(stay, twins, bindings) => {
                    self.switch.change(id, stay, twins);
                    if let Some((_, bound)) = self.netns.get_mut(&id) {
                        *bound = bindings;
                    }
                }
            }
        }
    }

    fn leave(&mut self, id: NamespaceId) {
        // First the twins, then what they are in.
        self.prepared.remove(&id);
        self.switch.leave(id);
        self.netns.remove(&id);
    }
}
