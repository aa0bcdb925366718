//! The language of `ipvsadm`: its commands read into typed requests, and its listings written byte for byte.
//!
//! A line goes through [`words`] (options and their values), [`options`] (what was said, each value checked on its own),
//! [`usage`] (what a command takes) and [`parse`] (a [`Command`], or the message and exit status `ipvsadm` would
//! give). [`apply()`] carries a command out on a [`Config`](crate::model::Config) and refuses as the kernel would. The
//! listings, and the kernel's own in [`proc`], are made from the plain types of [`rows`], so that they need no running
//! daemon. [`program`] is the whole program: it asks a daemon for what a command needs and sends what it changes.

mod address;
pub mod apply;
pub mod ask;
pub mod command;
mod connections;
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
pub mod rows;
mod save;
mod usage;
mod words;

pub use apply::{Refusal, apply, refusal};
pub use command::{Command, Listing, ParseError};
pub use connections::connections;
pub use flags::words as flag_words;
pub use list::{Layout, services, timeouts};
pub use parse::{parse, parse_words};
pub use save::save;

#[cfg(test)]
mod tests;
