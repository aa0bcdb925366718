//! What a worker counts, where control can read it at any time.

pub mod board;

pub use board::{Board, Counter, DestinationCounters, Gauges, Loads};
