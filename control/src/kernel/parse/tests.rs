use netlink_packet_route::link::{InfoKind, LinkHeader};
use netlink_packet_route::neighbour::NeighbourHeader;
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteNextHop, RouteNextHopFlags, RouteType,
    RouteVia,
};

use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleMessage};

use super::*;
use crate::model::network::RouteKind;

fn link(attributes: Vec<LinkAttribute>) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header = LinkHeader { index: 5, flags: LinkFlags::Up, ..Default::default() };
    message.attributes = vec![LinkAttribute::IfName("krn0".into()), LinkAttribute::Mtu(1500)];
    message.attributes.extend(attributes);
    message
}

fn vlan(protocol: VlanProtocol) -> LinkAttribute {
    let data = InfoData::Vlan(vec![InfoVlan::Protocol(protocol), InfoVlan::Id(7)]);
    LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Vlan), LinkInfo::Data(data)])
}

#[test]
fn a_vlan_interface_has_a_lower_interface_and_a_vlan_id() {
    let below = LinkAttribute::Link(2);
    let rows = [
        ("a plain interface", vec![], None),
        ("802.1Q", vec![below.clone(), vlan(VlanProtocol::Ieee8021Q)], Some((2, 7))),
        ("802.1ad is not ours", vec![below.clone(), vlan(VlanProtocol::Ieee8021Ad)], None),
        ("veth has a link but no tag", vec![below.clone()], None),
        (
            "below it is another namespace",
            vec![below, LinkAttribute::LinkNetNsId(0), vlan(VlanProtocol::Ieee8021Q)],
            None,
        ),
    ];
    for (what, attributes, tagged) in rows {
        assert_eq!(interface(&link(attributes)).unwrap().tagged, tagged, "{what}");
    }
}

#[test]
fn bridge_port_messages_are_ignored() {
    let mut message = link(vec![]);
    message.header.interface_family = AddressFamily::Bridge;
    assert_eq!(interface(&message), None);
}

#[test]
fn the_local_address_of_a_point_to_point_link_is_used() {
    let [ours, peers] = ["10.0.0.1", "10.0.0.2"].map(|a| a.parse::<IpAddr>().unwrap());
    let mut message = AddressMessage::default();
    message.attributes = vec![AddressAttribute::Address(peers), AddressAttribute::Local(ours)];
    assert_eq!(address(&message).unwrap().address, ours);
    message.attributes.pop();
    assert_eq!(address(&message).unwrap().address, peers, "IPv6 has only this one");
}

#[test]
fn neighbours_are_usable_in_states_with_a_mac_address() {
    let hardware = Some(Mac([2, 0, 0, 0, 0, 2]));
    for (state, usable) in [
        (NeighbourState::Reachable, hardware),
        (NeighbourState::Stale, hardware),
        (NeighbourState::Delay, hardware),
        (NeighbourState::Probe, hardware),
        (NeighbourState::Permanent, hardware),
        (NeighbourState::Noarp, hardware),
        (NeighbourState::Incomplete, None),
        (NeighbourState::Failed, None),
        (NeighbourState::None, None),
    ] {
        let mut message = NeighbourMessage::default();
        message.header = NeighbourHeader { ifindex: 5, state, ..Default::default() };
        let ip: IpAddr = "10.0.0.2".parse().unwrap();
        message.attributes = vec![
            NeighbourAttribute::Destination(ip.into()),
            NeighbourAttribute::LinkLayerAddress(vec![2, 0, 0, 0, 0, 2]),
        ];
        assert_eq!(neighbour(&message), Some(((5, ip), usable)), "{state}");
        message.header.flags = NeighbourFlags::Proxy;
        assert_eq!(neighbour(&message), None, "a proxy row leads nowhere");
    }
}

fn v4(kind: RouteType, table: u8, attributes: Vec<RouteAttribute>) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header = RouteHeader {
        address_family: AddressFamily::Inet,
        destination_prefix_length: 8,
        table,
        kind,
        ..Default::default()
    };
    message.attributes = vec![RouteAttribute::Destination(RouteAddress::Inet([10, 0, 0, 0].into()))];
    message.attributes.extend(attributes);
    message
}

