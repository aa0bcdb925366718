//! Conversion of route messages.

use std::net::IpAddr;

use ipnet::IpNet;
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteMetric, RouteNextHop, RouteNextHopFlags,
    RouteType, RouteVia,
};

use super::{any, prefix};
use crate::model::network::RouteKind;

/// Key of a route. The kernel allows several routes with the same key; the first one is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::kernel) struct RouteKey {
    pub(in crate::kernel) destination: IpNet,
    pub(in crate::kernel) table: u32,
    pub(in crate::kernel) metric: u32,
}

/// What a route says: its kind, next hop, MTU and source address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::kernel) struct RouteEntry {
    pub(in crate::kernel) kind: RouteKind,
    pub(in crate::kernel) via: Option<IpAddr>,
    pub(in crate::kernel) interface: Option<u32>,
    pub(in crate::kernel) mtu: Option<u32>,
    pub(in crate::kernel) source: Option<IpAddr>,
    /// True for the first usable one of several next hops. Load is not spread over routers.
    pub(in crate::kernel) multipath: bool,
}

/// Returns `None` for routes that are not used: by type of service or source prefix, broadcast, multicast, and cached
/// path MTUs.
pub(in crate::kernel) fn route(message: &RouteMessage) -> Option<(RouteKey, RouteEntry)> {
    let header = &message.header;
    let concerns_us =
        header.tos == 0 && header.source_prefix_length == 0 && !header.flags.contains(RouteFlags::Cloned);
    if !concerns_us {
        return None;
    }
    let entry = RouteEntry {
        kind: kind(header.kind)?,
        via: None,
        interface: None,
        mtu: None,
        source: None,
        multipath: false,
    };
    let mut read = RouteFields {
        destination: any(header.address_family)?,
        table: header.table.into(),
        metric: 0,
        entry,
    };
    for attribute in &message.attributes {
        read.attribute(attribute);
    }
    let key = RouteKey {
        destination: prefix(read.destination, header.destination_prefix_length)?,
        table: read.table,
        metric: read.metric,
    };
    if key.destination.addr().is_multicast() {
        return None;
    }
    Some((key, read.entry))
}

fn kind(kind: RouteType) -> Option<RouteKind> {
    match kind {
        RouteType::Unicast => Some(RouteKind::Unicast),
        // An anycast address (RFC 4291, 2.6.1) is local.
        RouteType::Local | RouteType::Anycast => Some(RouteKind::Local),
        RouteType::Unreachable => Some(RouteKind::Unreachable),
        RouteType::BlackHole => Some(RouteKind::Blackhole),
        RouteType::Prohibit => Some(RouteKind::Prohibit),
        _ => None,
    }
}

struct RouteFields {
    destination: IpAddr,
    table: u32,
    metric: u32,
    entry: RouteEntry,
}

impl RouteFields {
    fn attribute(&mut self, attribute: &RouteAttribute) {
        match attribute {
            RouteAttribute::Destination(a) => self.destination = ip(a).unwrap_or(self.destination),
            // Table numbers above 255 are only here; the header then has 252 (RT_TABLE_COMPAT).
            RouteAttribute::Table(table) => self.table = *table,
            RouteAttribute::Priority(metric) => self.metric = *metric,
            RouteAttribute::PrefSource(a) => self.entry.source = ip(a),
            RouteAttribute::Metrics(metrics) => self.entry.mtu = metrics.iter().find_map(mtu),
            RouteAttribute::MultiPath(hops) => self.first_next_hop(hops),
            other => self.entry.next_hop_attribute(other),
        }
    }

    fn first_next_hop(&mut self, hops: &[RouteNextHop]) {
        self.entry.multipath = true;
        let alive = |hop: &&RouteNextHop| !hop.flags.contains(RouteNextHopFlags::Dead);
        if let Some(first) = hops.iter().find(alive) {
            self.entry.interface = Some(first.interface_index);
            first.attributes.iter().for_each(|a| self.entry.next_hop_attribute(a));
        }
    }
}

impl RouteEntry {
    /// Reads an attribute of a next hop; a route with a single next hop has these itself.
    fn next_hop_attribute(&mut self, attribute: &RouteAttribute) {
        match attribute {
            RouteAttribute::Oif(index) => self.interface = Some(*index),
            RouteAttribute::Gateway(a) => self.via = ip(a),
            RouteAttribute::Via(RouteVia::Inet(a)) => self.via = Some((*a).into()),
            RouteAttribute::Via(RouteVia::Inet6(a)) => self.via = Some((*a).into()),
            _ => {}
        }
    }
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(a) => Some((*a).into()),
        RouteAddress::Inet6(a) => Some((*a).into()),
        _ => None,
    }
}

fn mtu(metric: &RouteMetric) -> Option<u32> {
    if let RouteMetric::Mtu(mtu) = metric { Some(*mtu) } else { None }
}
