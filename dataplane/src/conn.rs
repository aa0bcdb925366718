//! All that a worker remembers of flows.
//!
//! A flow's state is one [`entry::Entry`] of 64 bytes, found through [`index::Index`] lines of 64 bytes; both live in
//! memory taken at start ([`slab`]). Timers are links inside the entries ([`crate::time::wheel`]).

pub mod entry;
pub mod free;
pub mod index;
pub mod quota;
pub mod slab;
pub mod table;
pub mod template;

#[cfg(test)]
mod tests;

pub use entry::{ConnId, Direction, Entry, Flags};
pub use table::{NewConnection, Sizes, Table};
