//! The language of `ipvsadm`: its commands read into typed requests, and its listings written byte for byte.
//!
//! A line goes through [`words`] (options and their values), [`options`] (what was said, checked on its own) and
//! [`parse`] (a [`Command`], or the message and exit status `ipvsadm` would give). [`apply`] carries a command out on
//! a [`Config`](crate::model::Config) and refuses as the kernel would. The listings are made from the plain types of
//! [`rows`], so that they need no running daemon.

pub mod apply;
pub mod command;
mod connections;
mod format;
mod list;
mod options;
pub mod parse;
pub mod rows;
mod save;
mod words;

pub use apply::{apply, refusal};
pub use command::{Command, Listing, ParseError};
pub use connections::connections;
pub use list::{Layout, services, timeouts};
pub use parse::parse;
pub use save::save;

#[cfg(test)]
mod tests;
