//! Links, routes, rules and neighbours, from the kernel or from the static configuration, ready for lookups.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

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

/// A link: a port, or a VLAN on it.
#[derive(Clone, Debug)]
pub struct Link {
    /// Number of the port.
    pub port: u16,
    /// The VLAN of its frames; `None` if they are untagged.
    pub vlan: Option<u16>,
    /// Whether it is up; frames that arrive on it are not balanced otherwise.
    pub up: bool,
    /// Our hardware address on the link.
    pub mac: MacBytes,
    /// Addresses of interfaces on top of the link, such as a macvlan with the address of a virtual router.
    pub other_macs: Vec<MacBytes>,
    /// Largest IP packet.
    pub mtu: u16,
    /// Our IPv4 address on the link, for packets that we originate.
    pub ipv4: Option<Ipv4Addr>,
    /// Our IPv6 address on the link, for packets that we originate.
    pub ipv6: Option<Ipv6Addr>,
}

/// A resolved neighbour with its complete frame header.
#[derive(Clone, Debug)]
#[repr(align(32))]
pub struct Hop {
    /// Ethernet header, with the tag if there is one.
    pub header: [u8; ether::TAGGED_LEN],
    /// Bytes of `header` in use.
    pub header_len: u8,
    /// Number of the port to send by.
    pub port: u16,
    /// Largest IP packet on the link.
    pub mtu: u16,
    /// Whether packets of the slow path went to it lately. The fast path marks nothing.
    pub used: Used,
}

/// Tells control that packets went to a next hop, for all workers that share the network.
#[derive(Debug, Default)]
pub struct Used(AtomicBool);

impl Used {
    /// Marks the next hop. A line that workers share is written only if it is not marked yet.
    #[inline(always)]
    pub fn mark(&self) {
        if !self.0.load(Relaxed) {
            self.0.store(true, Relaxed);
        }
    }

    /// Removes the mark and returns whether it was there.
    pub fn take(&self) -> bool {
        self.0.swap(false, Relaxed)
    }
}

impl Clone for Used {
    fn clone(&self) -> Used {
        Used(AtomicBool::new(self.0.load(Relaxed)))
    }
}

/// The next hop of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextHop {
    /// A resolved neighbour.
    Hop(HopId),
    /// A neighbour whose hardware address is not known yet.
    Unresolved(LinkId, IpAddr),
    /// This machine.
    Local,
    /// The kernel, which sends the packet by an interface that is not one of our ports.
    Kernel,
    /// None: there is no route.
    None,
}

impl NextHop {
    /// Whether the packet is passed to this machine's kernel.
    #[inline]
    pub fn goes_to_kernel(self) -> bool {
        matches!(self, NextHop::Local | NextHop::Kernel)
    }
}

/// An entry of a routing table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// Send to a router, or directly to the destination address.
    Send {
        /// The link to send by.
        link: LinkId,
        /// The router, if any.
        via: Option<IpAddr>,
        /// The route's own MTU.
        mtu: Option<u16>,
        /// The route's preferred source address.
        source: Option<IpAddr>,
    },
    /// The address belongs to this machine.
    Local,
    /// The kernel sends by an interface that is not one of our ports.
    Kernel,
    /// An unreachable, prohibit or blackhole route.
    Refuse,
}

/// A routing table other than the main one.
#[derive(Clone, Debug, Default)]
pub struct RouteTable {
    /// IPv4 routes.
    pub routes4: PrefixMap<Ipv4Net, Route>,
    /// IPv6 routes.
    pub routes6: PrefixMap<Ipv6Net, Route>,
}

/// A policy routing rule: packets that match all its conditions are looked up in `table` before the main table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Whether it applies to IPv6 packets or to IPv4 packets.
    pub ipv6: bool,
    /// Source prefix.
    pub from: Option<IpNet>,
    /// Destination prefix.
    pub to: Option<IpNet>,
    /// Firewall mark.
    pub fwmark: Option<u32>,
    /// Index in [`Network::tables`].
    pub table: usize,
}

/// The packet properties that policy routing considers besides the destination address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Source address of the packet.
    pub from: Option<IpAddr>,
    /// Firewall mark of the packet.
    pub fwmark: u32,
}

/// The route to one destination address, looked up when the configuration is compiled.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// The next hop.
    pub next: NextHop,
    /// Path MTU, as far as known from the route and the link.
    pub mtu: u16,
    /// Our source address on this route; the outer source of tunnels.
    pub source: IpAddr,
}

