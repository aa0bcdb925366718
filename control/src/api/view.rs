//! What the daemon tells about itself: the reply types of the control socket, which the tables of `pollux` and
//! `ipvsadm` are printed from.
//!
//! Counters are 64 bit and start at 0 with the daemon. Bytes are IP bytes, as IPVS counts them.

pub mod brief;
mod debug;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::debug::{DebugEvent, DebugSet, DebugSite, DebugSites, ModuleKind, ModuleList, ModuleView};
use crate::model::network_config::Mac;
use crate::model::{Binding, Method, Persistence, Scheduler, SchedulerFlags, ServiceKey, Tunnel};

/// What IPVS counts of a service, a destination or everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Stats {
    /// Connections that were scheduled.
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
    /// The sum.
    #[must_use]
    pub fn plus(self, other: Stats) -> Stats {
        self.with(other, u64::wrapping_add)
    }

    /// What is more than in `other`, an earlier count.
    #[must_use]
    pub fn minus(self, other: Stats) -> Stats {
        self.with(other, u64::wrapping_sub)
    }

    fn with(self, other: Stats, of: fn(u64, u64) -> u64) -> Stats {
        Stats {
            connections: of(self.connections, other.connections),
            in_packets: of(self.in_packets, other.in_packets),
            out_packets: of(self.out_packets, other.out_packets),
            in_bytes: of(self.in_bytes, other.in_bytes),
            out_bytes: of(self.out_bytes, other.out_bytes),
        }
    }
}

/// How fast [`Stats`] grow: by the second, an average that IPVS moves on every 2 s.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Rates {
    /// Connections that were scheduled.
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

/// A service as it runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ServiceView {
    /// What tells it from others: `protocol`, `address` and `l4_port`, or `fwmark` and `family`.
    #[serde(flatten)]
    pub key: ServiceKey,
    /// How destinations are chosen.
    pub scheduler: Scheduler,
    /// The scheduler's switches.
    pub flags: SchedulerFlags,
    /// How clients stick to a destination.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub persistence: Option<Persistence>,
    /// A UDP connection serves one packet.
    pub ops: bool,
    /// Its destinations, in the order of the configuration.
    pub destinations: Vec<DestinationView>,
    /// What was counted over all destinations, removed ones too, as IPVS shows it: as of the last look of the estimator,
    /// which comes every 2 s, less what it was when the counters were zeroed.
    #[serde(default)]
    pub stats: Stats,
    /// The same up to now, whatever was zeroed.
    pub live: Stats,
    /// How fast it grows.
    pub rates: Rates,
}

impl ServiceView {
    /// What tells this service from others.
    pub fn key(&self) -> ServiceKey {
        self.key
    }
}

/// A destination as it runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DestinationView {
    /// The server's address.
    pub address: IpAddr,
    /// The server's L4 port.
    pub l4_port: u16,
    /// How packets reach it.
    pub method: Method,
    /// The kind of tunnel.
    #[serde(default)]
    pub tunnel: Tunnel,
    /// Share of new connections.
    pub weight: u32,
    /// Connections from which on it gets no more; 0 is no limit.
    #[serde(default)]
    pub upper_threshold: u32,
    /// Connections below which it gets some again.
    #[serde(default)]
    pub lower_threshold: u32,
    /// It reached its upper threshold and gets no new connections.
    #[serde(default)]
    pub overloaded: bool,
    /// Connections that are open or opening: ESTABLISHED, SYN_SENT, SYN_RECV, SYNACK.
    #[serde(default)]
    pub active: u32,
    /// Connections in any other state.
    #[serde(default)]
    pub inactive: u32,
    /// Persistence templates.
    #[serde(default)]
    pub persistent: u32,
    /// What was counted, as IPVS shows it.
    #[serde(default)]
    pub stats: Stats,
    /// What was counted up to now.
    #[serde(default)]
    pub live: Stats,
    /// How fast it grows.
    #[serde(default)]
    pub rates: Rates,
}

/// All services, or the one that was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ServiceList {
    /// In the order of the configuration.
    pub services: Vec<ServiceView>,
    /// How many connections can be held.
    pub connection_capacity: u64,
}

/// What a connection carries: as [`crate::model::Protocol`], and `ip` for templates of mark services.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ConnectionProtocol {
    /// RFC 9293.
    Tcp,
    /// RFC 768.
    Udp,
    /// RFC 9260.
    Sctp,
    /// Any: a template of a mark service.
    Ip,
}

impl ConnectionProtocol {
    /// The name in the listings of `ipvsadm`.
    pub fn name(self) -> &'static str {
        match self {
            ConnectionProtocol::Tcp => "TCP",
            ConnectionProtocol::Udp => "UDP",
            ConnectionProtocol::Sctp => "SCTP",
            ConnectionProtocol::Ip => "IP",
        }
    }
}

/// What a persistence engine told a template's clients apart by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EngineData {
    /// Its name: `sip`.
    pub engine: String,
    /// What it read: a Call-ID.
    pub data: String,
}

