//! Reply types of the control socket, from which `pollux` and `ipvsadm` print their tables.
//!
//! Counters have 64 bits and start at 0 with the daemon. Bytes are IP bytes, as in IPVS.

pub mod brief;
mod debug;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::debug::{DebugEvent, DebugSet, DebugSite, DebugSites, ModuleKind, ModuleList, ModuleView};
use crate::model::network::Mac;
use crate::model::{Binding, Method, Persistence, Scheduler, SchedulerFlags, ServiceKey, Tunnel};

/// IPVS counters of a service, a destination, or the total.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Stats {
    /// Connections scheduled.
    pub connections: u64,
    /// Packets from clients.
    pub in_packets: u64,
    /// Packets from destinations.
    pub out_packets: u64,
    /// IP bytes from clients.
    pub in_bytes: u64,
    /// IP bytes from destinations.
    pub out_bytes: u64,
}

impl Stats {
    /// Returns the sum.
    #[must_use]
    pub fn plus(self, other: Stats) -> Stats {
        self.with(other, u64::wrapping_add)
    }

    /// Returns the increase since `other`, an earlier count.
    #[must_use]
    pub fn minus(self, other: Stats) -> Stats {
        self.with(other, u64::wrapping_sub)
    }

    fn with(self, other: Stats, combine: fn(u64, u64) -> u64) -> Stats {
        Stats {
            connections: combine(self.connections, other.connections),
            in_packets: combine(self.in_packets, other.in_packets),
            out_packets: combine(self.out_packets, other.out_packets),
            in_bytes: combine(self.in_bytes, other.in_bytes),
            out_bytes: combine(self.out_bytes, other.out_bytes),
        }
    }
}

/// Growth of [`Stats`] per second: an exponentially weighted moving average with weight 1/4, updated every 2 s.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Rates {
    /// Connections scheduled, per second.
    pub connections: u64,
    /// Packets from clients, per second.
    pub in_packets: u64,
    /// Packets from destinations, per second.
    pub out_packets: u64,
    /// IP bytes from clients, per second.
    pub in_bytes: u64,
    /// IP bytes from destinations, per second.
    pub out_bytes: u64,
}

/// A running service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ServiceView {
    /// Key of the service: `protocol`, `address` and `l4_port`, or `fwmark` and `family`.
    #[serde(flatten)]
    pub key: ServiceKey,
    /// Scheduling algorithm.
    pub scheduler: Scheduler,
    /// Scheduler flags.
    pub flags: SchedulerFlags,
    /// Persistence; none if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub persistence: Option<Persistence>,
    /// One-packet scheduling (OPS): every UDP packet is scheduled on its own.
    pub ops: bool,
    /// Destinations, in the order of the configuration.
    pub destinations: Vec<DestinationView>,
    /// Counters as IPVS shows them, over all destinations, including removed ones: the count at the last sample of the
    /// estimator (every 2 s), minus the count when the counters were zeroed.
    #[serde(default)]
    pub stats: Stats,
    /// The count up to now; zeroing does not affect it.
    pub live: Stats,
    /// Growth per second.
    pub rates: Rates,
}

/// A running destination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DestinationView {
    /// Address of the server.
    pub address: IpAddr,
    /// L4 port of the server.
    pub l4_port: u16,
    /// Forwarding method.
    pub method: Method,
    /// Tunnel type; absent unless the method is `tunnel`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tunnel: Option<Tunnel>,
    /// Share of new connections; 0 gets none.
    pub weight: u32,
    /// Connection limit: at this number of connections the destination gets no new ones; 0 = no limit.
    #[serde(default)]
    pub upper_threshold: u32,
    /// After the limit was reached, the destination gets new connections again below this number; 0 = three quarters of
    /// `upper_threshold`.
    #[serde(default)]
    pub lower_threshold: u32,
    /// True if the destination reached `upper_threshold` and gets no new connections.
    #[serde(default)]
    pub overloaded: bool,
    /// Active connections: those in state ESTABLISHED, SYN_SENT, SYN_RECV or SYNACK.
    #[serde(default)]
    pub active: u32,
    /// Inactive connections: those in any other state.
    #[serde(default)]
    pub inactive: u32,
    /// Persistence templates.
    #[serde(default)]
    pub persistent: u32,
    /// Counters as IPVS shows them: the count at the last sample of the estimator (every 2 s), minus the count when the
    /// counters were zeroed.
    #[serde(default)]
    pub stats: Stats,
    /// The count up to now; zeroing does not affect it.
    #[serde(default)]
    pub live: Stats,
    /// Growth per second.
    #[serde(default)]
    pub rates: Rates,
}

