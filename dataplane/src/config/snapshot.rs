//! One immutable generation of everything a worker acts on.

use std::sync::Arc;

use super::network::{Network, Target};
use crate::proto::Timeouts;
use crate::service::{DestinationId, ServiceId, Services, TargetId};

/// Time-outs and switches, with the names of IPVS's sysctls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How long silent connections live, by protocol and state.
    pub timeouts: Timeouts,
    /// What a SYN on an old connection may do; spec 4.6.
    pub conn_reuse_mode: u32,
    /// Expire connections whose destination is gone or quiesced.
    pub expire_nodest_conn: bool,
    /// Let any TCP segment but a RST open a connection.
    pub sloppy_tcp: bool,
    /// Answer packets from a NAT destination that belong to no connection.
    pub nat_icmp_send: bool,
    /// Answer packets that a tunnel cannot carry.
    pub pmtu_disc: bool,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            timeouts: Timeouts::default(),
            conn_reuse_mode: 1,
            expire_nodest_conn: false,
            sloppy_tcp: false,
            nat_icmp_send: false,
            pmtu_disc: true,
        }
    }
}

/// A change that schedulers with a memory must hear of, in the order it happened.
#[derive(Clone, Copy, Debug)]
pub struct Event {
    /// Whose destinations changed.
    pub service: ServiceId,
    /// What happened.
    pub kind: EventKind,
    /// Greatest common divisor of all positive weights after the change; 1 if there are none.
    pub gcd: u32,
    /// Greatest weight after the change.
    pub max_weight: u32,
}

/// What happened to a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// It was made, or got another scheduler: its scheduler starts afresh.
    Fresh,
    /// A destination was added.
    Added,
    /// A destination was edited.
    Edited,
    /// A destination was removed; with the one before it in the list.
    Removed(DestinationId, Option<DestinationId>),
}

/// Everything a worker acts on; two snapshots share what did not change between them.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Counts generations; a reply to a request waits until every worker has adopted its generation.
    pub generation: u64,
    /// What is balanced.
    pub services: Arc<Services>,
    /// How receivers are reached.
    pub network: Arc<Network>,
    /// The ways to destinations, by [`TargetId`].
    pub targets: Arc<[Target]>,
    /// Time-outs and switches.
    pub settings: Settings,
}

impl Default for Snapshot {
    fn default() -> Snapshot {
        Snapshot {
            generation: 0,
            services: Arc::default(),
            network: Arc::default(),
            targets: Arc::new([]),
            settings: Settings::default(),
        }
    }
}

impl Snapshot {
    /// The way to a destination.
    #[inline]
    pub fn target(&self, id: TargetId) -> Option<&Target> {
        self.targets.get(id.0 as usize)
    }
}
