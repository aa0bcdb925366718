//! `pollux destination`: everything that can be said about a real server.

use std::net::SocketAddr;

use clap::{Args, Subcommand, ValueEnum};

use super::run::CliError;
use super::service::Which;
use crate::edit::DestinationEdit;
use crate::model::{Checksum, Destination, DestinationKey, Method, Tunnel};
use crate::request::{DestinationAdd, DestinationRemove, Request};

/// What can be done to a destination.
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
        which: Which,
        /// The server's address and port; port 0, of marks and of services of any port, keeps what the client addressed.
        destination: SocketAddr,
        /// How packets reach it.
        #[arg(long, value_enum)]
        method: Method,
        #[command(flatten)]
        #[allow(missing_docs, reason = "described by its type")]
        options: DestinationOptions,
    },
    /// Change a destination; what is not given stays.
    Edit {
        #[command(flatten)]
        #[allow(missing_docs, reason = "described by its type")]
        which: Which,
        /// The server's address and port.
        destination: SocketAddr,
        /// How packets of new connections reach it.
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
        which: Which,
        /// The server's address and port.
        destination: SocketAddr,
    },
}

/// What can be said about a destination.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct DestinationOptions {
    /// Its share of new connections; 0 lets it run empty. 1 unless given.
    #[arg(long)]
    pub weight: Option<u32>,
    /// Connections from which on it gets no more; 0 is no limit.
    #[arg(long, value_name = "CONNECTIONS")]
    pub upper_threshold: Option<u32>,
    /// Connections below which it gets some again; 0 is three quarters of the upper threshold.
    #[arg(long, value_name = "CONNECTIONS")]
    pub lower_threshold: Option<u32>,
    /// Method tunnel: the kind; ipip unless given.
    #[arg(long, value_enum)]
    pub tunnel: Option<TunnelKind>,
    /// gue: the receiver's UDP port.
    #[arg(long, value_name = "PORT", requires = "tunnel")]
    pub tunnel_port: Option<u16>,
    /// gue, gre: the checksum; no unless given.
    #[arg(long, value_enum, requires = "tunnel")]
    pub tunnel_checksum: Option<Checksum>,
}

/// Kinds of tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TunnelKind {
    /// IP in IP.
    Ipip,
    /// Generic UDP encapsulation.
    Gue,
    /// Generic routing encapsulation.
    Gre,
}

impl DestinationOptions {
    fn tunnel(&self) -> Result<Option<Tunnel>, CliError> {
        let usage = |text: &str| Err(CliError::Usage(text.to_owned()));
        let checksum = self.tunnel_checksum.unwrap_or_default();
        match (self.tunnel, self.tunnel_port) {
            (None, _) => Ok(None),
            (Some(TunnelKind::Gue), Some(l4_port)) => Ok(Some(Tunnel::Gue { l4_port, checksum })),
            (Some(TunnelKind::Gue), None) => usage("a gue tunnel needs --tunnel-port, often 6080"),
            (Some(_), Some(_)) => usage("--tunnel-port is only for --tunnel gue"),
            (Some(TunnelKind::Gre), None) => Ok(Some(Tunnel::Gre { checksum })),
            (Some(TunnelKind::Ipip), None) if self.tunnel_checksum.is_some() => {
                usage("--tunnel-checksum is only for --tunnel gue and gre")
            }
            (Some(TunnelKind::Ipip), None) => Ok(Some(Tunnel::Ipip)),
        }
    }
}

/// What the daemon is asked for.
///
/// # Errors
/// When kind and name of the service, or options of the tunnel, do not fit.
pub fn request(command: &DestinationCommand) -> Result<Request, CliError> {
    let key = |at: SocketAddr| DestinationKey { address: at.ip(), l4_port: at.port() };
    Ok(match *command {
        DestinationCommand::Add { which, destination, method, options } => {
            let new = Destination::new(destination.ip(), destination.port(), method);
            let destination = Destination {
                tunnel: options.tunnel()?.unwrap_or(new.tunnel),
                weight: options.weight.unwrap_or(new.weight),
                upper_threshold: options.upper_threshold.unwrap_or(new.upper_threshold),
                lower_threshold: options.lower_threshold.unwrap_or(new.lower_threshold),
                ..new
            };
            Request::DestinationAdd(DestinationAdd { service: which.try_into()?, destination })
        }
        DestinationCommand::Edit { which, destination, method, options } => {
            Request::DestinationEdit(DestinationEdit {
                service: which.try_into()?,
                destination: key(destination),
                method,
                tunnel: options.tunnel()?,
                weight: options.weight,
                upper_threshold: options.upper_threshold,
                lower_threshold: options.lower_threshold,
            })
        }
        DestinationCommand::Remove { which, destination } => Request::DestinationRemove(DestinationRemove {
            service: which.try_into()?,
            destination: key(destination),
        }),
    })
}
