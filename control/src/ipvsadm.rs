//! A byte-compatible `ipvsadm`: parses its command lines and prints its listings.
//!
//! A line passes through [`words`] (options and their values), [`options`] (values checked one by one), [`usage`] (which
//! options a command takes) and [`parse`] (a [`Command`], or the message and exit status of `ipvsadm`). [`apply()`] applies
//! a command to a [`Config`](crate::model::Config) and refuses as the kernel would. The listings, and the kernel's own in
//! [`proc`], are made from the plain types of [`view`](crate::api::view), so they need no running daemon. [`program`] is
//! the complete program, which talks to a daemon.

mod address;
pub mod apply;
pub mod command;
mod connections;
pub mod daemon;
mod flags;
mod format;
mod list;
pub mod names;
mod numbers;
mod options;
mod order;
pub mod parse;
pub mod proc;
pub mod program;
pub mod restore;
mod save;
mod usage;
mod words;

pub use apply::{Refusal, apply, refusal};
pub use command::{Command, Listing, ParseError};
pub use connections::connections;
pub use list::{Layout, services, timeouts};
pub use parse::{parse, parse_words};
pub use save::save;

#[cfg(test)]
mod tests;
