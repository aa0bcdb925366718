//! Configuration as workers see it: frozen, sent over a ring, adopted between two bursts, returned to be freed.

pub mod adjacency;
pub mod events;
pub mod fwmarks;
pub mod ring;
pub mod snapshot;

pub use crate::conn::quota::Counting;
pub use crate::network::{
    Hop, HopId, Link, LinkId, Network, NextHop, Policy, Route, RouteTable, Rule, Target,
};
pub use adjacency::Adjacency;
pub use events::{ConfigEvent, ConfigEvents};
pub use fwmarks::{FwmarkRule, Ingress};
pub use ring::{Command, Notification, Page, WorkerRings};
pub use snapshot::{Event, EventKind, ProtocolSet, Settings, Snapshot};
