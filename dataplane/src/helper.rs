//! What looks into payloads: protocols that a balancer must understand to balance them.

pub mod sip;
