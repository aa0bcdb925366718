//! What an operator may ask for: one model for the configuration file, the control socket and the rules text.
//!
//! These types say what can be written; [`crate::validate`] says what makes sense. Field names are the words of
//! `docs/` and of the CLI, and an unknown field is an error everywhere.

mod written;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use clap::ValueEnum;
use ipnet::IpNet;
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
    /// Rules that mark packets, for services that are named by a mark.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub marks: Vec<MarkRule>,
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
    /// Persistence templates that can exist at once.
    pub templates: u32,
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
            templates: 1 << 17,
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

/// Time-outs and switches: `ipvsadm --set` and the sysctls `net.ipv4.vs.*`, with the kernel's names and defaults. As in
/// the kernel a switch is a number and any but 0 is on; `true` and `false` are understood too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Seconds an established TCP connection may stay silent.
    pub tcp_timeout: u32,
    /// Seconds a TCP connection stays after a FIN.
    pub tcp_fin_timeout: u32,
    /// Seconds a UDP flow may stay silent.
    pub udp_timeout: u32,
    /// Seconds by protocol and state for all other states: `tcp.SYN_RECV`, `sctp.ESTABLISHED`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub timeouts: BTreeMap<String, u32>,
    /// Pages of connection memory below which the automatic defences begin.
    pub amemthresh: i32,
    /// One in so many new connections is dropped by `drop_packet` in mode 3.
    pub am_droprate: i32,
    /// Random early expiry: 0 off, 1 automatic and idle, 2 automatic and active, 3 on.
    pub drop_entry: i32,
    /// Drop new connections: modes as of `drop_entry`.
    pub drop_packet: i32,
    /// TCP's other state tables: modes as of `drop_entry`.
    pub secure_tcp: i32,
    /// Look the way of translated replies up with the virtual address as their source.
    #[serde(deserialize_with = "switch")]
    pub snat_reroute: i32,
    /// Mark services without a usable destination let packets go where they were addressed.
    #[serde(deserialize_with = "switch")]
    pub cache_bypass: i32,
    /// Expire connections whose destination is gone or quiesced, instead of dropping their packets.
    #[serde(deserialize_with = "switch")]
    pub expire_nodest_conn: i32,
    /// Templates of quiesced destinations no longer count.
    #[serde(deserialize_with = "switch")]
    pub expire_quiescent_template: i32,
    /// Let any TCP segment but a RST open a connection.
    #[serde(deserialize_with = "switch")]
    pub sloppy_tcp: i32,
    /// Let any SCTP chunk but an ABORT open a connection.
    #[serde(deserialize_with = "switch")]
    pub sloppy_sctp: i32,
    /// Answer packets from a NAT destination that belong to no connection with port unreachable.
    #[serde(deserialize_with = "switch")]
    pub nat_icmp_send: i32,
    /// Answer a packet that a tunnel cannot carry with fragmentation needed.
    #[serde(deserialize_with = "switch")]
    pub pmtu_disc: i32,
    /// Pass everything to the kernel while a backup sync daemon runs.
    #[serde(deserialize_with = "switch")]
    pub backup_only: i32,
    /// What a SYN on an old connection may do: bit 0 reschedules it, bit 1 also in FIN_WAIT; 0 never.
    pub conn_reuse_mode: i32,
    /// Let an ICMP error about no known connection open one.
    #[serde(deserialize_with = "switch")]
    pub schedule_icmp: i32,
    /// Packets of protocols that are not balanced are left alone; they are here in any case.
    #[serde(deserialize_with = "switch")]
    pub ignore_tunneled: i32,
    /// Estimate rates; 0 freezes rates and shown counters.
    #[serde(deserialize_with = "switch")]
    pub run_estimation: i32,
    /// Seconds `lblc` keeps an idle entry.
    pub lblc_expiration: u32,
    /// Seconds `lblcr` keeps an idle entry, and an unchanged set.
    pub lblcr_expiration: u32,
    /// Do as Linux 6.1 where later kernels and the specification differ; replay of recordings from it sets this.
    pub like_linux_6_1: bool,
}

/// As [`switch`], for what may be left out.
pub(crate) fn optional_switch<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<i32>, D::Error> {
    switch(from).map(Some)
}

