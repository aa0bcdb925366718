//! What the daemon tells about itself: the reply types of the control socket, which the tables of `pollux` and
//! `ipvsadm` are printed from.
//!
//! Counters are 64 bit and start at 0 with the daemon. Bytes are IP bytes, as IPVS counts them.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::kernel::facts::Mac;
use crate::model::{Method, Protocol, Scheduler, ServiceKey};

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

/// A service as it runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ServiceView {
    /// What tells it from others: `protocol`, `address` and `l4_port`, or `mark` and `family`.
    #[serde(flatten)]
    pub key: ServiceKey,
    /// How destinations are chosen.
    pub scheduler: Scheduler,
    /// Its destinations, in the order of the configuration.
    pub destinations: Vec<DestinationView>,
    /// What was counted over all destinations.
    pub stats: Stats,
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
    /// Share of new connections.
    pub weight: u32,
    /// Connections that are open or opening: ESTABLISHED, SYN_SENT, SYN_RECV, SYNACK.
    pub active: u32,
    /// Connections in any other state.
    pub inactive: u32,
    /// Persistence templates.
    pub persistent: u32,
    /// What was counted.
    pub stats: Stats,
}

/// All services, or the one that was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ServiceList {
    /// In the order of the configuration.
    pub services: Vec<ServiceView>,
    /// How many connections can be held.
    pub connection_capacity: u64,
}

/// One connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ConnectionView {
    /// Transport protocol.
    pub protocol: Protocol,
    /// The state's name in IPVS: `ESTABLISHED`, `UDP`.
    pub state: String,
    /// Seconds until it is forgotten if no packet comes, rounded down as IPVS does.
    pub expires_secs: u32,
    /// Where the client speaks from.
    pub client: SocketAddr,
    /// What the client speaks to.
    pub r#virtual: SocketAddr,
    /// Who answers.
    pub destination: SocketAddr,
    /// How packets reach it.
    pub method: Method,
    /// Packets from the client.
    pub in_packets: u64,
    /// Names of what is special about it: `no_output`, `inactive`.
    #[serde(default)]
    pub flags: Vec<String>,
    /// The worker that owns it.
    pub worker: u16,
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
    pub taken_over: u64,
    /// Packets given to ports.
    pub sent: u64,
    /// Packets given to twins, for the kernel.
    pub to_kernel: u64,
    /// Packets the kernel sent out through twins.
    pub from_kernel: u64,
    /// Packets given to the worker that owns their flow.
    pub handed_off: u64,
    /// Packets that wait for a neighbour's hardware address.
    pub waiting: u64,
    /// Packets dropped, by reason.
    pub drops: BTreeMap<String, u64>,
    /// Packets answered by ourselves, by answer.
    pub answered: BTreeMap<String, u64>,
    /// Connections it holds.
    pub connections: u64,
    /// Connections it can hold.
    pub connection_capacity: u64,
    /// Half-open and closing connections given up for new ones when the table was full.
    pub given_up: u64,
    /// Bytes of its connection table.
    pub table_bytes: u64,
    /// Cycles spent on turns that moved packets.
    pub busy_cycles: u64,
    /// Turns that moved packets.
    pub bursts: u64,
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
    /// Over all services.
    pub totals: Stats,
    /// By worker.
    pub workers: Vec<WorkerView>,
    /// By port.
    pub ports: Vec<PortView>,
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
}
