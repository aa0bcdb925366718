//! Services and destinations as workers see them, with the indexes to look them up.

use std::net::IpAddr;
use std::sync::Arc;

use hashbrown::{HashMap, HashSet};

use crate::flow::Endpoint;
use crate::time::Millis;
use crate::wire::protocol;

/// Index of a service in [`Services`]; stable across generations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceId(pub u32);

/// Index of a destination in [`Services`]; stable across generations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DestinationId(pub u32);

/// Index of a distinct destination address in [`crate::config::Snapshot::targets`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TargetId(pub u32);

/// Forwarding method: how packets reach a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Addresses and ports are rewritten in both directions.
    Nat,
    /// Direct routing: only the link-layer address changes.
    Dr,
    /// The packet is encapsulated.
    Tunnel(Tunnel),
}

/// Encapsulation of a tunnel; spec 6.6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tunnel {
    /// IP in IP, RFC 2003 and RFC 2473.
    Ipip,
    /// Generic UDP encapsulation.
    Gue {
        /// Destination UDP port.
        l4_port: u16,
        /// Whether the UDP checksum is computed. Remote checksum offload would differ only for packets with a partial
        /// checksum, which never arrive from a wire.
        checksum: bool,
    },
    /// Generic routing encapsulation, RFC 2784.
    Gre {
        /// Whether the header has the optional checksum.
        checksum: bool,
    },
}

macro_rules! schedulers {
    ($($scheduler:ident = $name:literal,)*) => {
        /// Scheduler of a service; spec 3.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[allow(missing_docs, reason = "the names of IPVS; the module of each says what it does")]
        pub enum Scheduler {
            $($scheduler,)*
            /// No scheduler: no destination is ever chosen.
            None,
        }

        impl Scheduler {
            /// All schedulers, by number.
            pub const ALL: [Scheduler; 1 + [$($name),*].len()] = [$(Scheduler::$scheduler,)* Scheduler::None];

            /// The name in IPVS.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Scheduler::$scheduler => $name,)*
                    Scheduler::None => "none",
                }
            }

            /// The kernel module; none for [`Scheduler::None`].
            pub const fn module(self) -> Option<&'static str> {
                match self {
                    $(Scheduler::$scheduler => Some(concat!("ip_vs_", $name)),)*
                    Scheduler::None => None,
                }
            }
        }
    };
}

schedulers! {
    Rr = "rr",
    Wrr = "wrr",
    Lc = "lc",
    Wlc = "wlc",
    Fo = "fo",
    Ovf = "ovf",
    Lblc = "lblc",
    Lblcr = "lblcr",
    Dh = "dh",
    Sh = "sh",
    Mh = "mh",
    Sed = "sed",
    Nq = "nq",
    Twos = "twos",
}

/// The key of a service: the address or firewall mark of packets for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ServiceKey {
    /// An address, a port (0 for any) and a protocol.
    Address(Endpoint, u8),
    /// A firewall mark.
    Fwmark {
        /// The mark; never 0.
        fwmark: u32,
        /// Whether it matches IPv6 packets or IPv4 packets.
        ipv6: bool,
    },
}

impl ServiceKey {
    /// Whether clients use IPv6.
    pub fn is_ipv6(&self) -> bool {
        match self {
            ServiceKey::Address(endpoint, _) => endpoint.address.is_ipv6(),
            ServiceKey::Fwmark { ipv6, .. } => *ipv6,
        }
    }
}

/// Persistence: clients keep their destination for some time; spec 4.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Persistence {
    /// Lifetime of a template after its last new connection.
    pub timeout: Millis,
    /// Mask of client addresses; for IPv4 the lower 32 bits.
    pub mask: u128,
    /// Whether the SIP Call-ID is part of a template's key.
    pub sip: bool,
}

/// A virtual service.
#[derive(Clone, Debug)]
pub struct Service {
    /// The address or firewall mark of packets for it.
    pub key: ServiceKey,
    /// The scheduler.
    pub scheduler: Scheduler,
    /// Flag of `sh` and `mh`: try further slots if the first destination is not usable.
    pub fallback: bool,
    /// Flag of `sh` and `mh`: hash the client's port, too.
    pub hash_l4_port: bool,
    /// One-packet scheduling (OPS) of UDP: every packet is scheduled on its own.
    pub ops: bool,
    /// Persistence, if any.
    pub persistence: Option<Persistence>,
    /// Its destinations, the newest first, as in IPVS.
    pub destinations: Vec<DestinationId>,
    /// The table of `dh`, `sh` and `mh`; empty for other schedulers.
    pub slots: Arc<[Option<DestinationId>]>,
}

