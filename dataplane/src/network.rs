//! What the kernel, or the configuration, knows of the network: links, routes and neighbours, ready for lookups.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hashbrown::{HashMap, HashSet};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use prefix_trie::PrefixMap;

use crate::wire::ether::{self, MacBytes};

/// Index of a link in [`Network::links`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LinkId(pub u16);

/// Index of a hop in [`Network::hops`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HopId(pub u32);

/// A way out: a port, with or without a VLAN tag.
#[derive(Clone, Debug)]
pub struct Link {
    /// Number of the port.
    pub port: u16,
    /// The tag its frames carry.
    pub vlan: Option<u16>,
    /// Our hardware address there.
    pub mac: MacBytes,
    /// Largest IP packet.
    pub mtu: u16,
    /// Our IPv4 address there, for what we send ourselves.
    pub ipv4: Option<Ipv4Addr>,
    /// Our IPv6 address there.
    pub ipv6: Option<Ipv6Addr>,
}

/// A neighbour with its frame header written out.
#[derive(Clone, Debug)]
#[repr(align(32))]
pub struct Hop {
    /// Ethernet header, with the tag if there is one.
    pub header: [u8; ether::TAGGED_LEN],
    /// Bytes of `header` in use.
    pub header_len: u8,
    /// Number of the port to leave by.
    pub port: u16,
    /// Largest IP packet on the link.
    pub mtu: u16,
}

/// Where a packet goes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextHop {
    /// To this neighbour.
    Hop(HopId),
    /// To a neighbour whose hardware address is not known yet.
    Unresolved(LinkId, IpAddr),
    /// To this machine.
    Local,
    /// To this machine's kernel, which sends it out of an interface that is none of our ports.
    Kernel,
    /// Nowhere.
    None,
}

impl NextHop {
    /// Whether the packet goes no further than this machine's kernel.
    #[inline]
    pub fn stays_here(self) -> bool {
        matches!(self, NextHop::Local | NextHop::Kernel)
    }
}

/// What a routing table entry says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// Send to the router, or to the receiver itself where there is none.
    Send {
        /// Out of this link.
        link: LinkId,
        /// To this router.
        via: Option<IpAddr>,
        /// The route's own MTU.
        mtu: Option<u16>,
        /// The source address it prefers.
        source: Option<IpAddr>,
    },
    /// The address is this machine's.
    Local,
    /// Out of an interface that is none of our ports: the kernel sends there.
    Kernel,
    /// Unreachable, prohibited, blackhole.
    Refuse,
}

/// A table of routes beside the main one.
#[derive(Clone, Debug, Default)]
pub struct RouteTable {
    /// Routes of IPv4.
    pub routes4: PrefixMap<Ipv4Net, Route>,
    /// Routes of IPv6.
    pub routes6: PrefixMap<Ipv6Net, Route>,
}

/// A rule of policy routing: packets that fit all it names look into `table` before the main one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Of IPv6 packets, or of IPv4 ones.
    pub ipv6: bool,
    /// Where the packet comes from.
    pub from: Option<IpNet>,
    /// Where it goes.
    pub to: Option<IpNet>,
    /// Its mark.
    pub fwmark: Option<u32>,
    /// Index in [`Network::tables`].
    pub table: usize,
}

/// What of a packet policy routing looks at besides its receiver.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Its source address.
    pub from: Option<IpAddr>,
    /// Its mark.
    pub fwmark: u32,
}

/// What a worker needs to reach one destination address, looked up when the configuration is compiled.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// The neighbour to send to.
    pub next: NextHop,
    /// Largest IP packet on the way, as far as is known.
    pub mtu: u16,
    /// Our address on the way there: the outer source of tunnels.
    pub source: IpAddr,
}

/// One generation of facts about the network.
#[derive(Clone, Debug, Default)]
pub struct Network {
    /// Counts generations, so that next hops kept in connections can be told to be old.
    pub generation: u32,
    /// Ways out.
    pub links: Vec<Link>,
    /// Routes of IPv4.
    pub routes4: PrefixMap<Ipv4Net, Route>,
    /// Routes of IPv6.
    pub routes6: PrefixMap<Ipv6Net, Route>,
    /// Which packets look into another table first, in the order of their priority.
    pub rules: Vec<Rule>,
    /// The other tables.
    pub tables: Vec<RouteTable>,
    /// Known neighbours.
    pub neighbours: HashMap<(LinkId, IpAddr), HopId>,
    /// Their frame headers.
    pub hops: Vec<Hop>,
    /// Addresses of this machine.
    pub local: HashSet<IpAddr>,
}

