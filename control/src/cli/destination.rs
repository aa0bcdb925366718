//! `pollux destination`: the destinations (real servers) of a service.

use std::net::SocketAddr;

use clap::{Args, Subcommand};

use super::error::CliError;
use super::service::ServiceSelector;
use super::values;
use crate::api::request::{DestinationAdd, DestinationRemove, Request};
use crate::model::edit::DestinationEdit;
use crate::model::{Checksum, Destination, DestinationKey, Method, Tunnel, TunnelKind};

/// Subcommands of `pollux destination`.
#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:\n  \
    pollux destination add tcp 10.9.9.1:80 10.0.2.11:80 --method nat --weight 1\n  \
    pollux destination add tcp 10.9.9.1:80 10.0.2.12:80 --method tunnel --tunnel gue --tunnel-port 6080\n  \
    pollux destination add fwmark 7 10.0.2.11:0 --method dr --upper-threshold 1000 --lower-threshold 800\n  \
    pollux destination edit tcp 10.9.9.1:80 10.0.2.11:80 --weight 0")]
pub enum DestinationCommand {
    /// Add a destination.
    Add {
        #[command(flatten)]
        #[allow(missing_docs, reason = "described by its type")]
        service: ServiceSelector,
        /// Address and port of the server. Port 0 keeps the port the client used; for fwmark services and services with port 0.
        #[arg(value_name = "SERVER:PORT", value_parser = values::socket)]
        destination: SocketAddr,
        /// Forwarding method.
        #[arg(long, value_enum)]
        method: Method,
        #[command(flatten)]
        #[allow(missing_docs, reason = "described by its type")]
        options: DestinationOptions,
    },
    /// Change a destination; options that are not given keep their values.
    Edit {
        #[command(flatten)]
        #[allow(missing_docs, reason = "described by its type")]
        service: ServiceSelector,
        /// Address and port of the server.
        #[arg(value_name = "SERVER:PORT", value_parser = values::socket)]
        destination: SocketAddr,
        /// Forwarding method of new connections.
        #[arg(long, value_enum)]
        method: Option<Method>,
        #[command(flatten)]
        #[allow(missing_docs, reason = "described by its type")]
        options: DestinationOptions,
    },
    /// Remove a destination.
    Remove {
        #[command(flatten)]
        #[allow(missing_docs, reason = "described by its type")]
        service: ServiceSelector,
        /// Address and port of the server.
        #[arg(value_name = "SERVER:PORT", value_parser = values::socket)]
        destination: SocketAddr,
    },
}

/// Options of a destination.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct DestinationOptions {
    /// Share of new connections; 0 quiesces it: it keeps its connections and gets no new ones. A new destination has 1.
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = values::weight)]
    pub weight: Option<u32>,
    /// Connection limit: at this number the server gets no new connections; 0 is no limit.
    #[arg(long, value_name = "CONNECTIONS", allow_negative_numbers = true, value_parser = values::count)]
    pub upper_threshold: Option<u32>,
    /// Below this number of connections the server gets new ones again; 0 is three quarters of the upper threshold.
    #[arg(long, value_name = "CONNECTIONS", allow_negative_numbers = true, value_parser = values::count)]
    pub lower_threshold: Option<u32>,
    /// Encapsulation of method tunnel; ipip by default.
    #[arg(long, value_enum)]
    pub tunnel: Option<TunnelKind>,
    /// UDP destination port of a gue tunnel.
    #[arg(long, value_name = "PORT", requires = "tunnel")]
    pub tunnel_port: Option<u16>,
    /// Checksum of a gue or gre tunnel; no by default.
    #[arg(long, value_enum, requires = "tunnel")]
    pub tunnel_checksum: Option<Checksum>,
}

impl DestinationOptions {
    fn tunnel(&self) -> Result<Option<Tunnel>, CliError> {
        let usage = |text: &str| Err(CliError::Usage(text.to_owned()));
        let checksum = self.tunnel_checksum.unwrap_or_default();
        match (self.tunnel, self.tunnel_port) {
            (None, _) => Ok(None),
            (Some(TunnelKind::Gue), Some(l4_port)) => Ok(Some(Tunnel::Gue { l4_port, checksum })),
            (Some(TunnelKind::Gue), None) => {
                usage("a gue tunnel needs --tunnel-port; 6080 is the usual port")
            }
            (Some(_), Some(_)) => usage("--tunnel-port applies only to --tunnel gue; remove it, or use gue"),
            (Some(TunnelKind::Gre), None) => Ok(Some(Tunnel::Gre { checksum })),
            (Some(TunnelKind::Ipip), None) if self.tunnel_checksum.is_some() => usage(
                "--tunnel-checksum applies only to --tunnel gue and gre; remove it, or use one of these",
            ),
            (Some(TunnelKind::Ipip), None) => Ok(Some(Tunnel::Ipip)),
        }
    }
}

/// The request for a subcommand.
///
/// # Errors
/// If the service name does not match its type, or the tunnel options contradict each other.
pub fn request(command: &DestinationCommand) -> Result<Request, CliError> {
    let key = |at: SocketAddr| DestinationKey { address: at.ip(), l4_port: at.port() };
    Ok(match *command {
        DestinationCommand::Add { service, destination, method, options } => {
            let new = Destination::new(destination.ip(), destination.port(), method);
            let destination = Destination {
                tunnel: options.tunnel()?.unwrap_or(new.tunnel),
                weight: options.weight.unwrap_or(new.weight),
                upper_threshold: options.upper_threshold.unwrap_or(new.upper_threshold),
                lower_threshold: options.lower_threshold.unwrap_or(new.lower_threshold),
                ..new
            };
            Request::DestinationAdd(DestinationAdd { service: service.try_into()?, destination })
        }
        DestinationCommand::Edit { service, destination, method, options } => {
            Request::DestinationEdit(DestinationEdit {
                service: service.try_into()?,
                destination: key(destination),
                method,
                tunnel: options.tunnel()?,
                weight: options.weight,
                upper_threshold: options.upper_threshold,
                lower_threshold: options.lower_threshold,
            })
        }
        DestinationCommand::Remove { service, destination } => {
            Request::DestinationRemove(DestinationRemove {
                service: service.try_into()?,
                destination: key(destination),
            })
        }
    })
}
