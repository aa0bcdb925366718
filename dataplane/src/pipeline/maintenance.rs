//! Work between bursts: expiry, defences, listing, removal and the adoption of snapshots.

mod adopt;
pub mod defence;
pub mod deferred_expiry;
mod expiry;
pub mod flush;
mod list;
