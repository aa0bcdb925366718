//! Which namespace a frame is for: its port and its VLAN say.

use crate::wire::ether::{self, EtherHdr, VlanTag};
use crate::wire::view;

/// The number of a namespace, the same at every worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NamespaceId(pub u16);

impl NamespaceId {
    /// The namespace that is always there, and has what no other has.
    pub const DEFAULT: NamespaceId = NamespaceId(0);
}

/// Most namespaces beside the default one.
pub const MOST: usize = 255;

/// The namespaces of one port.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Binding {
    /// Has untagged frames, and those of VLANs that are not bound.
    pub port: NamespaceId,
    /// Who has which VLAN, by its number.
    pub vlans: Vec<(u16, NamespaceId)>,
}

impl Binding {
    /// Whether all of the port is the default namespace's: then no frame need be looked at.
    #[inline]
    pub fn is_default(&self) -> bool {
        self.vlans.is_empty() && self.port == NamespaceId::DEFAULT
    }

    /// Whose a frame is.
    pub fn of(&self, frame: &[u8]) -> NamespaceId {
        if self.vlans.is_empty() { self.port } else { self.of_vlan(vlan(frame)) }
    }

    /// Whose frames with this tag are; 0 is none.
    pub fn of_vlan(&self, vlan: u16) -> NamespaceId {
        let found = self.vlans.binary_search_by_key(&vlan, |&(vlan, _)| vlan);
        found.map_or(self.port, |at| self.vlans[at].1)
    }
}

/// The VLAN of a frame; 0 when it has no tag.
fn vlan(frame: &[u8]) -> u16 {
    let tagged = view::<EtherHdr>(frame, 0).is_some_and(|header| header.kind.get() == ether::VLAN);
    let tag = if tagged { view::<VlanTag>(frame, ether::LEN) } else { None };
    tag.map_or(0, VlanTag::vlan)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tagged(vlan: u16) -> Vec<u8> {
        let mut frame = vec![0; 12];
        frame.extend(ether::VLAN.to_be_bytes());
        // Three bits of priority come before the number.
        frame.extend((vlan | 0xe000).to_be_bytes());
        frame.extend(ether::IPV4.to_be_bytes());
        frame
    }

    #[test]
    fn a_vlan_that_is_not_bound_is_the_ports() {
        let vlans = vec![(7, NamespaceId(2)), (100, NamespaceId(1))];
        let binding = Binding { port: NamespaceId(3), vlans };
        let rows = [(tagged(7), 2), (tagged(100), 1), (tagged(8), 3), (tagged(0), 3), (vec![0; 60], 3)];
        for (frame, whose) in rows {
            assert_eq!(binding.of(&frame), NamespaceId(whose), "{frame:x?}");
        }
    }

    #[test]
    fn a_frame_that_is_cut_short_is_the_ports() {
        let binding = Binding { port: NamespaceId(3), vlans: vec![(100, NamespaceId(1))] };
        for cut in 0..ether::TAGGED_LEN {
            assert_eq!(binding.of(&tagged(100)[..cut]), NamespaceId(3), "{cut} bytes");
        }
    }

    #[test]
    fn only_a_port_that_is_wholly_the_defaults_is_not_looked_at() {
        let vlans = vec![(100, NamespaceId(1))];
        assert!(Binding::default().is_default());
        assert!(!Binding { port: NamespaceId(1), vlans: Vec::new() }.is_default());
        assert!(!Binding { port: NamespaceId::DEFAULT, vlans }.is_default());
    }
}
