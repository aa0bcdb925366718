//! The machine the golden conversations were recorded on, as static facts: two links, their neighbours, and the
//! routes between them. The VIPs are local routes, not addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::balancer::Side;
use crate::kernel::facts::{Address, Facts, Link, Mac, Neighbour, Route, RouteKind};

/// Hosts 2 to this number exist on each side.
const LAST_HOST: u8 = 64;

/// The recorded machine.
pub fn facts() -> Facts {
    Facts { links: links(), addresses: addresses(), routes: routes(), neighbours: neighbours() }
}

/// Whether the machine takes packets to this address for its own.
pub fn is_local(facts: &Facts, address: IpAddr) -> bool {
    let local = |r: &Route| r.kind == RouteKind::Local && r.destination.contains(&address);
    facts.addresses.iter().any(|a| a.address == address) || facts.routes.iter().any(local)
}

/// Whether it is an address of one of the machine's links.
pub fn is_own(address: IpAddr) -> bool {
    addresses().iter().any(|a| a.address == address)
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
        let name = side.name().to_owned();
        Link { port: name.clone(), name, vlan: None, mac: mac(side, 1), mtu: 1500 }
    };
    Side::ALL.map(link).into()
}

fn addresses() -> Vec<Address> {
    let both = |side: Side| {
        [(v4(side, 1), 24), (v6(side, 1), 64)].map(|(address, prefix_len)| Address {
            address,
            prefix_len,
            link: side.name().to_owned(),
        })
    };
    Side::ALL.into_iter().flat_map(both).collect()
}

fn routes() -> Vec<Route> {
    let ten = |second, third, len| net4(Ipv4Addr::new(10, second, third, 0), len);
    let fd = |second, len| net6(Ipv6Addr::new(0xfd00, second, 0, 0, 0, 0, 0, 0), len);
    vec![
        route(ten(0, 1, 24), None, "client"),
        route(ten(0, 2, 24), None, "server"),
        route(net4(Ipv4Addr::UNSPECIFIED, 0), Some(v4(Side::Client, 254)), "client"),
        route(ten(3, 0, 16), Some(v4(Side::Server, 254)), "server"),
        local(ten(9, 9, 24)),
        route(fd(1, 64), None, "client"),
        route(fd(2, 64), None, "server"),
        route(net6(Ipv6Addr::UNSPECIFIED, 0), Some(v6(Side::Client, 0xfe)), "client"),
        local(fd(9, 64)),
    ]
}

/// A plain route.
pub(super) fn route(destination: IpNet, via: Option<IpAddr>, link: &str) -> Route {
    let link = Some(link.to_owned());
    Route { destination, kind: RouteKind::Unicast, via, link, mtu: None, source: None, metric: 0 }
}

fn local(destination: IpNet) -> Route {
    Route { kind: RouteKind::Local, ..route(destination, None, "lo") }
}

fn net4(address: Ipv4Addr, len: u8) -> IpNet {
    Ipv4Net::new_assert(address, len).into()
}

fn net6(address: Ipv6Addr, len: u8) -> IpNet {
    Ipv6Net::new_assert(address, len).into()
}

fn neighbours() -> Vec<Neighbour> {
    let mut all = Vec::new();
    for side in Side::ALL {
        let mut add = |address, last| {
            all.push(Neighbour { link: side.name().to_owned(), address, mac: mac(side, last) });
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
