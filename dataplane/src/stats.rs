//! What a worker counts, where control can read it at any time.

pub mod worker;
pub use worker::{Counter, DestinationCounters, Loads, WorkerCounters, WorkerStats};
