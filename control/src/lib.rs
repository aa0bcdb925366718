//! Control plane of Pollux.

pub mod kernel;
pub mod model;
