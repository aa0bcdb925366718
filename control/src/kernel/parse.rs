//! Conversion of netlink messages to the fields that the data plane uses. Irrelevant messages become `None`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoVlan, LinkAttribute, LinkFlags, LinkInfo, LinkMessage, VlanProtocol,
};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};

use crate::model::network::Mac;

pub(super) use route::{RouteEntry, RouteKey, route};
pub(super) use rule::rule;

mod route;
mod rule;

/// An interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Interface {
    pub(super) name: String,
    /// None for an interface without Ethernet addresses, such as a tunnel.
    pub(super) mac: Option<Mac>,
    pub(super) mtu: u32,
    /// Administratively up, and with a carrier. Routes depend on both and may change without a message.
    pub(super) state: (bool, bool),
    /// For a VLAN sub-interface: index of the lower interface, and VLAN ID.
    pub(super) tagged: Option<(u32, u16)>,
    /// For a macvlan: index of the lower interface.
    pub(super) macvlan_on: Option<u32>,
    /// Index of the bridge or bond that the interface is a port of.
    pub(super) master: Option<u32>,
}

/// An address and its interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct AddressRow {
    pub(super) interface: u32,
    pub(super) address: IpAddr,
    pub(super) prefix_len: u8,
}

pub(super) fn interface(message: &LinkMessage) -> Option<Interface> {
    // RTM_NEWLINK of the bridge family describes a bridge port, not the interface.
    if message.header.interface_family != AddressFamily::Unspec {
        return None;
    }
    let flags = message.header.flags;
    let mut interface = Interface {
        name: String::new(),
        mac: None,
        mtu: 0,
        state: (flags.contains(LinkFlags::Up), flags.contains(LinkFlags::LowerUp)),
        tagged: None,
        macvlan_on: None,
        master: None,
    };
    let (mut below, mut tag, mut is_macvlan, mut elsewhere) = (None, None, false, false);
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => interface.name.clone_from(name),
            LinkAttribute::Mtu(mtu) => interface.mtu = *mtu,
            LinkAttribute::Address(bytes) => interface.mac = mac(bytes),
            LinkAttribute::Link(index) => below = Some(*index),
            // The lower interface is in another network namespace, with indices of its own.
            LinkAttribute::LinkNetNsId(_) => elsewhere = true,
            LinkAttribute::Controller(index) => interface.master = Some(*index),
            LinkAttribute::LinkInfo(infos) => {
                tag = infos.iter().find_map(vlan_tag);
                is_macvlan = infos.contains(&LinkInfo::Kind(InfoKind::MacVlan));
            }
            _ => {}
        }
    }
    let below = below.filter(|_| !elsewhere);
    interface.tagged = below.zip(tag);
    interface.macvlan_on = below.filter(|_| is_macvlan);
    Some(interface)
}

/// Returns the VLAN ID of an 802.1Q sub-interface. The data plane does not support 802.1ad service tags.
fn vlan_tag(info: &LinkInfo) -> Option<u16> {
    let LinkInfo::Data(InfoData::Vlan(vlan)) = info else { return None };
    if vlan.contains(&InfoVlan::Protocol(VlanProtocol::Ieee8021Ad)) {
        return None;
    }
    vlan.iter().find_map(|v| if let InfoVlan::Id(id) = v { Some(*id) } else { None })
}

pub(super) fn address(message: &AddressMessage) -> Option<AddressRow> {
    let (mut local, mut subnet) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(ip) => local = Some(*ip),
            AddressAttribute::Address(ip) => subnet = Some(*ip),
            _ => {}
        }
    }
    // On a point-to-point link `Address` is the peer's; without `Local` it is the local address.
    let address = local.or(subnet)?;
    Some(AddressRow { interface: message.header.index, address, prefix_len: message.header.prefix_len })
}

/// Returns the key of a neighbour entry, and its MAC address if it is usable.
pub(super) fn neighbour(message: &NeighbourMessage) -> Option<((u32, IpAddr), Option<Mac>)> {
    let header = &message.header;
    // Proxy entries have no MAC address.
    if header.flags.contains(NeighbourFlags::Proxy) {
        return None;
    }
    let (mut ip, mut hardware) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(a)) => ip = Some(IpAddr::V4(*a)),
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(a)) => ip = Some(IpAddr::V6(*a)),
            NeighbourAttribute::LinkLayerAddress(bytes) => hardware = mac(bytes),
            _ => {}
        }
    }
    // Multicast is not forwarded, and its entries change often.
    let ip = ip.filter(|ip| !ip.is_multicast())?;
    let usable = matches!(
        header.state,
        NeighbourState::Reachable
            | NeighbourState::Stale
            | NeighbourState::Delay
            | NeighbourState::Probe
            | NeighbourState::Permanent
            | NeighbourState::Noarp
    );
    Some(((header.ifindex, ip), hardware.filter(|_| usable)))
}

fn mac(bytes: &[u8]) -> Option<Mac> {
    bytes.try_into().ok().map(Mac)
}

/// Returns the destination of a default route, which netlink omits.
fn any(family: AddressFamily) -> Option<IpAddr> {
    match family {
        AddressFamily::Inet => Some(Ipv4Addr::UNSPECIFIED.into()),
        AddressFamily::Inet6 => Some(Ipv6Addr::UNSPECIFIED.into()),
        _ => None,
    }
}

/// Returns a prefix, with the bits beyond its length cleared, as in the kernel.
fn prefix(address: IpAddr, len: u8) -> Option<IpNet> {
    IpNet::new(address, len).ok().map(|net| net.trunc())
}

#[cfg(test)]
mod tests;