/// A number, or a boolean for 1 and 0.
fn switch<'de, D: serde::Deserializer<'de>>(from: D) -> Result<i32, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "a number, true or false")]
    enum Written {
        Number(i32),
        Switch(bool),
    }
    Ok(match Written::deserialize(from)? {
        Written::Number(number) => number,
        Written::Switch(on) => on.into(),
    })
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            tcp_timeout: 900,
            tcp_fin_timeout: 120,
            udp_timeout: 300,
            timeouts: BTreeMap::new(),
            amemthresh: 1024,
            am_droprate: 10,
            drop_entry: 0,
            drop_packet: 0,
            secure_tcp: 0,
            snat_reroute: 1,
            cache_bypass: 0,
            expire_nodest_conn: 0,
            expire_quiescent_template: 0,
            sloppy_tcp: 0,
            sloppy_sctp: 0,
            nat_icmp_send: 0,
            pmtu_disc: 1,
            backup_only: 0,
            conn_reuse_mode: 1,
            schedule_icmp: 0,
            ignore_tunneled: 0,
            run_estimation: 1,
            lblc_expiration: 86400,
            lblcr_expiration: 86400,
            like_linux_6_1: false,
        }
    }
}

/// A rule that marks packets, in the spirit of `iptables -t mangle -j MARK`: rules are gone through in turn, and every
/// one that fits a packet in all it names sets its mark.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MarkRule {
    /// Name of the DPDK port it came in by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<String>,
    /// The VLAN it came in by; 0 is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vlan: Option<u16>,
    /// `ipv4` or `ipv6` packets only; addresses say it too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub family: Option<Family>,
    /// Where it comes from: an address or a prefix.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "net")]
    pub source: Option<IpNet>,
    /// Where it goes.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "net")]
    pub destination: Option<IpNet>,
    /// `tcp`, `udp`, `sctp`, `icmp`, `icmpv6`, `esp`, `ah` or a number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    /// L4 source ports, each one number or a range: `1024-65535`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub source_l4_ports: Vec<String>,
    /// L4 destination ports likewise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub l4_ports: Vec<String>,
    /// The mark.
    pub mark: u32,
    /// Bits of the mark that the rule sets; the others stay. All by default.
    #[serde(default = "all_bits", skip_serializing_if = "is_all_bits")]
    pub mask: u32,
}

impl Default for MarkRule {
    fn default() -> MarkRule {
        MarkRule {
            port: None,
            vlan: None,
            family: None,
            source: None,
            destination: None,
            protocol: None,
            source_l4_ports: Vec::new(),
            l4_ports: Vec::new(),
            mark: 0,
            mask: all_bits(),
        }
    }
}

/// A prefix, or an address, which is a prefix of all its bits.
fn net<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<IpNet>, D::Error> {
    let text = String::deserialize(from)?;
    let net = text.parse().or_else(|_| text.parse().map(|address: IpAddr| IpNet::from(address)));
    let why = || format!("{text:?} is no address and no prefix; write 10.9.9.1 or 10.9.9.0/24");
    net.map(Some).map_err(|_| serde::de::Error::custom(why()))
}

fn all_bits() -> u32 {
    u32::MAX
}

fn is_all_bits(mask: &u32) -> bool {
    *mask == u32::MAX
}

/// An address family.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    JsonSchema,
    ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// IP version 4.
    #[default]
    Ipv4,
    /// IP version 6.
    Ipv6,
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
    /// RFC 9260.
    Sctp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
            Protocol::Sctp => "sctp",
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
    /// Weighted failover: the greatest weight that is not overloaded.
    Fo,
    /// Weighted overflow: the greatest weight that has no more active connections than that.
    Ovf,
    /// Locality-based least connections, by the address clients ask for.
    Lblc,
    /// The same with a set of destinations for each address.
    Lblcr,
    /// Destination hashing.
    Dh,
    /// Source hashing.
    Sh,
    /// Maglev hashing of the source.
    Mh,
    /// Shortest expected delay.
    Sed,
    /// Never queue.
    Nq,
    /// The better of two random choices.
    Twos,
    /// None: the service never gets a destination.
    None,
}