/// A real server.
#[derive(Clone, Debug)]
pub struct Destination {
    /// Address and port; port 0 keeps the port that the client addressed.
    pub endpoint: Endpoint,
    /// Forwarding method.
    pub method: Method,
    /// Whether it is configured. A removed destination stays here while it has connections.
    pub available: bool,
    /// Weight for new connections; 0 for none.
    pub weight: u32,
    /// The last weight other than 0, or the initial one; `mh` builds its table from it.
    pub last_weight: u32,
    /// Upper threshold: number of connections at which it becomes overloaded; 0 for none.
    pub upper: u32,
    /// Lower threshold: overload ends below this number of connections; 0 for three quarters of `upper`.
    pub lower: u32,
    /// The service that it belongs to.
    pub service: ServiceId,
    /// Index of the route to its address.
    pub target: TargetId,
}

impl Destination {
    /// Whether it has a threshold, so that its connections must be counted.
    pub fn is_limited(&self) -> bool {
        self.upper != 0 || self.lower != 0
    }
}

/// Port of the FTP control connection. Its service also matches possible data connections (spec 2.5), and its
/// persistence templates hold for every port (spec 4.3).
pub const FTP: u16 = 21;
/// Source port of active FTP data connections.
pub const FTP_DATA: u16 = 20;
/// Passive FTP data connections use ports from here on; the kernel's `ip_unprivileged_port_start`.
const UNPRIVILEGED: u16 = 1024;

/// All services and destinations of one generation.
#[derive(Clone, Debug, Default)]
pub struct Services {
    /// Services by id; `None` for removed ones.
    pub services: Vec<Option<Service>>,
    /// Destinations by id, including removed ones that still have connections; `None` for freed ones.
    pub destinations: Vec<Option<Destination>>,
    /// Services by address, port and protocol.
    pub by_endpoint: HashMap<(Endpoint, u8), ServiceId>,
    /// Services by firewall mark, and whether it matches IPv6 packets.
    pub by_fwmark: HashMap<(u32, bool), ServiceId>,
    /// By family (IPv4, IPv6): whether there is any service. Without one, packets of the family go to the kernel
    /// unseen.
    pub hooked: [bool; 2],
    /// By family (IPv4, IPv6): whether there is a service for any port, to save a lookup.
    pub any_port: [bool; 2],
    /// By family (IPv4, IPv6): whether there is a service on port 21.
    pub ftp: [bool; 2],
    /// Endpoints that NAT destinations reply from, including removed destinations, and whether one is still configured.
    /// Decides which end of a packet is the client.
    pub nat_sources: HashMap<(Endpoint, u8), bool>,
    /// Addresses of NAT destinations that keep the port the client addressed, so that replies may come from any port.
    pub nat_addresses: HashSet<IpAddr>,
    /// NAT destinations of services with the SIP engine, by endpoint. A packet from them that belongs to no connection
    /// opens one; spec 9.3.
    pub call_openers: HashMap<Endpoint, DestinationId>,
    /// Endpoints of IPv4 GUE tunnels, to recognise ICMP errors about them.
    pub gue_ends: HashSet<Endpoint>,
    /// Addresses of services and NAT destinations, one of which every fragment of balanced traffic has.
    pub addresses: HashSet<IpAddr>,
}

impl Services {
    /// The service with this id.
    pub fn service(&self, id: ServiceId) -> Option<&Service> {
        self.services.get(id.0 as usize)?.as_ref()
    }

    /// The destination with this id.
    #[inline]
    pub fn destination(&self, id: DestinationId) -> Option<&Destination> {
        self.destinations.get(id.0 as usize)?.as_ref()
    }

    /// The service for a packet to `endpoint` with this mark; spec 2.5.
    pub fn lookup(&self, endpoint: Endpoint, protocol: u8, fwmark: u32) -> Option<ServiceId> {
        let ipv6 = endpoint.address.is_ipv6();
        if fwmark != 0
            && let Some(&service) = self.by_fwmark.get(&(fwmark, ipv6))
        {
            return Some(service);
        }
        let by_port = |l4_port| self.by_endpoint.get(&(Endpoint { l4_port, ..endpoint }, protocol)).copied();
        by_port(endpoint.l4_port)
            .or_else(|| {
                let is_data_port = endpoint.l4_port == FTP_DATA || endpoint.l4_port >= UNPRIVILEGED;
                let may_be_ftp = protocol == protocol::TCP && self.ftp[usize::from(ipv6)] && is_data_port;
                may_be_ftp.then(|| by_port(FTP)).flatten()
            })
            .or_else(|| self.any_port[usize::from(ipv6)].then(|| by_port(0)).flatten())
    }
}
