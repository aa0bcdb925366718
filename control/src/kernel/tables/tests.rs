use netlink_packet_route::AddressFamily;
use netlink_packet_route::link::{InfoData, InfoKind, InfoVlan, LinkAttribute, LinkFlags, LinkInfo};
use netlink_packet_route::neighbour::{NeighbourAttribute, NeighbourMessage, NeighbourState};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteType};

use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleMessage};

use super::*;

const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

fn message(body: RouteNetlinkMessage) -> Message {
    Message { flags: 0, body }
}

fn link(index: u32, name: &str, up: bool, vlan: Option<(u32, u16)>) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.header.flags = if up { LinkFlags::Up } else { LinkFlags::empty() };
    message.attributes = vec![
        LinkAttribute::IfName(name.into()),
        LinkAttribute::Mtu(1500),
        LinkAttribute::Address(MAC.to_vec()),
    ];
    if let Some((below, tag)) = vlan {
        message.attributes.push(LinkAttribute::Link(below));
        let data = LinkInfo::Data(InfoData::Vlan(vec![InfoVlan::Id(tag)]));
        message.attributes.push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Vlan), data]));
    }
    message
}

fn neighbour(interface: u32, state: NeighbourState) -> RouteNetlinkMessage {
    let mut message = NeighbourMessage::default();
    (message.header.ifindex, message.header.state) = (interface, state);
    message.attributes = vec![
        NeighbourAttribute::Destination(IpAddr::from([10, 0, 0, 2]).into()),
        NeighbourAttribute::LinkLayerAddress(MAC.to_vec()),
    ];
    RouteNetlinkMessage::NewNeighbour(message)
}

fn route(router: u8) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = AddressFamily::Inet;
    message.header.table = 254;
    message.header.kind = RouteType::Unicast;
    message.attributes =
        vec![RouteAttribute::Gateway(RouteAddress::Inet([10, 0, 0, router].into())), RouteAttribute::Oif(2)];
    message
}

/// A twin `krn0` of port `net0`, a VLAN on it, a VLAN on that, and a foreign interface.
fn tables() -> (Tables, Vec<Twin>) {
    let mut tables = Tables::default();
    for (index, name, vlan) in
        [(2, "krn0", None), (3, "krn0.7", Some((2, 7))), (4, "krn0.7.8", Some((3, 8))), (5, "eth0", None)]
    {
        tables.apply(&message(RouteNetlinkMessage::NewLink(link(index, name, true, vlan))));
    }
    (tables, vec![Twin { ifname: "krn0".into(), port: "net0".into(), vlan: None }])
}

#[test]
fn links_are_twins_and_single_vlans_on_them() {
    let (tables, twins) = tables();
    let network_state = tables.network_state(&twins);
    let seen: Vec<_> =
        network_state.links.iter().map(|l| (l.name.as_str(), l.port.as_str(), l.vlan)).collect();
    assert_eq!(seen, [("krn0", "net0", None), ("krn0.7", "net0", Some(7))]);
}

#[test]
fn only_neighbours_on_links_are_listed() {
    let (mut tables, twins) = tables();
    for interface in [2, 5] {
        tables.apply(&message(neighbour(interface, NeighbourState::Reachable)));
    }
    let network_state = tables.network_state(&twins);
    assert_eq!(network_state.neighbours.len(), 1);
    assert_eq!(network_state.neighbours[0].link, "krn0");
}

#[test]
fn a_neighbour_is_a_change_only_if_its_mac_address_changes() {
    let (mut tables, _) = tables();
    let steps = [
        (NeighbourState::Incomplete, Effect::None),
        (NeighbourState::Reachable, Effect::Changed),
        (NeighbourState::Stale, Effect::None),
        (NeighbourState::Failed, Effect::Changed),
        (NeighbourState::Failed, Effect::None),
    ];
    for (state, effect) in steps {
        assert_eq!(tables.apply(&message(neighbour(2, state))), effect, "{state}");
    }
}

#[test]
fn routes_are_followed_with_one_per_key_and_read_again_otherwise() {
    let (mut tables, twins) = tables();
    let new = |router| RouteNetlinkMessage::NewRoute(route(router));
    let del = |router| RouteNetlinkMessage::DelRoute(route(router));
    let steps = [
        ("the first", 0, new(1), Effect::Changed),
        ("the same again", 0, new(1), Effect::None),
        ("in its place", NLM_F_REPLACE, new(2), Effect::Changed),
        ("beside it", 0, new(3), Effect::StaleRoutes),
        ("one we do not know goes", 0, del(9), Effect::StaleRoutes),
        ("the only one goes", 0, del(2), Effect::Changed),
    ];
    for (what, flags, body, effect) in steps {
        assert_eq!(tables.apply(&Message { flags, body }), effect, "{what}");
    }
    assert_eq!(tables.network_state(&twins).routes, []);
}

