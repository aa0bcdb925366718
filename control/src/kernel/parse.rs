//! Netlink messages, read into the few fields the data plane cares about.
//!
//! What it has no use for becomes `None` here, each time with the reason, so that the tables stay small and a change
//! that does not concern us looks like no change.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{
    InfoData, InfoVlan, LinkAttribute, LinkFlags, LinkInfo, LinkMessage, VlanProtocol,
};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};

use crate::model::network_config::Mac;

pub(super) use route::{Hop, RouteKey, route};
pub(super) use rule::rule;

mod route;
mod rule;

/// What an interface is to us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Interface {
    pub(super) name: String,
    /// None for an interface without Ethernet addresses, such as a tunnel.
    pub(super) mac: Option<Mac>,
    pub(super) mtu: u32,
    /// Administratively up, and with a carrier: the kernel's routes depend on both and may change without a word.
    pub(super) state: (bool, bool),
    /// For a VLAN sub-interface: the interface below and the tag.
    pub(super) tagged: Option<(u32, u16)>,
}

/// An address and where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct AddressRow {
    pub(super) interface: u32,
    pub(super) address: IpAddr,
    pub(super) prefix_len: u8,
}

pub(super) fn interface(message: &LinkMessage) -> Option<Interface> {
    // The bridge code sends RTM_NEWLINK of its own family, which describes a bridge port and not the interface.
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
    };
    let (mut below, mut tag, mut elsewhere) = (None, None, false);
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => interface.name.clone_from(name),
            LinkAttribute::Mtu(mtu) => interface.mtu = *mtu,
            LinkAttribute::Address(bytes) => interface.mac = mac(bytes),
            LinkAttribute::Link(index) => below = Some(*index),
            // The interface below lives in another namespace, where its index means another thing than here.
            LinkAttribute::LinkNetNsId(_) => elsewhere = true,
            LinkAttribute::LinkInfo(infos) => tag = infos.iter().find_map(vlan_tag),
            _ => {}
        }
    }
    interface.tagged = below.zip(tag).filter(|_| !elsewhere);
    Some(interface)
}

/// The tag of an 802.1Q sub-interface. 802.1ad service tags are not looked into by the data plane.
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
    // On a point-to-point link `Address` is the peer's; where `Local` is missing it is our own.
    let address = local.or(subnet)?;
    Some(AddressRow { interface: message.header.index, address, prefix_len: message.header.prefix_len })
}

/// Whose row of the neighbour table a message is about, and the hardware address if it is of use now.
pub(super) fn neighbour(message: &NeighbourMessage) -> Option<((u32, IpAddr), Option<Mac>)> {
    let header = &message.header;
    // Proxy rows are what we answer for others; they lead nowhere.
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
    // Multicast rows come and go with the kernel's own chatter, and a balancer forwards no multicast.
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

/// The address of a default route, which netlink leaves out.
fn any(family: AddressFamily) -> Option<IpAddr> {
    match family {
        AddressFamily::Inet => Some(Ipv4Addr::UNSPECIFIED.into()),
        AddressFamily::Inet6 => Some(Ipv6Addr::UNSPECIFIED.into()),
        _ => None,
    }
}

/// A prefix; one with bits beyond its length is brought to the form the kernel gives it.
fn prefix(address: IpAddr, len: u8) -> Option<IpNet> {
    IpNet::new(address, len).ok().map(|net| net.trunc())
}

#[cfg(test)]
mod tests;
