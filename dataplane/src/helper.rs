//! Helpers.

pub mod sip;