/// One generation of the network state.
#[derive(Clone, Debug, Default)]
pub struct Network {
    /// Generation number, to recognise outdated next hops that are stored in connections.
    pub generation: u32,
    /// All links.
    pub links: Vec<Link>,
    /// IPv4 routes.
    pub routes4: PrefixMap<Ipv4Net, Route>,
    /// IPv6 routes.
    pub routes6: PrefixMap<Ipv6Net, Route>,
    /// Policy routing rules, by priority.
    pub rules: Vec<Rule>,
    /// Routing tables of the rules.
    pub tables: Vec<RouteTable>,
    /// Resolved neighbours.
    pub neighbours: HashMap<(LinkId, IpAddr), HopId>,
    /// Frame headers of the neighbours.
    pub hops: Vec<Hop>,
    /// Routers that routes go by.
    pub routers: HashSet<(LinkId, IpAddr)>,
    /// Addresses of this machine.
    pub local: HashSet<IpAddr>,
}

impl Network {
    /// Returns a function from an EtherType to the frame header for a neighbour at `mac` on `link`.
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
            Hop { header, header_len: header_len as u8, port, mtu, used: Used::default() }
        }
    }

    /// The route to an address.
    pub fn route(&self, to: IpAddr, policy: Policy) -> Option<&Route> {
        let ruled = self.rules.iter().filter(|rule| rule.matches(to, policy)).find_map(|rule| {
            let table = self.tables.get(rule.table)?;
            longest_match(&table.routes4, &table.routes6, to)
        });
        ruled.or_else(|| longest_match(&self.routes4, &self.routes6, to))
    }

    /// Whether an address belongs to this machine, directly or by a local route.
    pub fn is_local(&self, address: IpAddr, policy: Policy) -> bool {
        self.local.contains(&address) || matches!(self.route(address, policy), Some(Route::Local))
    }

    /// Length of the longest prefix of the main table that an IPv6 address matches, 0 if there is none; 32 for IPv4, where
    /// nobody needs a lookup.
    pub fn prefix_len(&self, to: IpAddr) -> u8 {
        match to {
            IpAddr::V4(_) => 32,
            IpAddr::V6(to) => self.routes6.get_lpm(&Ipv6Net::from(to)).map_or(0, |(net, _)| net.prefix_len()),
        }
    }

    /// The target for an address without policy routing: next hop, MTU and source address.
    pub fn target(&self, to: IpAddr) -> Target {
        self.target_with_policy(to, Policy::default())
    }

    /// The target for an address with policy routing.
    pub fn target_with_policy(&self, to: IpAddr, policy: Policy) -> Target {
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

    /// The hops of the routers that are resolved.
    pub fn router_hops(&self) -> impl Iterator<Item = &Hop> {
        self.routers.iter().filter_map(|router| self.hop_at(*self.neighbours.get(router)?))
    }

    /// The neighbours that were marked since the last call, by link and address.
    pub fn take_used(&self) -> impl Iterator<Item = (LinkId, IpAddr)> + '_ {
        let used = |id: &HopId| self.hop_at(*id).is_some_and(|hop| hop.used.take());
        self.neighbours.iter().filter(move |(_, id)| used(id)).map(|(neighbour, _)| *neighbour)
    }

    /// The hop with this id.
    #[inline]
    pub fn hop_at(&self, id: HopId) -> Option<&Hop> {
        self.hops.get(id.0 as usize)
    }
}

impl Rule {
    fn matches(&self, to: IpAddr, policy: Policy) -> bool {
        let within = |net: &Option<IpNet>, address: Option<IpAddr>| {
            net.is_none_or(|net| address.is_some_and(|address| net.contains(&address)))
        };
        self.ipv6 == to.is_ipv6()
            && within(&self.to, Some(to))
            && within(&self.from, policy.from)
            && self.fwmark.is_none_or(|fwmark| fwmark == policy.fwmark)
    }
}

/// The longest matching prefix of the address's family.
fn longest_match<'a>(
    routes4: &'a PrefixMap<Ipv4Net, Route>,
    routes6: &'a PrefixMap<Ipv6Net, Route>,
    to: IpAddr,
) -> Option<&'a Route> {
    match to {
        IpAddr::V4(to) => routes4.get_lpm(&Ipv4Net::from(to)).map(|(_, route)| route),
        IpAddr::V6(to) => routes6.get_lpm(&Ipv6Net::from(to)).map(|(_, route)| route),
    }
}
