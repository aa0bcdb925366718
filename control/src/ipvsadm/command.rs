//! What one `ipvsadm` line asks for, and how a line can be wrong.

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
    Save {
        /// Numbers instead of names.
        numeric: bool,
    },
    /// `-R`; the lines come on standard input
    Restore,
    /// `-A` or `-E` with a scheduler or a persistence engine that nobody has
    NobodyHas {
        /// It was `-E`.
        edit: bool,
        /// Of which service.
        service: ServiceKey,
        /// The name.
        name: String,
    },
    /// `--start-daemon`
    StartDaemon {
        /// Where it was to speak; `eth0` when nothing was said.
        interface: Option<String>,
    },
    /// `--stop-daemon`
    StopDaemon,
    /// `-h`
    Help,
    /// `-v`
    Version,
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
    /// An option nobody knows, or one without its value; status 255, and `-R` goes on.
    #[error("{0}")]
    Unknown(String),
    /// There is no command in it; status 255.
    #[error("{TRY}")]
    NoCommand,
}

/// What `ipvsadm` says when it does not even find a command.
const TRY: &str = "Try `ipvsadm -h' or 'ipvsadm --help' for more information.";

impl ParseError {
    pub(super) fn usage(text: impl Into<String>) -> ParseError {
        ParseError::Usage(text.into())
    }

    /// The exit status `ipvsadm` ends with.
    pub fn status(&self) -> u8 {
        match self {
            ParseError::Usage(_) => 2,
            ParseError::Unknown(_) | ParseError::NoCommand => 255,
        }
    }
}
