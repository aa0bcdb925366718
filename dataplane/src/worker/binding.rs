//! Which namespace a frame belongs to, by its port and VLAN.

use crate::wire::ether::{self, EtherHdr, VlanTag};
use crate::wire::view;

/// The number of a namespace, the same at every worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NamespaceId(pub u16);

impl NamespaceId {
    /// The namespace that always exists, and owns everything that no other namespace is bound to.
    pub const DEFAULT: NamespaceId = NamespaceId(0);
}

/// Maximum number of namespaces, not counting the default one.
pub const MAX_NAMESPACES: usize = 255;

/// The namespaces of one port.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Binding {
    /// Owner of untagged frames and of VLANs that are not bound.
    pub port: NamespaceId,
    /// Owners of VLANs, sorted by VLAN id.
    pub vlans: Vec<(u16, NamespaceId)>,
}

impl Binding {
    /// Whether the whole port belongs to the default namespace, so that frames need not be examined.
    #[inline]
    pub fn is_default(&self) -> bool {
        self.vlans.is_empty() && self.port == NamespaceId::DEFAULT
    }

    /// The namespace that a frame belongs to.
    pub fn namespace_of(&self, frame: &[u8]) -> NamespaceId {
        if self.vlans.is_empty() { self.port } else { self.namespace_of_vlan(vlan(frame)) }
    }

    /// The namespace that frames of a VLAN belong to; 0 means untagged.
    pub fn namespace_of_vlan(&self, vlan: u16) -> NamespaceId {
        let found = self.vlans.binary_search_by_key(&vlan, |&(vlan, _)| vlan);
        found.map_or(self.port, |index| self.vlans[index].1)
    }
}

/// The VLAN id of a frame; 0 if it is untagged.
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
        // The top three bits are the priority.
        frame.extend((vlan | 0xe000).to_be_bytes());
        frame.extend(ether::IPV4.to_be_bytes());
        frame
    }

    #[test]
    fn an_unbound_vlan_belongs_to_the_port_s_namespace() {
        let vlans = vec![(7, NamespaceId(2)), (100, NamespaceId(1))];
        let binding = Binding { port: NamespaceId(3), vlans };
        let rows = [(tagged(7), 2), (tagged(100), 1), (tagged(8), 3), (tagged(0), 3), (vec![0; 60], 3)];
        for (frame, id) in rows {
            assert_eq!(binding.namespace_of(&frame), NamespaceId(id), "{frame:x?}");
        }
    }

    #[test]
    fn a_truncated_frame_belongs_to_the_port_s_namespace() {
        let binding = Binding { port: NamespaceId(3), vlans: vec![(100, NamespaceId(1))] };
        for cut in 0..ether::TAGGED_LEN {
            assert_eq!(binding.namespace_of(&tagged(100)[..cut]), NamespaceId(3), "{cut} bytes");
        }
    }

    #[test]
    fn only_an_unbound_port_is_default() {
        let vlans = vec![(100, NamespaceId(1))];
        assert!(Binding::default().is_default());
        assert!(!Binding { port: NamespaceId(1), vlans: Vec::new() }.is_default());
        assert!(!Binding { port: NamespaceId::DEFAULT, vlans }.is_default());
    }
}
