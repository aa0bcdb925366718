//! Control plane of Pollux.

pub mod compile;
pub mod ipvsadm;
pub mod kernel;
pub mod model;
