//! Frames that this machine's own kernel sends: answers of a destination that runs on this machine among them, which
//! are replies like those of any other; spec 6.1, the hooks of LOCAL_OUT.

use crate::conn::{ConnId, Direction, Flags};
use crate::fragments::translate;
use crate::fragments::{Datagram, FragmentInfo};
use crate::packet::Packet;
use crate::parse::{Kind, Parsed, parse};
use crate::pipeline::egress::tx_buffers::{FROM_KERNEL, TxBuffers};
use crate::pipeline::{Pipeline, RxContext};
use crate::proto::From;
use crate::steer::WorkerId;
use crate::time::Tick;
use crate::verdict::{DropReason, Verdict};
use crate::wire::ether::EtherHdr;
use crate::wire::view;

impl Pipeline {
    /// Sends a frame of the kernel out of `port`, translated if it is a reply of one of our connections.
    ///
    /// A reply that is routed here and not through a balancer's NAT comes by this way too: it was given to the kernel,
    /// which sends it on.
    pub fn from_kernel<P: Packet>(&mut self, port: u16, mut packet: P, now: Tick, out: &mut TxBuffers<P>) {
        let mut parsed = Parsed::NOTHING;
        // It is addressed to whom it leaves for, so that the parser takes it for one to us.
        let receiver = view::<EtherHdr>(packet.bytes(), 0).map(|eth| eth.dst);
        let Some(mac) = receiver.filter(|to| parse(packet.bytes(), to, &mut parsed).is_ok()) else {
            return self.send_unchanged(port, packet, out);
        };
        if let Some(owner) = self.other_owner(&parsed, port) {
            return self.count_verdict(out.hand_off(owner, port | FROM_KERNEL, packet));
        }
        if self.snapshot.services.hooked[usize::from(parsed.is_ipv6())] {
            match parsed.kind {
                Kind::Flow => match self.local_reply(packet.bytes(), &parsed, now) {
                    Ok(None) => {}
                    Ok(Some(id)) => {
                        self.translate(packet.bytes_mut(), &parsed, id, Direction::Out);
                        self.end_ops();
                    }
                    Err(why) => return self.dropped(&parsed, why),
                },
                Kind::IcmpError => _ = self.local_icmp_error(packet.bytes_mut(), &parsed),
                Kind::Fragment if self.may_be_ours(packet.bytes(), &parsed) => {
                    let rx = RxContext { port, mac, now, relayed: false };
                    return self.local_fragment(packet, &parsed, &rx, out);
                }
                _ => {}
            }
        }
        self.send_unchanged(port, packet, out);
    }

    fn send_unchanged<P: Packet>(&self, port: u16, packet: P, out: &mut TxBuffers<P>) {
        if let Verdict::Dropped(why) = out.send(port, packet) {
            self.stats.counters.drops[why as usize].add(1);
        }
    }

    /// The worker that a frame of the kernel is for, if it is another.
    fn other_owner(&self, parsed: &Parsed, port: u16) -> Option<WorkerId> {
        self.steering.owner(parsed, port, &self.snapshot).filter(|&owner| owner != self.me)
    }

    /// The kernel cuts what is too long for a link, a reply among it, after IPVS would have translated the whole. Its
    /// fragments are gathered here, where all its frames come in, and again by the flow's owner.
    #[cold]
    fn local_fragment<P: Packet>(
        &mut self,
        packet: P,
        fragment: &Parsed,
        rx: &RxContext,
        out: &mut TxBuffers<P>,
    ) {
        let info = FragmentInfo::read(packet.bytes(), fragment.l3, fragment.is_ipv6());
        let Some(info) = info.map(FragmentInfo::of_kernel) else {
            return self.send_unchanged(rx.port, packet, out);
        };
        let Some(mut datagram) = self.add_fragment(packet, &info, rx.now, out) else { return };
        if let Some(parsed) =
            self.parse_datagram(&datagram, fragment.is_ipv6(), rx, &mut out.reassembly_buffer)
        {
            if let Some(owner) = self.other_owner(&parsed, rx.port) {
                return self.hand_off_datagram(datagram, owner, rx.port | FROM_KERNEL, out);
            }
            if let Err(why) = self.translate_datagram(&mut datagram, &parsed, rx.now, out) {
                self.dropped(&parsed, why);
                return (1..datagram.fragments.len()).for_each(|_| self.count_verdict(Verdict::Dropped(why)));
            }
        }
        for fragment in datagram.fragments {
            self.send_unchanged(rx.port, fragment.packet, out);
        }
    }

    /// Counts a packet that the kernel sent in fragments, and translates them if it is a reply or an error about one.
    ///
    /// # Errors
    /// Why it must not leave.
    fn translate_datagram<P: Packet>(
        &mut self,
        datagram: &mut Datagram<P>,
        parsed: &Parsed,
        now: Tick,
        out: &mut TxBuffers<P>,
    ) -> Result<(), DropReason> {
        if parsed.kind == Kind::IcmpError {
            if self.local_icmp_error(out.reassembly_buffer.bytes_mut(), parsed).is_some() {
                out.reassembly_buffer.put_back(datagram, parsed.is_ipv6());
            }
        } else if parsed.kind == Kind::Flow
            && let Some(id) = self.local_reply(out.reassembly_buffer.bytes(), parsed, now)?
        {
            translate::translate(datagram, parsed.is_ipv6(), &self.rewrite(id, Direction::Out));
            self.end_ops();
        }
        Ok(())
    }

    /// An error of a destination on this machine about a packet that we translated for it. Gives the connection of one
    /// that was translated.
    fn local_icmp_error(&mut self, frame: &mut [u8], parsed: &Parsed) -> Option<ConnId> {
        let key = parsed.key.reversed();
        if let Some((id, Direction::Out)) = self.conns.find(self.conns.hash(&key), &key) {
            self.count_out(id, parsed.len);
            crate::icmp::translate(frame, parsed, &self.rewrite(id, Direction::Out));
            return Some(id);
        }
        if let Some(id) = self.direct_reply_connection(&parsed.key) {
            self.count_out(id, parsed.len);
        }
        None
    }

    /// Takes a reply, or a request of a server, into account. Gives its connection if it is to be translated.
    ///
    /// # Errors
    /// Why it must not leave.
    fn local_reply(
        &mut self,
        frame: &[u8],
        parsed: &Parsed,
        now: Tick,
    ) -> Result<Option<ConnId>, DropReason> {
        let key = parsed.key;
        let replied = match self.conns.find(self.conns.hash(&key), &key) {
            Some((id, Direction::Out)) => Some(id),
            _ => self.direct_reply_connection(&key.reversed()),
        };
        let Some(id) = replied else { return self.open_local_server_call(frame, parsed, now) };
        self.count_out(id, parsed.len);
        self.advance(frame, parsed, id, From::Destination, now);
        Ok(self.conns.entry(id).flags.has(Flags::NAT).then_some(id))
    }
}
