//! The generator inside the process: `polluxd`'s own engine and worker between two ports in memory. It measures what
//! capture files cannot contain or a driver would hide.

pub mod buffer;
pub mod flood;
pub mod generator;
pub mod histogram;
pub mod latency;
pub mod opening;
pub mod packet_builder;
pub mod rig;
pub mod script;
pub mod spread;
pub mod throughput;
pub mod workers;

pub use throughput::Run;
