//! Control plane of Pollux.

pub mod compile;
pub mod kernel;
pub mod model;
