//! Configuration as workers see it: an immutable snapshot that control sends over a ring. A worker adopts it between
//! two bursts and returns the previous one, which control frees.

pub mod adjacency;
pub mod events;
pub mod fwmarks;
pub mod receivers;
pub mod ring;
pub mod snapshot;

pub use crate::conn::quota::Counting;
pub use crate::network::{
    Hop, HopId, Link, LinkId, Network, NextHop, Policy, Route, RouteTable, Rule, Target,
};
pub use adjacency::Adjacency;
pub use events::{ConfigEvent, ConfigEvents};
pub use fwmarks::{FwmarkRule, Ingress};
pub use receivers::{FrameFor, Receivers};
pub use ring::{Command, Notification, Page, WorkerRings};
pub use snapshot::{Event, EventKind, ProtocolSet, Settings, Snapshot};