impl Scheduler {
    /// The name IPVS knows it by.
    pub fn name(self) -> &'static str {
        match self {
            Scheduler::Rr => "rr",
            Scheduler::Wrr => "wrr",
            Scheduler::Lc => "lc",
            Scheduler::Wlc => "wlc",
            Scheduler::Fo => "fo",
            Scheduler::Ovf => "ovf",
            Scheduler::Lblc => "lblc",
            Scheduler::Lblcr => "lblcr",
            Scheduler::Dh => "dh",
            Scheduler::Sh => "sh",
            Scheduler::Mh => "mh",
            Scheduler::Sed => "sed",
            Scheduler::Nq => "nq",
            Scheduler::Twos => "twos",
            Scheduler::None => "none",
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
    /// Inside another packet; [`Destination::tunnel`] says which kind.
    Tunnel,
}

/// What tells one service from another; every request about a service carries it. Written as `protocol`, `address` and
/// `l4_port`, or as `mark` and `family`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "written::Key", into = "written::Key")]
pub enum ServiceKey {
    /// By what clients address.
    Address {
        /// Transport protocol.
        protocol: Protocol,
        /// The virtual address.
        address: IpAddr,
        /// The virtual L4 port; 0 is any, which needs persistence.
        l4_port: u16,
    },
    /// By the mark that [`MarkRule`]s give.
    Mark {
        /// The mark, not 0.
        mark: u32,
        /// Of which packets.
        family: Family,
    },
}

impl ServiceKey {
    /// The family of the clients' packets.
    pub fn family(&self) -> Family {
        match self {
            ServiceKey::Address { address: IpAddr::V4(_), .. } => Family::Ipv4,
            ServiceKey::Address { address: IpAddr::V6(_), .. } => Family::Ipv6,
            ServiceKey::Mark { family, .. } => *family,
        }
    }

    /// The virtual L4 port; 0, which is any, for marks.
    pub fn l4_port(&self) -> u16 {
        match self {
            ServiceKey::Address { l4_port, .. } => *l4_port,
            ServiceKey::Mark { .. } => 0,
        }
    }
}

impl fmt::Display for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            ServiceKey::Address { protocol, address, l4_port } => {
                write!(f, "{protocol} {}", SocketAddr::new(address, l4_port))
            }
            ServiceKey::Mark { mark, family: Family::Ipv4 } => write!(f, "mark {mark}"),
            ServiceKey::Mark { mark, family: Family::Ipv6 } => write!(f, "mark {mark} ipv6"),
        }
    }
}

/// How clients stick to a destination: the first connection of a client's network decides for later ones.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Persistence {
    /// Seconds after the last new connection.
    pub timeout: u32,
    /// Which clients are one: an IPv4 mask (any pattern, as in IPVS). Whole addresses by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub netmask: Option<Ipv4Addr>,
    /// The same for IPv6: a prefix length from 1 to 128.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix_len: Option<u8>,
    /// Tell clients apart by what they say, too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub engine: Option<Engine>,
}

impl Default for Persistence {
    fn default() -> Persistence {
        Persistence { timeout: 360, netmask: None, prefix_len: None, engine: None }
    }
}

/// Persistence engines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// The Call-ID of SIP over UDP.
    Sip,
}

/// Switches of a scheduler, by their bits in IPVS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SchedulerFlags {
    /// `sh-fallback`, `mh-fallback`, `flag-1`: look further when the choice is not usable.
    pub fallback: bool,
    /// `sh-port`, `mh-port`, `flag-2`: hash the client's port too.
    pub l4_port: bool,
    /// `flag-3`: means nothing to any scheduler.
    pub flag_3: bool,
}

impl SchedulerFlags {
    /// Whether none is set.
    pub fn is_empty(&self) -> bool {
        *self == SchedulerFlags::default()
    }
}

/// A virtual service. Its key is written in place: `protocol`, `address` and `l4_port`, or `mark` and `family`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "written::Service", into = "written::Service")]
pub struct Service {
    /// What tells it from others.
    pub key: ServiceKey,
    /// How destinations are chosen.
    pub scheduler: Scheduler,
    /// The scheduler's switches.
    pub flags: SchedulerFlags,
    /// How clients stick to a destination.
    pub persistence: Option<Persistence>,
    /// A UDP connection serves one packet.
    pub one_packet: bool,
    /// Destinations in the order they are added; as in IPVS the newest is looked at first.
    pub destinations: Vec<Destination>,
}

impl Service {
    /// A service with defaults and no destinations.
    pub fn new(key: ServiceKey) -> Service {
        Service {
            key,
            scheduler: Scheduler::default(),
            flags: SchedulerFlags::default(),
            persistence: None,
            one_packet: false,
            destinations: Vec::new(),
        }
    }

    /// What tells this service from others.
    pub fn key(&self) -> ServiceKey {
        self.key
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
