//! Routes: of all that a kernel's route can say, what [`Route`](crate::kernel::facts::Route) can repeat.

use std::net::IpAddr;

use ipnet::IpNet;
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteMetric, RouteNextHop, RouteNextHopFlags,
    RouteType, RouteVia,
};

use super::{any, prefix};
use crate::model::network_config::RouteKind;

/// What tells two routes apart. The kernel allows several rows with one key; then the first is the one in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::kernel) struct RouteKey {
    pub(in crate::kernel) destination: IpNet,
    pub(in crate::kernel) table: u32,
    pub(in crate::kernel) metric: u32,
}

/// Where a route leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::kernel) struct Hop {
    pub(in crate::kernel) kind: RouteKind,
    pub(in crate::kernel) via: Option<IpAddr>,
    pub(in crate::kernel) interface: Option<u32>,
    pub(in crate::kernel) mtu: Option<u32>,
    pub(in crate::kernel) source: Option<IpAddr>,
    /// One of several next hops: the first that is alive. A flow is never split, so one is enough for correctness,
    /// though not for spreading load over routers.
    pub(in crate::kernel) of_many: bool,
}

/// None for what a load balancer does not route by: a type of service, a source prefix, broadcast and
/// multicast, and the kernel's cache of learnt path MTUs.
pub(in crate::kernel) fn route(message: &RouteMessage) -> Option<(RouteKey, Hop)> {
    let header = &message.header;
    let concerns_us =
        header.tos == 0 && header.source_prefix_length == 0 && !header.flags.contains(RouteFlags::Cloned);
    if !concerns_us {
        return None;
    }
    let hop =
        Hop { kind: kind(header.kind)?, via: None, interface: None, mtu: None, source: None, of_many: false };
    let mut read =
        Reading { destination: any(header.address_family)?, table: header.table.into(), metric: 0, hop };
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
    Some((key, read.hop))
}

fn kind(kind: RouteType) -> Option<RouteKind> {
    match kind {
        RouteType::Unicast => Some(RouteKind::Unicast),
        // An anycast address (RFC 4291, 2.6.1) is received here like any other of ours.
        RouteType::Local | RouteType::Anycast => Some(RouteKind::Local),
        RouteType::Unreachable => Some(RouteKind::Unreachable),
        RouteType::BlackHole => Some(RouteKind::Blackhole),
        RouteType::Prohibit => Some(RouteKind::Prohibit),
        _ => None,
    }
}

struct Reading {
    destination: IpAddr,
    table: u32,
    metric: u32,
    hop: Hop,
}

impl Reading {
    fn attribute(&mut self, attribute: &RouteAttribute) {
        match attribute {
            RouteAttribute::Destination(a) => self.destination = ip(a).unwrap_or(self.destination),
            // Table numbers above 255 only fit here; the header then says 252, "compatibility".
            RouteAttribute::Table(table) => self.table = *table,
            RouteAttribute::Priority(metric) => self.metric = *metric,
            RouteAttribute::PrefSource(a) => self.hop.source = ip(a),
            RouteAttribute::Metrics(metrics) => self.hop.mtu = metrics.iter().find_map(mtu),
            RouteAttribute::MultiPath(hops) => self.first_of(hops),
            other => self.hop.step(other),
        }
    }

    fn first_of(&mut self, hops: &[RouteNextHop]) {
        self.hop.of_many = true;
        let alive = |hop: &&RouteNextHop| !hop.flags.contains(RouteNextHopFlags::Dead);
        if let Some(first) = hops.iter().find(alive) {
            self.hop.interface = Some(first.interface_index);
            first.attributes.iter().for_each(|a| self.hop.step(a));
        }
    }
}

impl Hop {
    /// The attributes that a route with one next hop has itself, and a route with many has in each.
    fn step(&mut self, attribute: &RouteAttribute) {
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
