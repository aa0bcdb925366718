//! What one `ipvsadm` line asks for, and how a line can be wrong.

use std::net::SocketAddr;

use thiserror::Error;

use crate::model::{Destination, DestinationKey, Service, ServiceKey};

/// One command with everything it needs; `Service::destinations` is empty in the first two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// `-A`
    AddService(Service),
    /// `-E`
    EditService(Service),
    /// `-D`
    DeleteService(ServiceKey),
    /// `-C`
    Clear,
    /// `-a`
    AddDestination(ServiceKey, Destination),
    /// `-e`
    EditDestination(ServiceKey, Destination),
    /// `-d`
    DeleteDestination(ServiceKey, DestinationKey),
    /// `-Z`, of one service or of all
    Zero(Option<ServiceKey>),
    /// `--set`: seconds of silence; 0 keeps what is set
    SetTimeouts {
        /// Of an established TCP connection.
        tcp: u32,
        /// Of a TCP connection after a FIN.
        tcp_fin: u32,
        /// Of a UDP flow.
        udp: u32,
    },
    /// `-L`
    List(Listing),
    /// `-S`
    Save,
    /// `-R`; the lines come on standard input
    Restore,
}

/// What `-L` shows, and of what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// The table asked for.
    pub table: Table,
    /// One service only, then without the version line.
    pub service: Option<ServiceKey>,
    /// Numbers in full.
    pub exact: bool,
    /// Keep the order given instead of sorting.
    pub unsorted: bool,
}

/// The tables of `-L`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Table {
    /// Services with weights and connection counts.
    #[default]
    Plain,
    /// `--stats`
    Stats,
    /// `--rate`
    Rate,
    /// `--thresholds`
    Thresholds,
    /// `--persistent-conn`
    Persistent,
    /// `--tun-info`
    TunnelInfo,
    /// `--timeout`
    Timeouts,
    /// `-c`; with `--persistent-conn` it has columns for the persistence engine
    Connections {
        /// Show those columns.
        engine: bool,
    },
}

/// Why a line is not a command.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ParseError {
    /// `ipvsadm` itself refuses the line, with this message and status 2.
    #[error("{0}")]
    Usage(String),
    /// An option or an argument nobody knows; status 255.
    #[error("{0}Try `ipvsadm -h' or 'ipvsadm --help' for more information.")]
    Unknown(String),
    /// The line is right, but Pollux cannot do this yet.
    #[error("not supported yet: {feature}")]
    Unsupported {
        /// What is missing, in words an operator knows.
        feature: String,
    },
}

impl ParseError {
    pub(super) fn usage(text: impl Into<String>) -> ParseError {
        ParseError::Usage(text.into())
    }

    pub(super) fn unsupported(feature: impl Into<String>) -> ParseError {
        ParseError::Unsupported { feature: feature.into() }
    }

    /// The exit status `ipvsadm` ends with.
    pub fn status(&self) -> u8 {
        match self {
            ParseError::Usage(_) | ParseError::Unsupported { .. } => 2,
            ParseError::Unknown(_) => 255,
        }
    }
}

/// `host[:port]` as it was written; what a missing port means depends on where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Endpoint {
    pub socket: SocketAddr,
    pub has_port: bool,
}
