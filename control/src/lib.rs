//! Control plane of Pollux: everything a person or a program touches.
//!
//! A configuration is text first ([`parse`]), then a [`model`], then checked ([`validate`]); single changes are pure
//! functions on the model ([`edit`]) and [`diff`] tells two models apart. Programs send a [`request`] and get back
//! what [`view`] describes.

pub mod announce;
pub mod cli;
pub mod compile;
pub mod daemon_args;
pub mod debug;
pub mod defence;
pub mod diff;
pub mod edit;
pub mod engine;
pub mod error;
pub mod estimate;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
pub mod host;
pub mod input_error;
pub mod ipvsadm;
pub mod kernel;
pub mod log;
pub mod model;
pub mod modules;
pub mod namespace_manager;
pub mod observe;
pub mod parse;
pub mod replay;
pub mod request;
#[cfg(feature = "dpdk")]
pub mod run;
pub mod schema;
pub mod socket;
pub mod state;
pub mod sysctl;
pub mod timeouts;
pub mod validate;
pub mod view;
pub mod workers;
