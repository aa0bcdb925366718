//! All that a worker remembers of flows.
//!
//! A flow's state is one [`entry::Entry`] of 64 bytes, found through [`index::Index`] lines of 64 bytes; both live in
//! memory taken at start ([`slab`]). Timers are links inside the entries ([`crate::time::wheel`]).

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

/// What the workers of a process share of flows: touched when connections are made, are first found open, and end,
/// never by the packets in between.
pub struct Shared {
    /// What thresholds of destinations are held against.
    pub quotas: Quotas,
    /// Which destination clients were given.
    pub templates: template::Templates,
}

impl Shared {
    /// For so many destinations and templates.
    pub fn new(destinations: usize, templates: usize) -> Shared {
        Shared { quotas: Quotas::new(destinations), templates: template::Templates::new(templates) }
    }
}