#[test]
fn irrelevant_routes_are_ignored() {
    let rows = [
        ("main", RouteType::Unicast, 254, Some(RouteKind::Unicast)),
        ("local", RouteType::Local, 255, Some(RouteKind::Local)),
        ("anycast is ours", RouteType::Anycast, 255, Some(RouteKind::Local)),
        ("blackhole", RouteType::BlackHole, 254, Some(RouteKind::Blackhole)),
        ("unreachable", RouteType::Unreachable, 254, Some(RouteKind::Unreachable)),
        ("prohibit", RouteType::Prohibit, 254, Some(RouteKind::Prohibit)),
        ("broadcast", RouteType::Broadcast, 255, None),
        ("multicast", RouteType::Multicast, 254, None),
        ("another table", RouteType::Unicast, 100, Some(RouteKind::Unicast)),
    ];
    for (what, kind, table, wanted) in rows {
        assert_eq!(route(&v4(kind, table, vec![])).map(|(_, entry)| entry.kind), wanted, "{what}");
    }
    let far = v4(RouteType::Unicast, 252, vec![RouteAttribute::Table(1000)]);
    assert_eq!(route(&far).unwrap().0.table, 1000, "a table number above 255");
}

#[test]
fn a_next_hop_may_be_of_the_other_family() {
    let via = RouteAttribute::Via(RouteVia::Inet6("fe80::9".parse().unwrap()));
    let (key, entry) = route(&v4(RouteType::Unicast, 254, vec![via, RouteAttribute::Oif(3)])).unwrap();
    assert_eq!(key.destination.to_string(), "10.0.0.0/8");
    assert_eq!((entry.via.unwrap().to_string().as_str(), entry.interface), ("fe80::9", Some(3)));
}

#[test]
fn the_first_usable_of_several_next_hops_is_used() {
    let next = |index, flags| {
        let mut hop = RouteNextHop::default();
        (hop.interface_index, hop.flags) = (index, flags);
        hop.attributes = vec![RouteAttribute::Gateway(RouteAddress::Inet([10, 0, 0, index as u8].into()))];
        hop
    };
    let hops = vec![next(2, RouteNextHopFlags::Dead), next(3, RouteNextHopFlags::empty())];
    let (_, entry) = route(&v4(RouteType::Unicast, 254, vec![RouteAttribute::MultiPath(hops)])).unwrap();
    assert_eq!(
        (entry.interface, entry.via.unwrap().to_string().as_str(), entry.multipath),
        (Some(3), "10.0.0.3", true)
    );
}

#[test]
fn a_default_route_has_a_destination_of_its_family() {
    let mut message = v4(RouteType::Unicast, 254, vec![]);
    message.attributes.clear();
    message.header.destination_prefix_length = 0;
    assert_eq!(route(&message).unwrap().0.destination.to_string(), "0.0.0.0/0");
    message.header.address_family = AddressFamily::Inet6;
    assert_eq!(route(&message).unwrap().0.destination.to_string(), "::/0");
}

#[test]
fn irrelevant_rules_are_ignored() {
    let read = |table: u8, attributes: Vec<RuleAttribute>| {
        let mut message = RuleMessage::default();
        (message.header.family, message.header.action) = (AddressFamily::Inet, RuleAction::ToTable);
        (message.header.table, message.header.src_len) = (table, 24);
        message.attributes = vec![RuleAttribute::Priority(100)];
        message.attributes.extend(attributes);
        rule(&message)
    };
    let from = RuleAttribute::Source([10, 9, 9, 0].into());
    let by_source = read(55, vec![from.clone(), RuleAttribute::SuppressPrefixLen(u32::MAX)]).unwrap();
    assert_eq!((by_source.from.unwrap().to_string().as_str(), by_source.table), ("10.9.9.0/24", 55));
    let by_fwmark = read(77, vec![RuleAttribute::FwMark(7), RuleAttribute::FwMask(u32::MAX)]).unwrap();
    assert_eq!((by_fwmark.fwmark, by_fwmark.priority), (Some(7), 100));
    assert_eq!(read(252, vec![RuleAttribute::Table(1000)]).unwrap().table, 1000);
    for (what, table, attributes) in [
        ("what every machine has", 254, vec![]),
        ("some bits of a fwmark", 77, vec![RuleAttribute::FwMark(7), RuleAttribute::FwMask(15)]),
        ("by interface", 77, vec![RuleAttribute::Iifname("eth0".into())]),
        ("only long prefixes", 77, vec![RuleAttribute::SuppressPrefixLen(0)]),
    ] {
        assert_eq!(read(table, attributes), None, "{what}");
    }
}
