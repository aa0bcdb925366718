//! The commands of `ipvsadm`, and parse errors.

use thiserror::Error;

use crate::model::{Destination, DestinationKey, Service, ServiceKey};

/// A command with its arguments; `Service::destinations` is empty in the first two.
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
    /// `--set`: idle timeouts in seconds; 0 keeps the current value
    SetTimeouts {
        /// Timeout of an established TCP connection.
        tcp: u32,
        /// Timeout of a TCP connection after a FIN.
        tcp_fin: u32,
        /// Timeout of a UDP flow.
        udp: u32,
    },
    /// `-L`
    List(Listing),
    /// `-S`
    Save {
        /// Numbers instead of names.
        numeric: bool,
    },
    /// `-R`, with lines on standard input
    Restore,
    /// `-A` or `-E` with an unknown scheduler or persistence engine
    UnknownName {
        /// True for `-E`.
        edit: bool,
        /// The service.
        service: ServiceKey,
        /// The unknown name.
        name: String,
    },
    /// `--start-daemon`
    StartDaemon {
        /// Multicast interface; `None` means `eth0`.
        interface: Option<String>,
    },
    /// `--stop-daemon`
    StopDaemon,
    /// `-h`
    Help,
    /// `-v`
    Version,
}

/// Arguments of `-L`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// Table to print.
    pub table: Table,
    /// Print only this service, without the version line.
    pub service: Option<ServiceKey>,
    /// Print exact numbers.
    pub exact: bool,
    /// Keep the order of the service table instead of sorting.
    pub unsorted: bool,
    /// Numbers instead of names.
    pub numeric: bool,
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
    /// `--daemon`
    Daemons,
    /// `-c`
    Connections {
        /// Adds the columns of the persistence engine (`--persistent-conn`).
        engine: bool,
    },
}

/// Reason why a line cannot be parsed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ParseError {
    /// A usage error, with this message and exit status 2.
    #[error("{0}")]
    Usage(String),
    /// An unknown option, or a missing value; exit status 255, and `-R` continues.
    #[error("{0}")]
    Unknown(String),
    /// There is no command; exit status 255.
    #[error("{TRY}")]
    NoCommand,
}

/// Message of `ipvsadm` without a command.
const TRY: &str = "Try `ipvsadm -h' or 'ipvsadm --help' for more information.";

impl ParseError {
    pub(super) fn usage(text: impl Into<String>) -> ParseError {
        ParseError::Usage(text.into())
    }

    /// The exit status of `ipvsadm`.
    pub fn status(&self) -> u8 {
        match self {
            ParseError::Usage(_) => 2,
            ParseError::Unknown(_) | ParseError::NoCommand => 255,
        }
    }
}
