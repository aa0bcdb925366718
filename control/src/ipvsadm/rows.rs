//! Input of the listings: one row per service, destination and connection, with everything that `ipvsadm` can show.

use std::net::SocketAddr;

use crate::api::view::{Rates, Stats};

/// The name of a service, in the order of `ipvsadm`: addresses before fwmarks, IPv4 before IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceName {
    /// A protocol, an address and a port.
    Address(Transport, SocketAddr),
    /// A firewall mark, for IPv6 or for IPv4 packets.
    Fwmark {
        /// The mark.
        fwmark: u32,
        /// For IPv6 packets.
        ipv6: bool,
    },
}

impl ServiceName {
    /// The protocol for looking up port names of destinations; `None` for fwmarks.
    pub fn protocol(&self) -> Option<&'static str> {
        match self {
            ServiceName::Address(transport, _) => Some(transport.word()),
            ServiceName::Fwmark { .. } => None,
        }
    }
}

/// Transport protocols, ordered by their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Transport {
    /// Protocol 6.
    Tcp,
    /// Protocol 17.
    Udp,
    /// Protocol 132.
    Sctp,
}

impl Transport {
    /// The name in the listings.
    pub fn name(self) -> &'static str {
        match self {
            Transport::Tcp => "TCP",
            Transport::Udp => "UDP",
            Transport::Sctp => "SCTP",
        }
    }

    /// The name in `/etc/services`.
    pub fn word(self) -> &'static str {
        match self {
            Transport::Tcp => "tcp",
            Transport::Udp => "udp",
            Transport::Sctp => "sctp",
        }
    }
}

/// A service with its destinations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceRow {
    /// Its name.
    pub name: ServiceName,
    /// Its scheduler.
    pub scheduler: String,
    /// The scheduler's flags.
    pub flags: Vec<String>,
    /// Persistence.
    pub persistence: Option<Persistence>,
    /// One-packet scheduling.
    pub ops: bool,
    /// Counters.
    pub counters: Stats,
    /// Rates per second.
    pub rates: Rates,
    /// Its destinations.
    pub destinations: Vec<DestinationRow>,
}

/// Persistence of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Persistence {
    /// Timeout of a template in seconds.
    pub timeout: u32,
    /// Client grouping mask as printed; `None` for single addresses.
    pub mask: Option<String>,
    /// The persistence engine.
    pub engine: Option<String>,
}

/// One destination of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DestinationRow {
    /// Address and port.
    pub socket: SocketAddr,
    /// Forwarding method.
    pub forward: Forward,
    /// Its share.
    pub weight: u32,
    /// Connections at which it counts as full; 0 never.
    pub upper: u32,
    /// Connections at which it is no longer full.
    pub lower: u32,
    /// Connections that carry data.
    pub active: u32,
    /// The other connections.
    pub inactive: u32,
    /// Templates.
    pub persistent: u32,
    /// Counters.
    pub counters: Stats,
    /// Rates per second.
    pub rates: Rates,
}

/// Forwarding methods as they are printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Forward {
    /// NAT.
    Masq,
    /// To this machine itself.
    Local,
    /// Direct routing.
    Route,
    /// A tunnel of some kind.
    Tunnel(Tunnel),
}

impl Forward {
    /// The name in the listings.
    pub fn name(&self) -> &'static str {
        match self {
            Forward::Masq => "Masq",
            Forward::Local => "Local",
            Forward::Route => "Route",
            Forward::Tunnel(_) => "Tunnel",
        }
    }
}

/// Kinds of tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tunnel {
    /// IP in IP.
    Ipip,
    /// Generic UDP encapsulation to this port.
    Gue(u16, Checksum),
    /// Generic routing encapsulation.
    Gre(Checksum),
}

/// Checksums of a tunnel's outer header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checksum {
    /// None.
    No,
    /// A full one.
    Yes,
    /// Remote checksum offload.
    Remote,
}

/// One connection, or a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionRow {
    /// Its protocol; `IP` for the templates of mark services.
    pub protocol: String,
    /// Whole seconds until it expires.
    pub expires: u32,
    /// Its state.
    pub state: String,
    /// The client.
    pub client: SocketAddr,
    /// The service as the client addressed it.
    pub service: SocketAddr,
    /// The destination.
    pub destination: SocketAddr,
    /// The persistence engine and what it knows.
    pub engine: Option<(String, String)>,
}
