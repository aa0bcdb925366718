//! The configuration model, shared by the configuration file, the control socket and the state file.
//!
//! These types define what can be written; [`crate::model::validate`] checks values and how fields fit together. Unknown
//! fields are errors everywhere.

mod destination;
pub mod diff;
pub mod edit;
pub mod explain;
mod fwmarks;
pub mod input_error;
mod mac;
pub mod modules;
pub mod namespace;
pub mod network;
pub mod parse;
mod serialized;
mod services;
mod settings;
pub mod sysctl;
pub mod timeouts;
pub mod validate;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use clap::ValueEnum;
use pollux_dataplane::service;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::destination::{Checksum, Destination, DestinationKey, Tunnel, TunnelKind};
pub use self::fwmarks::FwmarkRule;
pub use self::namespace::{Binding, Namespace, NamespaceStart};
use self::network::NetworkState;
pub(crate) use self::serialized::Key as SerializedKey;
pub use self::services::Services;
pub use self::settings::Settings;

/// A complete configuration: read by `polluxd --config`, replaced as a whole by `pollux apply`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Sizes fixed at start; changes take effect at the next start and are reported under `needs_restart`.
    pub start: Start,
    /// DPDK ports. An unlisted port keeps the device's MTU and is not promiscuous. Read only at start.
    pub ports: Vec<Port>,
    /// Timeouts and switches; they affect packets that arrive after a change.
    pub settings: Settings,
    /// Rules that set the firewall mark of packets, for services that match on a fwmark.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fwmarks: Vec<FwmarkRule>,
    /// Virtual services with their destinations, in the order they are added.
    #[schemars(with = "Vec<Service>")]
    pub services: Services,
    /// Static network configuration: links, addresses, routes and neighbours given by hand, for benchmarks and replay.
    /// It overrides everything mirrored from the kernel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<NetworkState>,
    /// Namespaces in addition to the default one, whose content is in the fields above.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<Namespace>,
}

/// Sizes fixed when the daemon starts, because packet processing never allocates memory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Start {
    /// IPv4 connections, total over all workers, 0 to 2^30; each worker gets an equal share. 0 disables IPv4 services.
    pub connections_ipv4: u32,
    /// IPv6 connections, total over all workers, 0 to 2^30; each worker gets an equal share. 0 disables IPv6 services.
    pub connections_ipv6: u32,
    /// Maximum number of services, at least 1.
    pub services: u32,
    /// Maximum number of destinations, at least 1, including removed ones that still have connections.
    pub destinations: u32,
    /// Persistence templates, total over all workers, 1 to 2^28.
    pub templates: u32,
    /// Packet buffers (mbufs) shared by all ports; 0 computes the number from ports, queues and rings.
    pub packet_buffers: u32,
    /// Mirrors the kernel's addresses, routes and neighbours, and creates a TAP twin for every port. `polluxd
    /// --no-kernel` overrides it.
    pub kernel: bool,
    /// Idle policy of the workers; `polluxd --idle` overrides it.
    pub idle: Idle,
    /// Longest sleep of modes `sleep` and `interrupt`, in microseconds, 10 to 10000; `polluxd --max-sleep-us` overrides
    /// it.
    pub max_sleep_us: u32,
}

/// Idle policy: the behaviour of a worker without packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Idle {
    /// Polls again at once: uses the whole core, with the shortest delay.
    #[default]
    Busy,
    /// Pauses for about a microsecond between polls: still uses the whole core, but produces less heat and leaves more
    /// to the sibling hyperthread.
    Pause,
    /// Sleeps after about a millisecond of pauses, first 10 microseconds, then twice as long each time, up to
    /// `max_sleep_us`: uses a few percent of its core.
    Sleep,
    /// Like `sleep`, but ports that support receive interrupts wake it up.
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

/// Configuration of one DPDK port.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Port {
    /// Device name in DPDK: `0000:3b:00.0`, `net_af_packet0`.
    pub name: String,
    /// Name of the port's TAP twin in the kernel, 1 to 15 bytes; default `pollux` and the port's number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub twin: Option<String>,
    /// Largest IP packet in bytes, 68 to 9600.
    #[serde(default = "default_mtu")]
    pub mtu: u32,
    /// Puts the port in promiscuous mode; frames for other MAC addresses are still dropped.
    #[serde(default)]
    pub promiscuous: bool,
    /// Port role, client-facing or server-facing: lets RSS deliver packets directly to the worker that owns their flow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub facing: Option<Facing>,
}

/// Role of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Facing {
    /// Client-facing: receives packets from clients.
    Clients,
    /// Server-facing: receives the servers' packets to clients.
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