/// One connection, or a persistence template.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ConnectionView {
    /// What it carries.
    pub protocol: ConnectionProtocol,
    /// The state's name in IPVS: `ESTABLISHED`, `UDP`; of templates `NONE` or `ASSURED`.
    pub state: String,
    /// Seconds until it is forgotten if no packet comes, rounded down as IPVS does.
    pub expires_secs: u32,
    /// Where the client speaks from.
    pub client: SocketAddr,
    /// What the client speaks to.
    pub r#virtual: SocketAddr,
    /// Who answers.
    pub destination: SocketAddr,
    /// How packets reach it; absent when it bypasses all destinations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<Method>,
    /// Packets from the client.
    pub in_packets: u64,
    /// Names of what is special about it: `no_output`, `inactive`, `bypass`, `template`.
    #[serde(default)]
    pub flags: Vec<String>,
    /// Of a template: what its service's persistence engine read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<EngineData>,
    /// The worker that owns it; none owns a template, all share them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<u16>,
}

/// Some connections, and where to go on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ConnectionPage {
    /// At most as many as were asked for, in no order. A connection that lives through all pages is in one of them.
    pub connections: Vec<ConnectionView>,
    /// The `cursor` of the next request; absent when this was the last page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// What one worker did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WorkerView {
    /// The CPU it runs on.
    pub core: u16,
    /// Packets taken from ports.
    pub received: u64,
    /// Packets taken over from the worker that received them.
    pub handoff_received: u64,
    /// Packets given to ports.
    pub sent: u64,
    /// Packets given to twins, for the kernel.
    pub to_kernel: u64,
    /// Packets the kernel sent out through twins.
    pub from_kernel: u64,
    /// Packets given to the worker that owns their flow.
    pub handoff_sent: u64,
    /// Packets that wait for a neighbour's hardware address.
    pub awaiting_neighbour: u64,
    /// Fragments that wait for the others of their datagrams.
    #[serde(default)]
    pub reassembling: u64,
    /// Pieces, past the first, of packets that had to be sent in pieces.
    #[serde(default)]
    pub fragments_sent: u64,
    /// Packets dropped, by reason.
    pub drops: BTreeMap<String, u64>,
    /// Packets answered by ourselves, by answer.
    pub icmp_sent: BTreeMap<String, u64>,
    /// Packets that took the slow path, by reason.
    pub slow_path: BTreeMap<String, u64>,
    /// Connections it holds.
    pub connections: u64,
    /// Connections it can hold.
    pub connection_capacity: u64,
    /// Half-open and closing connections given up for new ones when the table was full.
    pub evicted: u64,
    /// Connections that random early expiry (`drop_entry`) ended.
    #[serde(default)]
    pub expired_early: u64,
    /// Debug events that were lost because control did not keep up.
    #[serde(default)]
    pub events_lost: u64,
    /// Bytes of its connection table.
    pub table_bytes: u64,
    /// Cycles spent on turns that moved packets.
    pub busy_cycles: u64,
    /// Turns that moved packets.
    pub bursts: u64,
    /// Pauses of about a microsecond after turns that moved none.
    #[serde(default)]
    pub idle_pauses: u64,
    /// Naps.
    #[serde(default)]
    pub sleeps: u64,
    /// Microseconds of all naps together.
    #[serde(default)]
    pub sleep_us: u64,
    /// Naps that a port ended by an interrupt.
    #[serde(default)]
    pub interrupt_wakeups: u64,
}

/// One DPDK port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PortView {
    /// The device's name as DPDK shows it.
    pub name: String,
    /// DPDK's driver.
    pub driver: String,
    /// The hardware address the port and its twin share.
    pub mac: Mac,
    /// Whether there is a carrier.
    pub link: bool,
    /// Megabits a second; 0 when the driver does not know.
    pub speed: u32,
    /// The kernel's interface; none when the daemon runs without twins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub twin: Option<String>,
    /// The driver's counters, by its own names.
    pub counters: BTreeMap<String, u64>,
}

/// Everything that is counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StatsView {
    /// Over all services there are and were, up to now.
    pub totals: Stats,
    /// The same as IPVS shows it: as of the last look of the estimator, since the counters were zeroed.
    #[serde(default)]
    pub shown: Stats,
    /// How fast it grows.
    #[serde(default)]
    pub rates: Rates,
    /// By worker.
    pub workers: Vec<WorkerView>,
    /// By port.
    pub ports: Vec<PortView>,
    /// The state file; none when nothing is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<StateView>,
}

/// How keeping the state goes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StateView {
    /// The file.
    pub path: PathBuf,
    /// How often it was written.
    pub written: u64,
    /// How often that failed.
    pub failed: u64,
    /// Something is not written yet.
    pub pending: bool,
    /// Why the last try failed; absent when it did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// One namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NamespaceView {
    /// Its name.
    pub name: String,
    /// What is bound to it; the default one has the rest.
    pub bindings: Vec<Binding>,
    /// The kernel's network namespace of its twins, if it is not the daemon's own and there are twins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub netns: Option<String>,
    /// Services.
    pub services: u64,
    /// Destinations.
    pub destinations: u64,
    /// Connections now.
    pub connections: u64,
    /// How many connections can be held.
    pub connection_capacity: u64,
    /// Bytes of its connection tables.
    pub table_bytes: u64,
}

/// All namespaces, the default one first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NamespaceList {
    /// The namespaces.
    pub namespaces: Vec<NamespaceView>,
}

/// Who answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VersionView {
    /// Version of `polluxd`.
    pub version: String,
    /// DPDK's version; none when built without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dpdk: Option<String>,
    /// Seconds since the daemon started.
    pub uptime_secs: u64,
    /// The state file; none when nothing is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<StateView>,
}
