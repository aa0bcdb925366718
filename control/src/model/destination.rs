//! Real servers, and how packets reach them.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use clap::ValueEnum;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Method;

/// What tells one destination of a service from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DestinationKey {
    /// The server's address.
    pub address: IpAddr,
    /// The server's L4 port.
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
    /// The server's address.
    pub address: IpAddr,
    /// The server's L4 port; for `dr` and `tunnel` it is the service's. 0, of mark services, keeps the client's choice.
    pub l4_port: u16,
    /// How packets reach it.
    pub method: Method,
    /// The kind of tunnel, for method `tunnel`.
    #[serde(default, skip_serializing_if = "Tunnel::is_ipip")]
    pub tunnel: Tunnel,
    /// Share of new connections; 0 gets none and keeps what it has.
    #[serde(default = "default_weight")]
    pub weight: u32,
    /// Connections from which on it gets no more; 0 is no limit.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub upper_threshold: u32,
    /// Connections below which it gets some again; 0 is three quarters of the upper threshold.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub lower_threshold: u32,
}

impl Destination {
    /// A destination with defaults.
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

    /// What tells this destination from others of its service.
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

/// Kinds of tunnel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
pub enum Tunnel {
    /// IP in IP.
    #[default]
    Ipip,
    /// Generic UDP encapsulation.
    Gue {
        /// The UDP port of the receiver, not 0.
        l4_port: u16,
        /// The outer checksum.
        #[serde(default)]
        checksum: Checksum,
    },
    /// Generic routing encapsulation.
    Gre {
        /// The checksum.
        #[serde(default)]
        checksum: Checksum,
    },
}

impl Tunnel {
    /// Whether it is the plain kind.
    pub fn is_ipip(&self) -> bool {
        *self == Tunnel::Ipip
    }
}

/// Checksums of tunnels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Checksum {
    /// None.
    #[default]
    No,
    /// A full one.
    Full,
    /// Remote checksum offload; GUE only.
    Remote,
}
