//! The connection table of a worker.
//!
//! A connection is one [`entry::Entry`] of 64 bytes, found through [`index::Index`] lines of 64 bytes, both in memory taken
//! at start ([`slab`]). Timers are links inside the entries ([`crate::time::wheel`]). The few connections that need more
//! have an [`extra`] record.

pub mod entry;
pub mod extra;
pub mod free;
pub mod index;
pub mod quota;
mod records;
pub mod sizes;
pub mod slab;
pub mod table;
pub mod template;

#[cfg(test)]
mod tests;

pub use entry::{ConnId, Direction, Entry, Expiry, Flags};
pub use extra::Extra;
pub use quota::Quotas;
pub use sizes::{Kind, Sizes};
pub use table::{NewConnection, Table};

/// State that the workers of a namespace share. It is accessed when a connection is added, first found open, and removed,
/// never by the packets in between.
pub struct Shared {
    /// Connection counts of destinations that have thresholds.
    pub quotas: Quotas,
    /// Persistence templates.
    pub templates: template::Templates,
}

impl Shared {
    /// Room for this many destinations and templates.
    pub fn new(destinations: usize, templates: usize) -> Shared {
        Shared { quotas: Quotas::new(destinations), templates: template::Templates::new(templates) }
    }
}
