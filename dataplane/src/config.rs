//! Configuration as workers see it: frozen, sent over a ring, adopted between two bursts, returned to be freed.

pub mod lane;
pub mod marks;
pub mod network;
pub mod news;
pub mod ring;
pub mod snapshot;

pub use lane::Lane;
pub use marks::{Ingress, MarkRule};
pub use network::{Hop, HopId, Link, LinkId, Network, NextHop, Policy, Route, RouteTable, Rule, Target};
pub use news::{News, Piece};
pub use ring::{Command, Note, Page, WorkerRings};
pub use snapshot::{Counting, Event, EventKind, ProtocolSet, Settings, Snapshot};
