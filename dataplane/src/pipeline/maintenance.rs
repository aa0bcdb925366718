//! Work between bursts: expiry, defences, listing, removal and the adoption of snapshots.

mod adopt;
pub mod defence;
pub mod deferred_expiry;
mod expiry;
pub mod flush;
mod list;

use crate::time::Tick;

/// State of the work between bursts.
#[derive(Debug, Default)]
pub struct Maintenance {
    /// State of `drop_packet` and `drop_entry`.
    pub(crate) defence: defence::Defence,
    /// Number of half-open connections.
    pub(crate) half_open: u32,
    /// Number of connections opened since the last expiry.
    pub(crate) opened: u32,
    /// When schedulers, templates and path MTUs were last maintained.
    pub(crate) maintained: Tick,
    /// Connections that expire at the next tick.
    pub(crate) deferred_expiry: deferred_expiry::DeferredExpiry,
    /// Progress of the removal of connections whose destination or protocol is gone.
    pub(crate) flush: Option<flush::Flush>,
}