impl DestinationView {
    /// Returns address and port of the server.
    pub fn endpoint(&self) -> SocketAddr {
        SocketAddr::new(self.address, self.l4_port)
    }
}

/// All services, or the requested one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ServiceList {
    /// The services, in the order of the configuration.
    pub services: Vec<ServiceView>,
    /// Capacity of the connection tables of all workers.
    pub connection_capacity: u64,
}

/// Protocol of a connection; `ip` for persistence templates of fwmark services.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ConnectionProtocol {
    /// RFC 9293.
    Tcp,
    /// RFC 768.
    Udp,
    /// RFC 9260.
    Sctp,
    /// Any protocol: a template of a fwmark service.
    Ip,
}

impl ConnectionProtocol {
    /// Returns the name in the listings of `ipvsadm`.
    pub fn name(self) -> &'static str {
        match self {
            ConnectionProtocol::Tcp => "TCP",
            ConnectionProtocol::Udp => "UDP",
            ConnectionProtocol::Sctp => "SCTP",
            ConnectionProtocol::Ip => "IP",
        }
    }
}

/// Data that a persistence engine read from a packet, to distinguish clients.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EngineData {
    /// Name of the engine: `sip`.
    pub engine: String,
    /// The data, for `sip` the Call-ID.
    pub data: String,
}

/// One connection, or a persistence template.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ConnectionView {
    /// Transport protocol.
    pub protocol: ConnectionProtocol,
    /// State, as named in IPVS: `ESTABLISHED`, `UDP`; for templates `NONE` or `ASSURED`.
    pub state: String,
    /// Seconds until the connection expires if no packet arrives, rounded down as in IPVS.
    pub expires_secs: u32,
    /// Address and port of the client; the port is 0 for templates.
    pub client: SocketAddr,
    /// Virtual address and port.
    pub r#virtual: SocketAddr,
    /// Address and port of the destination.
    pub destination: SocketAddr,
    /// Forwarding method; absent if the connection bypasses all destinations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<Method>,
    /// Packets from the client.
    pub in_packets: u64,
    /// Flags: `no_output`, `inactive`, `bypass`, `template`.
    #[serde(default)]
    pub flags: Vec<String>,
    /// Persistence engine data, for templates of services with an engine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<EngineData>,
    /// Number of the worker that owns the connection; absent for templates, which all workers share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<u16>,
}

