//! Packets provoke every ICMP reason, and the message goes back to their sender.

use super::super::bed::*;
use super::super::tunnels::{about_outer, after_one};
use super::{syn, with};
use crate::io::mem::Wire;
use crate::service::{Method, Tunnel};
use crate::verdict::IcmpReason;
use crate::wire::ether::MacBytes;

/// The side a sender is on: its wire, the MAC address next to us, and the sender's IPv4 address.
type Sender = (fn(&Bed) -> &Wire, MacBytes, [u8; 4]);
const CLIENT: Sender = (|bed| &bed.outside, ROUTER, [192, 0, 2, 10]);
const SERVER: Sender = (|bed| &bed.inside, SERVER_MAC, [10, 0, 2, 2]);

/// What a scenario leads to: the bed, who gets the message, and its ICMP type and code.
type Provoked = (Bed, Sender, [u8; 2]);

#[test]
fn packets_provoke_every_icmp_reason() {
    for &why in IcmpReason::ALL {
        let (bed, (wire, mac, address), kind) = provoke(why);
        let frame = wire(&bed).take().unwrap_or_else(|| panic!("{why}: no ICMP message was sent"));
        let (ether, ip, icmp) = (&frame[..6], &frame[30..34], &frame[34..36]);
        assert_eq!((ether, ip, icmp), (&mac[..], &address[..], &kind[..]), "{why}");
        assert_eq!(bed.stats.counters.icmp_sent[why as usize].get(), 1, "{why}");
    }
}

fn provoke(why: IcmpReason) -> Provoked {
    match why {
        IcmpReason::NoDestination => {
            client_sends(Plan { weight: 0, ..Plan::new(Method::Nat) }, &syn(), [3, 3])
        }
        IcmpReason::NoConnection => {
            let mut bed = with(Plan::new(Method::Nat), |plan| plan.settings.nat_icmp_send = true).build();
            bed.server_sends(&tcp(server(), client(), "A"));
            (bed, SERVER, [3, 3])
        }
        IcmpReason::TtlExceeded => client_sends(Plan::new(Method::Dr), &with_byte(syn(), 22, 1), [11, 0]),
        IcmpReason::TunnelError => {
            let (mut bed, outer) = after_one(Tunnel::Ipip, false);
            bed.server_sends(&about_outer(&outer, 3, 1, 0));
            (bed, CLIENT, [3, 1])
        }
        IcmpReason::FragmentationNeeded => {
            let plan = with(Plan::new(Method::Dr), |plan| plan.network.links[1].mtu = 39);
            client_sends(plan, &with_byte(syn(), 20, 0x40), [3, 4])
        }
    }
}

fn client_sends(plan: Plan, frame: &[u8], kind: [u8; 2]) -> Provoked {
    let mut bed = plan.build();
    bed.client_sends(frame);
    (bed, CLIENT, kind)
}
