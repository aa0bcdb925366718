//! Network state of the machine on which the golden traces were recorded: two links, their neighbours and routes.
//! The VIPs are local routes, not addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::balancer::Side;
use crate::model::network::{Address, Link, MAIN, Mac, Neighbour, NetworkState, Route, RouteKind};

/// Hosts 2 to this number exist on each side.
const LAST_HOST: u8 = 64;

const CLIENTS_V4: IpNet = net4([10, 0, 1, 0], 24);
const SERVERS_V4: IpNet = net4([10, 0, 2, 0], 24);
const BEHIND_ROUTER: IpNet = net4([10, 3, 0, 0], 16);
const VIPS_V4: IpNet = net4([10, 9, 9, 0], 24);
const DEFAULT_V4: IpNet = net4([0; 4], 0);
const CLIENTS_V6: IpNet = net6(0xfd00, 1, 64);
const SERVERS_V6: IpNet = net6(0xfd00, 2, 64);
const VIPS_V6: IpNet = net6(0xfd00, 9, 64);
const DEFAULT_V6: IpNet = net6(0, 0, 0);

const fn net4([a, b, c, d]: [u8; 4], len: u8) -> IpNet {
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), len))
}

const fn net6(first: u16, second: u16, len: u8) -> IpNet {
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(first, second, 0, 0, 0, 0, 0, 0), len))
}

/// The network state.
pub fn network_state() -> NetworkState {
    NetworkState {
        links: links(),
        addresses: addresses(),
        routes: routes(),
        rules: Vec::new(),
        neighbours: neighbours(),
    }
}

/// Returns true if packets to this address are delivered locally.
pub fn is_local(network_state: &NetworkState, address: IpAddr) -> bool {
    let local = |r: &Route| r.kind == RouteKind::Local && r.table == MAIN && r.destination.contains(&address);
    network_state.addresses.iter().any(|a| a.address == address) || network_state.routes.iter().any(local)
}

/// The interface of a router.
pub fn link_to(router: IpAddr) -> Option<&'static str> {
    let near = |side: &Side| {
        let nets = [CLIENTS_V4, SERVERS_V4, CLIENTS_V6, SERVERS_V6];
        let of_side = nets.iter().skip(*side as usize).step_by(2);
        of_side.into_iter().any(|net| net.contains(&router))
    };
    Side::ALL.into_iter().find(near).map(device)
}

/// Returns true for an address of one of the links.
pub fn is_own(address: IpAddr) -> bool {
    addresses().iter().any(|a| a.address == address)
}

/// The recorded machine's interface on a side.
pub fn device(side: Side) -> &'static str {
    match side {
        Side::Client => "vec0",
        Side::Server => "vec1",
    }
}

/// The port for an interface.
pub fn port_of(name: &str) -> Option<&'static str> {
    Side::ALL.into_iter().find(|side| device(*side) == name).map(Side::name)
}

fn number(side: Side) -> u8 {
    match side {
        Side::Client => 1,
        Side::Server => 2,
    }
}

fn mac(side: Side, last: u8) -> Mac {
    Mac([0x02, 0, 0, 0, number(side), last])
}

fn v4(side: Side, last: u8) -> IpAddr {
    Ipv4Addr::new(10, 0, number(side), last).into()
}

fn v6(side: Side, last: u16) -> IpAddr {
    Ipv6Addr::new(0xfd00, number(side).into(), 0, 0, 0, 0, 0, last).into()
}

fn links() -> Vec<Link> {
    let link = |side: Side| {
        let (name, port) = (device(side).to_owned(), side.name().to_owned());
        Link { port, name, vlan: None, up: true, mac: mac(side, 1), other_macs: Vec::new(), mtu: 1500 }
    };
    Side::ALL.map(link).into()
}

fn addresses() -> Vec<Address> {
    let both = |side: Side| {
        [(v4(side, 1), 24), (v6(side, 1), 64)].map(|(address, prefix_len)| Address {
            address,
            prefix_len,
            link: device(side).to_owned(),
        })
    };
    Side::ALL.into_iter().flat_map(both).collect()
}

fn routes() -> Vec<Route> {
    let local = |destination| Route { kind: RouteKind::Local, ..route(destination, None, "lo") };
    vec![
        route(CLIENTS_V4, None, "vec0"),
        route(SERVERS_V4, None, "vec1"),
        route(DEFAULT_V4, Some(v4(Side::Client, 254)), "vec0"),
        route(BEHIND_ROUTER, Some(v4(Side::Server, 254)), "vec1"),
        local(VIPS_V4),
        route(CLIENTS_V6, None, "vec0"),
        route(SERVERS_V6, None, "vec1"),
        route(DEFAULT_V6, Some(v6(Side::Client, 0xfe)), "vec0"),
        local(VIPS_V6),
    ]
}

/// A plain route.
pub(super) fn route(destination: IpNet, via: Option<IpAddr>, link: &str) -> Route {
    let link = Some(link.to_owned());
    Route {
        destination,
        kind: RouteKind::Unicast,
        via,
        link,
        mtu: None,
        source: None,
        metric: 0,
        table: MAIN,
    }
}

fn neighbours() -> Vec<Neighbour> {
    let mut all = Vec::new();
    for side in Side::ALL {
        let mut add = |address, last| {
            all.push(Neighbour { link: device(side).to_owned(), address, mac: mac(side, last) });
        };
        add(v4(side, 254), 0xfe);
        add(v6(side, 0xfe), 0xfe);
        for host in 2..=LAST_HOST {
            add(v4(side, host), host);
            if side == Side::Server {
                add(v6(side, host.into()), host);
            }
        }
    }
    all
}
