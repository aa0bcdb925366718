//! Control plane of Pollux: everything a person or a program uses.
//!
//! Modules import each other in one direction only, from the programs down to the configuration:
//! [`cli`], [`ipvsadm`], [`replay`] and [`daemon`]; [`engine`] and [`state`]; [`debug`]; [`api`], [`kernel`] and [`interface`];
//! [`model`], [`host`], [`log`] and [`plural`].

pub mod api;
pub mod cli;
pub mod daemon;
pub mod debug;
pub mod engine;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
pub mod host;
pub mod interface;
pub mod ipvsadm;
pub mod kernel;
pub mod log;
pub mod model;
pub mod plural;
pub mod replay;
pub mod state;
mod wildcard;
