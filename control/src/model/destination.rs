//! Destinations (real servers) and tunnel types.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use clap::ValueEnum;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Method;

/// Key that identifies a destination of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DestinationKey {
    /// Address of the server.
    pub address: IpAddr,
    /// L4 port of the server.
    pub l4_port: u16,
}

impl fmt::Display for DestinationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", SocketAddr::new(self.address, self.l4_port))
    }
}

/// A real server of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Destination {
    /// Unicast address of the server; its family may differ from the service's only with method `tunnel`.
    pub address: IpAddr,
    /// L4 port of the server. With `dr` and `tunnel` it must equal the service's port, except in fwmark services; 0
    /// keeps the port that the client addressed.
    pub l4_port: u16,
    /// Forwarding method.
    pub method: Method,
    /// Tunnel type, for method `tunnel`; default IP in IP.
    #[serde(default, skip_serializing_if = "Tunnel::is_ipip")]
    pub tunnel: Tunnel,
    /// Share of new connections, 0 to 2147483647; default 1. With 0 the destination gets no new connections and keeps
    /// existing ones.
    #[serde(default = "default_weight")]
    pub weight: u32,
    /// Connection limit: at this number of connections the destination gets no new ones; 0 = no limit.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub upper_threshold: u32,
    /// After the limit was reached, the destination gets new connections again below this number; at most
    /// `upper_threshold`, 0 = three quarters of it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub lower_threshold: u32,
}

impl Destination {
    /// Returns a destination with default weight, thresholds and tunnel type.
    pub fn new(address: IpAddr, l4_port: u16, method: Method) -> Destination {
        Destination {
            address,
            l4_port,
            method,
            tunnel: Tunnel::default(),
            weight: default_weight(),
            upper_threshold: 0,
            lower_threshold: 0,
        }
    }

    /// Returns the key that identifies the destination within its service.
    pub fn key(&self) -> DestinationKey {
        DestinationKey { address: self.address, l4_port: self.l4_port }
    }
}

fn default_weight() -> u32 {
    1
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// Tunnel type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
pub enum Tunnel {
    /// IP in IP.
    #[default]
    Ipip,
    /// Generic UDP encapsulation (GUE).
    Gue {
        /// UDP port on which the server receives the tunnel, not 0; often 6080.
        l4_port: u16,
        /// Checksum of the outer UDP header.
        #[serde(default)]
        checksum: Checksum,
    },
    /// Generic routing encapsulation (RFC 2784).
    Gre {
        /// Checksum of the GRE header; `no` or `full`.
        #[serde(default)]
        checksum: Checksum,
    },
}

impl Tunnel {
    /// Returns true for IP in IP, the default.
    pub fn is_ipip(&self) -> bool {
        *self == Tunnel::Ipip
    }

    /// Returns the type without its parameters.
    pub fn kind(&self) -> TunnelKind {
        match self {
            Tunnel::Ipip => TunnelKind::Ipip,
            Tunnel::Gue { .. } => TunnelKind::Gue,
            Tunnel::Gre { .. } => TunnelKind::Gre,
        }
    }
}

/// Tunnel types.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum TunnelKind {
    /// IP in IP.
    #[default]
    Ipip,
    /// Generic UDP Encapsulation.
    Gue,
    /// Generic Routing Encapsulation.
    Gre,
}

impl TunnelKind {
    /// Returns the name, as in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            TunnelKind::Ipip => "ipip",
            TunnelKind::Gue => "gue",
            TunnelKind::Gre => "gre",
        }
    }
}

/// Checksum mode of a tunnel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Checksum {
    /// No checksum.
    #[default]
    No,
    /// Full checksum.
    Full,
    /// Remote checksum offload; GUE only.
    Remote,
}
