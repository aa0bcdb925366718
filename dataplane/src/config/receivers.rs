//! The hardware addresses under which this machine receives frames, by port and VLAN.

use std::cmp::Ordering;

use crate::network::Link;
use crate::verdict::DropReason;
use crate::wire::ether::MacBytes;

/// VLAN of frames without a tag, and of frames whose tag has only a priority.
const UNTAGGED: u16 = 0;

/// One link's addresses.
#[derive(Clone, Debug)]
struct Receiver {
    port: u16,
    vlan: u16,
    up: bool,
    mac: MacBytes,
    others: Vec<MacBytes>,
}

/// The receivers of all links.
#[derive(Clone, Debug, Default)]
pub struct Receivers {
    /// By port and VLAN.
    sorted: Vec<Receiver>,
    /// Address of the untagged link of each port, if it is up: asked for each burst.
    plain: Vec<Option<MacBytes>>,
}

/// For whom a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameFor {
    /// A link of this machine.
    Us,
    /// The kernel: broadcast and multicast (ARP, ND, VRRP, routing protocols), and VLANs without a link.
    Kernel,
}

impl Receivers {
    /// The receivers of these links.
    pub fn new(links: &[Link]) -> Receivers {
        let receiver = |link: &Link| Receiver {
            port: link.port,
            vlan: link.vlan.unwrap_or(UNTAGGED),
            up: link.up,
            mac: link.mac,
            others: link.other_macs.clone(),
        };
        let mut sorted: Vec<Receiver> = links.iter().map(receiver).collect();
        sorted.sort_by_key(|receiver| (receiver.port, receiver.vlan));
        let mut plain = vec![None; sorted.last().map_or(0, |last| usize::from(last.port) + 1)];
        for link in sorted.iter().filter(|link| link.vlan == UNTAGGED && link.up) {
            plain[usize::from(link.port)] = Some(link.mac);
        }
        Receivers { sorted, plain }
    }

    /// The address of a port's untagged link, which plain frames have. `None` if the link is down or does not exist.
    #[inline]
    pub fn plain(&self, port: u16) -> Option<MacBytes> {
        self.plain.get(usize::from(port)).copied().flatten()
    }

    /// For whom a frame is that arrives on a port with this VLAN and destination address.
    ///
    /// # Errors
    /// When it is for another host, or its link is down, or the port has none.
    pub fn frame_for(&self, port: u16, vlan: u16, mac: &MacBytes) -> Result<FrameFor, DropReason> {
        if mac[0] & 1 != 0 {
            return Ok(FrameFor::Kernel);
        }
        let Some(link) = self.link(port, vlan) else {
            let first = self.sorted.partition_point(|link| link.port < port);
            let has_link = self.sorted.get(first).is_some_and(|link| link.port == port);
            return if has_link { Ok(FrameFor::Kernel) } else { Err(DropReason::LinkDown) };
        };
        match (link.mac == *mac || link.others.contains(mac), link.up) {
            (false, _) => Err(DropReason::OtherHost),
            (true, false) => Err(DropReason::LinkDown),
            (true, true) => Ok(FrameFor::Us),
        }
    }

    fn link(&self, port: u16, vlan: u16) -> Option<&Receiver> {
        let order = |link: &Receiver| -> Ordering { (link.port, link.vlan).cmp(&(port, vlan)) };
        self.sorted.binary_search_by(order).ok().map(|at| &self.sorted[at])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: MacBytes = [2, 0, 0, 0, 0, 1];
    const OTHER: MacBytes = [2, 0, 0, 0, 0, 9];
    const VIRTUAL_ROUTER: MacBytes = [0, 0, 0x5e, 0, 1, 0x33];

    fn link(port: u16, vlan: Option<u16>, up: bool) -> Link {
        Link { port, vlan, up, mac: MAC, other_macs: vec![VIRTUAL_ROUTER], mtu: 1500, ipv4: None, ipv6: None }
    }

    #[test]
    fn a_frame_is_for_the_link_that_has_its_address() {
        let receivers =
            Receivers::new(&[link(1, Some(100), true), link(0, None, true), link(1, None, false)]);
        let asked = |port, vlan, mac| receivers.frame_for(port, vlan, mac);
        assert_eq!((asked(0, 0, &MAC), asked(1, 100, &VIRTUAL_ROUTER)), (Ok(FrameFor::Us), Ok(FrameFor::Us)));
        assert_eq!(asked(0, 0, &OTHER), Err(DropReason::OtherHost));
        assert_eq!(asked(1, 0, &MAC), Err(DropReason::LinkDown));
        assert_eq!(asked(1, 77, &MAC), Ok(FrameFor::Kernel), "there is no such VLAN");
        assert_eq!(asked(2, 0, &MAC), Err(DropReason::LinkDown), "there is no such port");
        assert_eq!(asked(0, 0, &[0xff; 6]), Ok(FrameFor::Kernel));
        assert_eq!(
            asked(1, 0, &[1, 0, 0x5e, 0, 0, 18]),
            Ok(FrameFor::Kernel),
            "a group, even on a link that is down"
        );
        assert_eq!((receivers.plain(0), receivers.plain(1), receivers.plain(2)), (Some(MAC), None, None));
    }
}