impl Protocol {
    /// Returns the name in `/etc/services`.
    pub fn name(self) -> &'static str {
        match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
            Protocol::Sctp => "sctp",
        }
    }

    /// Returns the name in the listings of `ipvsadm`.
    pub fn upper(self) -> &'static str {
        match self {
            Protocol::Tcp => "TCP",
            Protocol::Udp => "UDP",
            Protocol::Sctp => "SCTP",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Scheduling algorithm.
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
    /// Weighted failover: the destination with the highest weight that is not overloaded.
    Fo,
    /// Weighted overflow: the destination with the highest weight whose active connections do not exceed that weight.
    Ovf,
    /// Locality-based least connections, by the packet's destination address.
    Lblc,
    /// Locality-based least connections with replication: a set of destinations for each address.
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
    /// None: no destination is ever selected.
    None,
}

impl Scheduler {
    /// Returns the scheduler's name in IPVS.
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

/// Forwarding method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// Network address translation: addresses and ports are rewritten in both directions.
    Nat,
    /// Direct routing: only the MAC address is rewritten.
    Dr,
    /// Encapsulation; `tunnel` is the type.
    Tunnel,
}

impl Method {
    /// Returns the name, as in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Method::Nat => "nat",
            Method::Dr => "dr",
            Method::Tunnel => "tunnel",
        }
    }
}

/// Key that identifies a service: `protocol`, `address` and `l4_port`, or `fwmark` and `family`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "serialized::Key", into = "serialized::Key")]
pub enum ServiceKey {
    /// Protocol and virtual endpoint.
    Address {
        /// Transport protocol.
        protocol: Protocol,
        /// Virtual address (VIP).
        address: IpAddr,
        /// Virtual L4 port; 0 matches any port and needs persistence.
        l4_port: u16,
    },
    /// Firewall mark set by [`FwmarkRule`]s.
    Fwmark {
        /// The mark, not 0.
        fwmark: u32,
        /// Address family of the packets.
        family: Family,
    },
}

impl ServiceKey {
    /// Returns the address family of the clients' packets.
    pub fn family(&self) -> Family {
        match self {
            ServiceKey::Address { address: IpAddr::V4(_), .. } => Family::Ipv4,
            ServiceKey::Address { address: IpAddr::V6(_), .. } => Family::Ipv6,
            ServiceKey::Fwmark { family, .. } => *family,
        }
    }

    /// Returns protocol and virtual endpoint; `None` for a fwmark.
    pub fn endpoint(&self) -> Option<(Protocol, SocketAddr)> {
        match *self {
            ServiceKey::Address { protocol, address, l4_port } => {
                Some((protocol, SocketAddr::new(address, l4_port)))
            }
            ServiceKey::Fwmark { .. } => None,
        }
    }

    /// Returns the virtual L4 port; 0 (any port) for a fwmark.
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

/// Persistence: later connections of a client, or of a group of clients, go to the destination of the first one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Persistence {
    /// Seconds after the client's last new connection, 1 to 2678400 (31 days).
    pub timeout: u32,
    /// IPv4 client grouping mask; any bit pattern, as in IPVS. Default 255.255.255.255.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub netmask: Option<Ipv4Addr>,
    /// IPv6 client grouping, prefix length 1 to 128. Default 128.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix_len: Option<u8>,
    /// Persistence engine, which also distinguishes clients by packet content. Default none.
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

/// Scheduler flags of IPVS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SchedulerFlags {
    /// `sh-fallback`, `mh-fallback`, `flag-1`: if the selected destination is not usable, try others.
    pub fallback: bool,
    /// `sh-port`, `mh-port`, `flag-2`: include the client's port in the hash.
    pub hash_l4_port: bool,
    /// `flag-3`: stored and listed, but no scheduler uses it.
    pub flag_3: bool,
}

impl SchedulerFlags {
    /// Returns true if no flag is set.
    pub fn is_empty(&self) -> bool {
        *self == SchedulerFlags::default()
    }
}

/// A virtual service. The fields of its key are written inline: `protocol`, `address` and `l4_port`, or `fwmark` and
/// `family`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "serialized::Service", into = "serialized::Service")]
pub struct Service {
    /// Key that identifies the service.
    pub key: ServiceKey,
    /// Scheduling algorithm.
    pub scheduler: Scheduler,
    /// Scheduler flags.
    pub flags: SchedulerFlags,
    /// Persistence; none if absent.
    pub persistence: Option<Persistence>,
    /// One-packet scheduling (OPS): every UDP packet is scheduled on its own.
    pub ops: bool,
    /// Destinations in the order they are added; as in IPVS, schedulers look at the last one added first.
    pub destinations: Vec<Destination>,
}

impl Service {
    /// Returns a service with default settings and no destinations.
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
}
