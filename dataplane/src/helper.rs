//! Application protocols whose payload the load balancer reads.

pub mod sip;
