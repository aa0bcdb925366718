//! Counters of a worker, which control can read at any time.

pub mod worker;
pub use worker::{Counter, DestinationCounters, RemoteLoads, WorkerCounters, WorkerStats};