impl Network {
    /// The frame header for a neighbour at `mac` on `link`.
    pub fn hop(link: &Link, mac: MacBytes) -> impl Fn(u16) -> Hop + use<> {
        let (port, mtu, source, vlan) = (link.port, link.mtu, link.mac, link.vlan);
        move |ethertype| {
            let mut header = [0; ether::TAGGED_LEN];
            header[..6].copy_from_slice(&mac);
            header[6..12].copy_from_slice(&source);
            let header_len = match vlan {
                None => {
                    header[12..14].copy_from_slice(&ethertype.to_be_bytes());
                    ether::LEN
                }
                Some(vlan) => {
                    header[12..14].copy_from_slice(&ether::VLAN.to_be_bytes());
                    header[14..16].copy_from_slice(&vlan.to_be_bytes());
                    header[16..18].copy_from_slice(&ethertype.to_be_bytes());
                    ether::TAGGED_LEN
                }
            };
            Hop { header, header_len: header_len as u8, port, mtu }
        }
    }

    /// The route an address takes.
    pub fn route(&self, to: IpAddr, policy: Policy) -> Option<&Route> {
        let ruled = self.rules.iter().filter(|rule| rule.fits(to, policy)).find_map(|rule| {
            let table = self.tables.get(rule.table)?;
            longest(&table.routes4, &table.routes6, to)
        });
        ruled.or_else(|| longest(&self.routes4, &self.routes6, to))
    }

    /// Whether an address is this machine's, by itself or by a local route.
    pub fn is_local(&self, address: IpAddr, policy: Policy) -> bool {
        self.local.contains(&address) || matches!(self.route(address, policy), Some(Route::Local))
    }

    /// The way to an address by the main table: next hop, MTU and our own address on the way.
    pub fn target(&self, to: IpAddr) -> Target {
        self.target_by(to, Policy::default())
    }

    /// The way to an address for a packet that rules may send elsewhere.
    pub fn target_by(&self, to: IpAddr, policy: Policy) -> Target {
        let unspecified =
            if to.is_ipv4() { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { IpAddr::V6(Ipv6Addr::UNSPECIFIED) };
        if self.local.contains(&to) {
            return Target { next: NextHop::Local, mtu: u16::MAX, source: to };
        }
        match self.route(to, policy) {
            Some(Route::Local) => Target { next: NextHop::Local, mtu: u16::MAX, source: to },
            Some(Route::Kernel) => Target { next: NextHop::Kernel, mtu: u16::MAX, source: unspecified },
            Some(&Route::Send { link, via, mtu, source }) => {
                let ours = &self.links[usize::from(link.0)];
                let receiver = via.unwrap_or(to);
                let next = match self.neighbours.get(&(link, receiver)) {
                    Some(&hop) => NextHop::Hop(hop),
                    None => NextHop::Unresolved(link, receiver),
                };
                let own: Option<IpAddr> =
                    if to.is_ipv4() { ours.ipv4.map(IpAddr::V4) } else { ours.ipv6.map(IpAddr::V6) };
                Target {
                    next,
                    mtu: mtu.unwrap_or(ours.mtu).min(ours.mtu),
                    source: source.or(own).unwrap_or(unspecified),
                }
            }
            Some(Route::Refuse) | None => Target { next: NextHop::None, mtu: u16::MAX, source: unspecified },
        }
    }

    /// The hop with this id.
    #[inline]
    pub fn hop_at(&self, id: HopId) -> Option<&Hop> {
        self.hops.get(id.0 as usize)
    }
}

impl Rule {
    fn fits(&self, to: IpAddr, policy: Policy) -> bool {
        let within = |net: &Option<IpNet>, address: Option<IpAddr>| {
            net.is_none_or(|net| address.is_some_and(|address| net.contains(&address)))
        };
        self.ipv6 == to.is_ipv6()
            && within(&self.to, Some(to))
            && within(&self.from, policy.from)
            && self.fwmark.is_none_or(|fwmark| fwmark == policy.fwmark)
    }
}

fn longest<'a>(
    routes4: &'a PrefixMap<Ipv4Net, Route>,
    routes6: &'a PrefixMap<Ipv6Net, Route>,
    to: IpAddr,
) -> Option<&'a Route> {
    match to {
        IpAddr::V4(to) => routes4.get_lpm(&Ipv4Net::from(to)).map(|(_, route)| route),
        IpAddr::V6(to) => routes6.get_lpm(&Ipv6Net::from(to)).map(|(_, route)| route),
    }
}
