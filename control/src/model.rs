//! What an operator may ask for: one model for the configuration file, the control socket and the rules text.
//!
//! These types say what can be written; [`validate`] says what makes sense. Field names are the words of
//! `docs/` and of the CLI, and an unknown field is an error everywhere.

mod destination;
pub mod diff;
pub mod edit;
mod fwmarks;
pub mod input_error;
mod mac;
pub mod modules;
pub mod namespace;
pub mod network_config;
pub mod parse;
mod services;
mod settings;
pub mod sysctl;
pub mod timeouts;
pub mod validate;
mod written;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use clap::ValueEnum;
use pollux_dataplane::service;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::destination::{Checksum, Destination, DestinationKey, Tunnel};
pub use self::fwmarks::FwmarkRule;
pub use self::namespace::{Binding, Namespace, NamespaceStart};
use self::network_config::NetworkConfig;
pub use self::services::Services;
pub use self::settings::Settings;
pub(crate) use self::settings::optional_switch;
pub(crate) use self::written::Key as WrittenKey;

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
    pub fwmarks: Vec<FwmarkRule>,
    /// Virtual services with their destinations, in the order they are added.
    #[schemars(with = "Vec<Service>")]
    pub services: Services,
    /// Addresses, routes and neighbours given by hand instead of read from the kernel; for benchmarks and replay.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<NetworkConfig>,
    /// Namespaces beside the default one, whose content is what stands above.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<Namespace>,
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
    /// What a worker does when no packet comes; `polluxd --idle` goes before it.
    pub idle: Idle,
    /// The longest nap of a worker that sleeps, in microseconds; `polluxd --max-sleep-us` goes before it.
    pub max_sleep_us: u32,
}

/// What a worker does when no packet comes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Idle {
    /// It looks again at once: all of its core, and the shortest delay.
    #[default]
    Busy,
    /// It pauses for about a microsecond between looks: as much of its core, with less heat and less in the way of the
    /// sibling hyperthread.
    Pause,
    /// After about a millisecond of pauses it takes naps that grow to the longest: little of its core.
    Sleep,
    /// The same, and ports that can do so wake it up when a packet comes.
    Interrupt,
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
            idle: Idle::default(),
            max_sleep_us: 500,
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
    /// Whose packets come in by it; lets a device that can bring each to the worker that owns its flow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub facing: Option<Facing>,
}

/// Whom a port faces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Facing {
    /// Packets come from clients.
    Clients,
    /// Packets come from servers, to clients.
    Servers,
}

fn default_mtu() -> u32 {
    1500
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
        service::Scheduler::from(self).name()
    }
}

impl From<Scheduler> for service::Scheduler {
    fn from(scheduler: Scheduler) -> service::Scheduler {
        match scheduler {
            Scheduler::Rr => service::Scheduler::Rr,
            Scheduler::Wrr => service::Scheduler::Wrr,
            Scheduler::Lc => service::Scheduler::Lc,
            Scheduler::Wlc => service::Scheduler::Wlc,
            Scheduler::Fo => service::Scheduler::Fo,
            Scheduler::Ovf => service::Scheduler::Ovf,
            Scheduler::Lblc => service::Scheduler::Lblc,
            Scheduler::Lblcr => service::Scheduler::Lblcr,
            Scheduler::Dh => service::Scheduler::Dh,
            Scheduler::Sh => service::Scheduler::Sh,
            Scheduler::Mh => service::Scheduler::Mh,
            Scheduler::Sed => service::Scheduler::Sed,
            Scheduler::Nq => service::Scheduler::Nq,
            Scheduler::Twos => service::Scheduler::Twos,
            Scheduler::None => service::Scheduler::None,
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
    /// Inside another packet; `tunnel` says which kind.
    Tunnel,
}

/// What tells one service from another; every request about a service carries it. Written as `protocol`, `address` and
/// `l4_port`, or as `fwmark` and `family`.
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
    /// By the mark that [`FwmarkRule`]s give.
    Fwmark {
        /// The mark, not 0.
        fwmark: u32,
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
            ServiceKey::Fwmark { family, .. } => *family,
        }
    }

    /// The virtual L4 port; 0, which is any, for marks.
    pub fn l4_port(&self) -> u16 {
        match self {
            ServiceKey::Address { l4_port, .. } => *l4_port,
            ServiceKey::Fwmark { .. } => 0,
        }
    }
}

impl fmt::Display for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            ServiceKey::Address { protocol, address, l4_port } => {
                write!(f, "{protocol} {}", SocketAddr::new(address, l4_port))
            }
            ServiceKey::Fwmark { fwmark, family: Family::Ipv4 } => write!(f, "fwmark {fwmark}"),
            ServiceKey::Fwmark { fwmark, family: Family::Ipv6 } => write!(f, "fwmark {fwmark} ipv6"),
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

/// A virtual service. Its key is written in place: `protocol`, `address` and `l4_port`, or `fwmark` and `family`.
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
    pub ops: bool,
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
            ops: false,
            destinations: Vec::new(),
        }
    }

    /// What tells this service from others.
    pub fn key(&self) -> ServiceKey {
        self.key
    }
}