#[test]
fn the_first_of_several_routes_with_one_key_is_used() {
    let (mut tables, twins) = tables();
    for router in [5, 1] {
        tables.load(&RouteNetlinkMessage::NewRoute(route(router)));
    }
    let routes = tables.network_state(&twins).routes;
    assert_eq!(routes.len(), 1);
    assert_eq!(routes[0].via, Some([10, 0, 0, 5].into()));
}

#[test]
fn a_link_that_goes_down_or_is_removed_makes_routes_stale() {
    let (mut tables, twins) = tables();
    tables.apply(&message(neighbour(2, NeighbourState::Reachable)));
    let down = RouteNetlinkMessage::NewLink(link(2, "krn0", false, None));
    assert_eq!(tables.apply(&message(down)), Effect::StaleRoutes);
    let gone = RouteNetlinkMessage::DelLink(link(2, "krn0", false, None));
    assert_eq!(tables.apply(&message(gone)), Effect::StaleRoutes);
    let network_state = tables.network_state(&twins);
    assert_eq!(
        (network_state.links.len(), network_state.neighbours.len()),
        (0, 0),
        "a VLAN without its twin is no link"
    );
}

#[test]
fn a_routing_table_is_listed_while_a_rule_refers_to_it() {
    let (mut tables, twins) = tables();
    let mut elsewhere = route(1);
    elsewhere.header.table = 55;
    tables.apply(&message(RouteNetlinkMessage::NewRoute(elsewhere)));
    assert_eq!(tables.network_state(&twins).routes, [], "no rule names table 55");
    let rule = |priority| {
        let mut message = RuleMessage::default();
        (message.header.family, message.header.table) = (AddressFamily::Inet, 55);
        message.header.action = RuleAction::ToTable;
        message.attributes = vec![RuleAttribute::Priority(priority), RuleAttribute::FwMark(7)];
        message
    };
    let steps = [
        ("a rule", RouteNetlinkMessage::NewRule(rule(200)), Effect::Changed),
        ("one before it", RouteNetlinkMessage::NewRule(rule(100)), Effect::Changed),
        ("the same again", RouteNetlinkMessage::NewRule(rule(100)), Effect::None),
    ];
    for (what, body, effect) in steps {
        assert_eq!(tables.apply(&message(body)), effect, "{what}");
    }
    let network_state = tables.network_state(&twins);
    assert_eq!(network_state.rules.iter().map(|rule| rule.priority).collect::<Vec<_>>(), [100, 200]);
    assert_eq!(network_state.routes.iter().map(|route| route.table).collect::<Vec<_>>(), [55]);
    for priority in [100, 200] {
        let gone = RouteNetlinkMessage::DelRule(rule(priority));
        assert_eq!(tables.apply(&message(gone)), Effect::Changed);
    }
    assert_eq!(tables.network_state(&twins), NetworkState { routes: vec![], rules: vec![], ..network_state });
}

/// Address of virtual router 51.
const VIRTUAL_ROUTER: [u8; 6] = [0, 0, 0x5e, 0, 1, 51];

/// A macvlan on another interface.
fn macvlan(index: u32, below: u32, up: bool) -> LinkMessage {
    let mut message = link(index, "vrrp.51", up, None);
    message.attributes.retain(|attribute| !matches!(attribute, LinkAttribute::Address(_)));
    message.attributes.extend([
        LinkAttribute::Address(VIRTUAL_ROUTER.to_vec()),
        LinkAttribute::Link(below),
        LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::MacVlan)]),
    ]);
    message
}

#[test]
fn addresses_on_top_of_a_link_are_its_other_addresses() {
    let (mut tables, twins) = tables();
    let mut seen = |change: LinkMessage| -> Vec<(String, Vec<Mac>)> {
        tables.apply(&message(RouteNetlinkMessage::NewLink(change)));
        let links = tables.network_state(&twins).links;
        links.into_iter().map(|link| (link.name, link.other_macs)).collect()
    };
    let router = vec![Mac(VIRTUAL_ROUTER)];
    assert_eq!(seen(macvlan(9, 3, true)), [("krn0".into(), vec![]), ("krn0.7".into(), router.clone())]);
    assert_eq!(seen(macvlan(9, 3, false))[1].1, [], "it is down");
    // The twin becomes a port of bridge 8, which has a macvlan.
    let mut port = link(2, "krn0", true, None);
    port.attributes.push(LinkAttribute::Controller(8));
    let mut bridge = link(8, "br0", true, None);
    bridge.attributes.push(LinkAttribute::Address(vec![2, 0, 0, 0, 0, 8]));
    seen(port);
    assert_eq!(seen(bridge)[0].1, [Mac([2, 0, 0, 0, 0, 8])]);
    assert_eq!(seen(macvlan(9, 8, true))[0].1, [router, vec![Mac([2, 0, 0, 0, 0, 8])]].concat());
}

#[test]
fn a_link_is_up_or_down() {
    let (mut tables, twins) = tables();
    assert!(tables.network_state(&twins).links[0].up);
    tables.apply(&message(RouteNetlinkMessage::NewLink(link(2, "krn0", false, None))));
    assert!(!tables.network_state(&twins).links[0].up);
}
