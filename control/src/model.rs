//! What an operator may ask for: one model for the configuration file, the control socket and the rules text.
//!
//! These types say what can be written; [`crate::validate`] says what makes sense. Field names are the words of
//! `docs/` and of the CLI, and an unknown field is an error everywhere.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use clap::ValueEnum;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::kernel::facts::Facts;

/// A whole configuration: what `polluxd --config` reads and what `apply` replaces at once.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Settings read once at start; a change needs a restart and `apply` says so.
    pub start: Start,
    /// DPDK ports; a port that is not listed is used with these defaults.
    pub ports: Vec<Port>,
    /// Time-outs and switches that take effect for later packets.
    pub settings: Settings,
    /// Virtual services with their destinations, in the order they are added.
    pub services: Vec<Service>,
    /// Addresses, routes and neighbours given by hand instead of read from the kernel; for benchmarks and replay.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub facts: Option<Facts>,
}

/// Sizes fixed when the daemon starts, because the packet's way never allocates.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Start {
    /// IPv4 connections that all workers together can hold.
    pub connections_ipv4: u32,
    /// IPv6 connections that all workers together can hold.
    pub connections_ipv6: u32,
    /// Services that can exist at once.
    pub services: u32,
    /// Destinations that can exist at once, removed ones that still have connections included.
    pub destinations: u32,
    /// Packet buffers shared by all ports; 0 lets the daemon choose from ports, queues and descriptors.
    pub packet_buffers: u32,
    /// Mirror addresses, routes and neighbours from the kernel and give every port a TAP twin.
    pub kernel: bool,
}

impl Default for Start {
    fn default() -> Start {
        Start {
            connections_ipv4: 1 << 20,
            connections_ipv6: 1 << 18,
            services: 1 << 14,
            destinations: 1 << 17,
            packet_buffers: 0,
            kernel: true,
        }
    }
}

/// How one DPDK port is set up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Port {
    /// The device's name as DPDK shows it: `0000:3b:00.0`, `net_af_packet0`.
    pub name: String,
    /// Name of the port's TAP twin in the kernel; `pollux` and the port's number when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub twin: Option<String>,
    /// Largest IP packet in bytes.
    #[serde(default = "default_mtu")]
    pub mtu: u32,
    /// Take frames that are addressed to other stations too.
    #[serde(default)]
    pub promiscuous: bool,
}

fn default_mtu() -> u32 {
    1500
}

/// Time-outs and switches with the names and defaults of IPVS (`net.ipv4.vs.*` and `ipvsadm --set`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Seconds an established TCP connection may stay silent.
    pub tcp_timeout: u32,
    /// Seconds a TCP connection stays after a FIN.
    pub tcp_fin_timeout: u32,
    /// Seconds a UDP flow may stay silent.
    pub udp_timeout: u32,
    /// What a SYN on an old connection may do: bit 0 reschedules it, bit 1 also in FIN_WAIT; 0 never.
    pub conn_reuse_mode: u32,
    /// Expire connections whose destination is gone or quiesced, instead of dropping their packets.
    pub expire_nodest_conn: bool,
    /// Let any TCP segment but a RST open a connection.
    pub sloppy_tcp: bool,
    /// Answer packets from a NAT destination that belong to no connection with port unreachable.
    pub nat_icmp_send: bool,
    /// Answer a packet that a tunnel cannot carry with fragmentation needed.
    pub pmtu_disc: bool,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            tcp_timeout: 900,
            tcp_fin_timeout: 120,
            udp_timeout: 300,
            conn_reuse_mode: 1,
            expire_nodest_conn: false,
            sloppy_tcp: false,
            nat_icmp_send: false,
            pmtu_disc: true,
        }
    }
}

/// A transport protocol that can be balanced.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema, ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// RFC 9293.
    Tcp,
    /// RFC 768.
    Udp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        })
    }
}

/// How destinations are chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Scheduler {
    /// Round robin.
    Rr,
    /// Weighted round robin.
    Wrr,
    /// Least connections.
    Lc,
    /// Weighted least connections.
    #[default]
    Wlc,
}

impl Scheduler {
    /// The name IPVS knows it by.
    pub fn name(self) -> &'static str {
        match self {
            Scheduler::Rr => "rr",
            Scheduler::Wrr => "wrr",
            Scheduler::Lc => "lc",
            Scheduler::Wlc => "wlc",
        }
    }
}

/// How packets reach a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// Rewrite addresses and ports in both directions.
    Nat,
    /// Direct routing: only the link-layer address changes.
    Dr,
    /// IP in IP.
    Tunnel,
}

/// What tells one service from another; every request about a service carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServiceKey {
    /// Transport protocol.
    pub protocol: Protocol,
    /// The virtual address.
    pub address: IpAddr,
    /// The virtual L4 port.
    pub l4_port: u16,
}

impl fmt::Display for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.protocol, SocketAddr::new(self.address, self.l4_port))
    }
}

/// A virtual service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// Transport protocol.
    pub protocol: Protocol,
    /// The virtual address.
    pub address: IpAddr,
    /// The virtual L4 port.
    pub l4_port: u16,
    /// How destinations are chosen.
    #[serde(default)]
    pub scheduler: Scheduler,
    /// Destinations in the order they are added; as in IPVS the newest is looked at first.
    #[serde(default)]
    pub destinations: Vec<Destination>,
}

impl Service {
    /// What tells this service from others.
    pub fn key(&self) -> ServiceKey {
        ServiceKey { protocol: self.protocol, address: self.address, l4_port: self.l4_port }
    }
}

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
    /// The server's L4 port; for `dr` and `tunnel` it is the service's.
    pub l4_port: u16,
    /// How packets reach it.
    pub method: Method,
    /// Share of new connections; 0 gets none and keeps what it has.
    #[serde(default = "default_weight")]
    pub weight: u32,
}

impl Destination {
    /// What tells this destination from others of its service.
    pub fn key(&self) -> DestinationKey {
        DestinationKey { address: self.address, l4_port: self.l4_port }
    }
}

fn default_weight() -> u32 {
    1
}