/// One page of connections.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ConnectionPage {
    /// At most `limit` connections, in no particular order. A connection that exists during the whole listing appears
    /// on exactly one page.
    pub connections: Vec<ConnectionView>,
    /// `cursor` for the next request; absent on the last page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Counters of one worker.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WorkerView {
    /// CPU core the worker runs on.
    pub core: u16,
    /// Packets received from ports.
    pub received: u64,
    /// Packets received from other workers by hand-off, because this worker owns their flow.
    pub handoff_received: u64,
    /// Packets sent to ports.
    pub sent: u64,
    /// Packets sent to the kernel through TAP twins.
    pub to_kernel: u64,
    /// Packets sent by the kernel through TAP twins.
    pub from_kernel: u64,
    /// Packets handed off to the worker that owns their flow.
    pub handoff_sent: u64,
    /// Packets currently waiting for a neighbour's MAC address.
    pub awaiting_neighbour: u64,
    /// Fragments currently waiting for the rest of their datagram.
    #[serde(default)]
    pub reassembling: u64,
    /// Fragments sent of packets that had to be fragmented, not counting each first one.
    #[serde(default)]
    pub fragments_sent: u64,
    /// Packets dropped, by reason.
    pub drops: BTreeMap<String, u64>,
    /// ICMP errors sent, by reason.
    pub icmp_sent: BTreeMap<String, u64>,
    /// Packets that took the slow path, by reason.
    pub slow_path: BTreeMap<String, u64>,
    /// Connections in the worker's table.
    pub connections: u64,
    /// Capacity of the worker's connection table.
    pub connection_capacity: u64,
    /// Half-open and closing connections evicted to make room for new ones in a full table.
    pub evicted: u64,
    /// Connections expired at random by `drop_entry`.
    #[serde(default)]
    pub expired_early: u64,
    /// Debug events lost because the control thread was too slow.
    #[serde(default)]
    pub events_lost: u64,
    /// Size of the worker's connection table in bytes.
    pub table_bytes: u64,
    /// CPU cycles spent in poll iterations that moved packets.
    pub busy_cycles: u64,
    /// Poll iterations that moved packets.
    pub bursts: u64,
    /// Pauses of about a microsecond after idle poll iterations.
    #[serde(default)]
    pub idle_pauses: u64,
    /// Sleeps.
    #[serde(default)]
    pub sleeps: u64,
    /// Total time of all sleeps, in microseconds.
    #[serde(default)]
    pub sleep_us: u64,
    /// Sleeps ended by a receive interrupt.
    #[serde(default)]
    pub interrupt_wakeups: u64,
}

/// One DPDK port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PortView {
    /// Device name in DPDK.
    pub name: String,
    /// Name of the DPDK driver.
    pub driver: String,
    /// MAC address of the port and of its TAP twin.
    pub mac: Mac,
    /// True if the link is up.
    pub link_up: bool,
    /// Link speed in Mbit/s; 0 if unknown.
    pub speed: u32,
    /// Name of the TAP twin in the kernel; absent if the daemon runs without twins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub twin: Option<String>,
    /// Counters of the driver.
    pub counters: BTreeMap<String, u64>,
}

/// All counters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StatsView {
    /// Counters as IPVS shows them, over all services, including removed ones: the count at the last sample of the
    /// estimator (every 2 s), minus the count when the counters were zeroed.
    #[serde(default)]
    pub stats: Stats,
    /// The count up to now; zeroing does not affect it.
    pub live: Stats,
    /// Growth per second.
    #[serde(default)]
    pub rates: Rates,
    /// Counters of each worker.
    pub workers: Vec<WorkerView>,
    /// Counters of each port.
    pub ports: Vec<PortView>,
    /// Frames carried to and from the TAP twins of all namespaces; absent for a namespace.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub exception_path: BTreeMap<String, u64>,
    /// Counters of the mirror of the kernel's network state; absent if the namespace has no twins.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub mirror: BTreeMap<String, u64>,
    /// State file; absent if no state is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<StateView>,
}

/// Status of the state file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StateView {
    /// Path of the file.
    pub path: PathBuf,
    /// Number of successful writes.
    pub written: u64,
    /// Number of failed writes.
    pub failed: u64,
    /// True if a change is not written yet.
    pub pending: bool,
    /// Error of the last write; absent if it succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// One namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NamespaceView {
    /// Name of the namespace.
    pub name: String,
    /// Ports and VLANs bound to it; empty for the default namespace, which has all others.
    pub bindings: Vec<Binding>,
    /// Linux network namespace of its TAP twins; absent if it has none, and for the default namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub netns: Option<String>,
    /// Number of services.
    pub services: u64,
    /// Number of destinations.
    pub destinations: u64,
    /// Number of connections.
    pub connections: u64,
    /// Capacity of its connection tables.
    pub connection_capacity: u64,
    /// Size of its connection tables in bytes.
    pub table_bytes: u64,
}

/// All namespaces, the default one first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NamespaceList {
    /// The namespaces.
    pub namespaces: Vec<NamespaceView>,
}

/// Versions and uptime of the daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VersionView {
    /// Version of `polluxd`.
    pub version: String,
    /// Version of DPDK; absent if built without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dpdk: Option<String>,
    /// Seconds since the daemon started.
    pub uptime_secs: u64,
    /// State file; absent if no state is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<StateView>,
}
