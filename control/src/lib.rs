//! Control plane of Pollux.

pub mod kernel;
