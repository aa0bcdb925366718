//! What an operator configures, as a worker sees it: services, their destinations, and how to find them.

use std::net::IpAddr;
use std::sync::Arc;

use hashbrown::{HashMap, HashSet};

use crate::flow::Endpoint;
use crate::time::Millis;
use crate::wire::protocol;

/// Index of a service in [`Services`]; stable over generations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceId(pub u32);

/// Index of a destination in [`Services`]; stable over generations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DestinationId(pub u32);

/// Index of a distinct destination address in [`crate::config::Snapshot::targets`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TargetId(pub u32);

/// How packets reach a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Addresses and ports are rewritten, both ways.
    Nat,
    /// Only the link-layer address changes.
    Dr,
    /// The packet travels inside another.
    Tunnel(Tunnel),
}

/// What a tunnel puts between the outer header and the packet; spec 6.6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tunnel {
    /// Nothing: RFC 2003 and RFC 2473.
    Ipip,
    /// UDP to this port, and a header of generic UDP encapsulation.
    Gue {
        /// The UDP port of the receiver.
        l4_port: u16,
        /// Whether the UDP checksum is computed. Remote checksum offload differs from that only for packets whose
        /// own checksum is not complete, which a wire never brings.
        checksum: bool,
    },
    /// Generic routing encapsulation, RFC 2784.
    Gre {
        /// Whether the optional checksum is there.
        checksum: bool,
    },
}

/// How a service chooses destinations; spec 3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names of IPVS; the module of each says what it does")]
pub enum Scheduler {
    Rr,
    Wrr,
    Lc,
    Wlc,
    Fo,
    Ovf,
    Lblc,
    Lblcr,
    Dh,
    Sh,
    Mh,
    Sed,
    Nq,
    Twos,
    /// No scheduler is bound: no destination is ever chosen.
    None,
}

/// What clients address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Name {
    /// An address, a port (0 is any) and a protocol.
    Address(Endpoint, u8),
    /// A mark, of IPv6 packets or of IPv4 ones.
    Fwmark {
        /// Never 0.
        fwmark: u32,
        /// Of IPv6 packets.
        ipv6: bool,
    },
}

impl Name {
    /// Whether clients use IPv6.
    pub fn is_ipv6(&self) -> bool {
        match self {
            Name::Address(endpoint, _) => endpoint.address.is_ipv6(),
            Name::Fwmark { ipv6, .. } => *ipv6,
        }
    }
}

/// How clients stick to a destination; spec 4.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Persistence {
    /// How long a template lives after the last new connection.
    pub timeout: Millis,
    /// Which bits of a client's address count; of IPv4 in the lower 32.
    pub mask: u128,
    /// Templates are told apart by the Call-ID of SIP too.
    pub sip: bool,
}

/// A virtual service.
#[derive(Clone, Debug)]
pub struct Service {
    /// Where clients reach it.
    pub name: Name,
    /// How destinations are chosen.
    pub scheduler: Scheduler,
    /// `sh` and `mh` look further when the first choice is not usable.
    pub fallback: bool,
    /// `sh` and `mh` hash the client's port too.
    pub hash_l4_port: bool,
    /// A UDP connection serves one packet.
    pub ops: bool,
    /// Whether and how clients stick to a destination.
    pub persistence: Option<Persistence>,
    /// Its destinations, the newest first as IPVS walks them.
    pub destinations: Vec<DestinationId>,
    /// What `dh`, `sh` and `mh` look up; empty for other schedulers.
    pub slots: Arc<[Option<DestinationId>]>,
}

/// A real server.
#[derive(Clone, Debug)]
pub struct Destination {
    /// Where it is; port 0 keeps the port that the client addressed.
    pub endpoint: Endpoint,
    /// How packets reach it.
    pub method: Method,
    /// Still configured; a removed destination stays as a ghost while it has connections.
    pub available: bool,
    /// Share of new connections; 0 gets none.
    pub weight: u32,
    /// The latest weight that was not 0, or the one it was added with; what `mh` builds on.
    pub last_weight: u32,
    /// Connections from which on it is overloaded; 0 never.
    pub upper: u32,
    /// Connections below which it is so no longer; 0 is three quarters of `upper`.
    pub lower: u32,
    /// Whom it serves.
    pub service: ServiceId,
    /// Its address's place in the network.
    pub target: TargetId,
}

impl Destination {
    /// Whether it has thresholds, so that its connections are counted.
    pub fn is_limited(&self) -> bool {
        self.upper != 0 || self.lower != 0
    }
}

/// The port of FTP's control connection, whose service also takes what may be its data; spec 2.5.
const FTP: u16 = 21;
/// The port active FTP sends data from.
pub const FTP_DATA: u16 = 20;
/// Ports from here on may be FTP data too: `ip_unprivileged_port_start`.
const UNPRIVILEGED: u16 = 1024;

/// All services and destinations of one generation.
#[derive(Clone, Debug, Default)]
pub struct Services {
    /// Services by id; a removed one leaves a hole.
    pub services: Vec<Option<Service>>,
    /// Destinations by id, ghosts included; a freed one leaves a hole.
    pub destinations: Vec<Option<Destination>>,
    /// Which service clients mean by an address, a port and a protocol.
    pub by_endpoint: HashMap<(Endpoint, u8), ServiceId>,
    /// Which service a mark means, of IPv6 packets or of IPv4 ones.
    pub by_fwmark: HashMap<(u32, bool), ServiceId>,
    /// By family (IPv4, IPv6): whether there is any service, so that packets are looked at.
    pub hooked: [bool; 2],
    /// By family (IPv4, IPv6): whether there is a service of port 0, so that looking for one is worth it.
    pub any_port: [bool; 2],
    /// By family: whether there is a service of port 21.
    pub ftp: [bool; 2],
    /// Where NAT destinations send their replies from, ghosts included, and whether one is still configured; tells
    /// which end of a packet is the client.
    pub nat_sources: HashMap<(Endpoint, u8), bool>,
    /// NAT destinations that keep the port the client addressed, so that any port may be a reply's.
    pub nat_addresses: HashSet<IpAddr>,
    /// NAT destinations of services with the `sip` engine, by where they are: a packet of theirs that no connection
    /// claims opens one; spec 9.3. Empty unless there is such a service.
    pub call_openers: HashMap<Endpoint, DestinationId>,
    /// Where GUE tunnels of IPv4 end: what errors about them quote.
    pub gue_ends: HashSet<Endpoint>,
    /// Addresses of services and NAT destinations: what a fragment of balanced traffic has at one end.
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

    /// The service that a packet with this mark to `endpoint` is for; spec 2.5.
    pub fn lookup(&self, endpoint: Endpoint, protocol: u8, fwmark: u32) -> Option<ServiceId> {
        let ipv6 = endpoint.address.is_ipv6();
        if fwmark != 0
            && let Some(&service) = self.by_fwmark.get(&(fwmark, ipv6))
        {
            return Some(service);
        }
        let of_port = |l4_port| self.by_endpoint.get(&(Endpoint { l4_port, ..endpoint }, protocol)).copied();
        of_port(endpoint.l4_port)
            .or_else(|| {
                let data = endpoint.l4_port == FTP_DATA || endpoint.l4_port >= UNPRIVILEGED;
                let may_be_ftp = protocol == protocol::TCP && self.ftp[usize::from(ipv6)] && data;
                may_be_ftp.then(|| of_port(FTP)).flatten()
            })
            .or_else(|| self.any_port[usize::from(ipv6)].then(|| of_port(0)).flatten())
    }
}
