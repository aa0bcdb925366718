//! Frames that this machine's own kernel sends: answers of a destination that runs on this machine among them, which
//! are replies like those of any other; spec 6.1, the hooks of LOCAL_OUT.

use super::outbox::{FROM_KERNEL, Outbox};
use super::{Arrival, Line};
use crate::conn::{ConnId, Direction, Flags};
use crate::forward::train;
use crate::frag::{FragmentInfo, Whole};
use crate::packet::Packet;
use crate::parse::{Kind, Parsed, parse};
use crate::proto::From;
use crate::steer::WorkerId;
use crate::time::Tick;
use crate::verdict::{DropReason, Verdict};
use crate::wire::ether::EtherHdr;
use crate::wire::view;

impl Line {
    /// Sends a frame of the kernel out of `port`, translated if it is a reply of one of our connections.
    ///
    /// A reply that is routed here and not through a balancer's NAT comes by this way too: it was given to the kernel,
    /// which sends it on.
    pub fn from_kernel<P: Packet>(&mut self, port: u16, mut packet: P, now: Tick, out: &mut Outbox<P>) {
        let mut parsed = Parsed::NOTHING;
        // It is addressed to whom it leaves for, so that the parser takes it for one to us.
        let receiver = view::<EtherHdr>(packet.bytes(), 0).map(|eth| eth.dst);
        let Some(mac) = receiver.filter(|to| parse(packet.bytes(), to, &mut parsed).is_ok()) else {
            return self.send_as_it_is(port, packet, out);
        };
        if let Some(owner) = self.owner_of_kernels(&parsed, port) {
            return self.settle(out.hand_off(owner, port | FROM_KERNEL, packet));
        }
        if self.snapshot.services.hooked[usize::from(parsed.is_ipv6())] {
            match parsed.kind {
                Kind::Flow => match self.reply_of_kernel(packet.bytes(), &parsed, now) {
                    Ok(None) => {}
                    Ok(Some(id)) => {
                        self.translate(packet.bytes_mut(), &parsed, id, Direction::Out);
                        self.end_one_packet();
                    }
                    Err(why) => return self.dropped(&parsed, why),
                },
                Kind::IcmpError => _ = self.error_of_kernel(packet.bytes_mut(), &parsed),
                Kind::Fragment if self.may_be_ours(packet.bytes(), &parsed) => {
                    let arrival = Arrival { port, mac, now, relayed: false };
                    return self.fragment_of_kernel(packet, &parsed, &arrival, out);
                }
                _ => {}
            }
        }
        self.send_as_it_is(port, packet, out);
    }

    fn send_as_it_is<P: Packet>(&self, port: u16, packet: P, out: &mut Outbox<P>) {
        if let Verdict::Dropped(why) = out.send(port, packet) {
            self.board.gauges.drops[why as usize].add(1);
        }
    }

    /// The worker that a frame of the kernel is for, if it is another.
    fn owner_of_kernels(&self, parsed: &Parsed, port: u16) -> Option<WorkerId> {
        self.steering.owner(parsed, port, &self.snapshot).filter(|&owner| owner != self.me)
    }

    /// The kernel cuts what is too long for a link, a reply among it, after IPVS would have translated the whole. Its
    /// fragments are gathered here, where all its frames come in, and again by the flow's owner.
    #[cold]
    fn fragment_of_kernel<P: Packet>(
        &mut self,
        packet: P,
        fragment: &Parsed,
        arrival: &Arrival,
        out: &mut Outbox<P>,
    ) {
        let info = FragmentInfo::read(packet.bytes(), fragment.l3, fragment.is_ipv6());
        let Some(info) = info.map(FragmentInfo::of_kernel) else {
            return self.send_as_it_is(arrival.port, packet, out);
        };
        let Some(mut whole) = self.put_together(packet, &info, arrival.now, out) else { return };
        if let Some(parsed) = self.read_train(&whole, fragment.is_ipv6(), arrival, &mut out.scratch) {
            if let Some(owner) = self.owner_of_kernels(&parsed, arrival.port) {
                return self.hand_train(whole, owner, arrival.port | FROM_KERNEL, out);
            }
            if let Err(why) = self.translate_train(&mut whole, &parsed, arrival.now, out) {
                self.dropped(&parsed, why);
                return (1..whole.pieces.len()).for_each(|_| self.settle(Verdict::Dropped(why)));
            }
        }
        for piece in whole.pieces {
            self.send_as_it_is(arrival.port, piece.packet, out);
        }
    }

    /// Counts a packet that the kernel sent in fragments, and translates them if it is a reply or an error about one.
    ///
    /// # Errors
    /// Why it must not leave.
    fn translate_train<P: Packet>(
        &mut self,
        whole: &mut Whole<P>,
        parsed: &Parsed,
        now: Tick,
        out: &mut Outbox<P>,
    ) -> Result<(), DropReason> {
        if parsed.kind == Kind::IcmpError {
            if self.error_of_kernel(out.scratch.bytes_mut(), parsed).is_some() {
                out.scratch.put_back(whole, parsed.is_ipv6());
            }
        } else if parsed.kind == Kind::Flow
            && let Some(id) = self.reply_of_kernel(out.scratch.bytes(), parsed, now)?
        {
            let (entry, end) = (self.conns.entry(id), self.end(id, Direction::Out));
            train::translate(whole, parsed.is_ipv6(), entry, Direction::Out, end);
            self.end_one_packet();
        }
        Ok(())
    }

    /// An error of a destination on this machine about a packet that we translated for it. Gives the connection of one
    /// that was translated.
    fn error_of_kernel(&mut self, frame: &mut [u8], parsed: &Parsed) -> Option<ConnId> {
        let key = parsed.key.reversed();
        if let Some((id, Direction::Out)) = self.conns.find(self.conns.hash(&key), &key) {
            self.count_out(id, parsed.len);
            let end = self.end(id, Direction::Out);
            crate::icmp::translate(frame, parsed, Direction::Out, end);
            return Some(id);
        }
        if let Some(id) = self.past_us(&parsed.key) {
            self.count_out(id, parsed.len);
        }
        None
    }

    /// Takes a reply, or a request of a server, into account. Gives its connection if it is to be translated.
    ///
    /// # Errors
    /// Why it must not leave.
    fn reply_of_kernel(
        &mut self,
        frame: &[u8],
        parsed: &Parsed,
        now: Tick,
    ) -> Result<Option<ConnId>, DropReason> {
        let key = parsed.key;
        let replied = match self.conns.find(self.conns.hash(&key), &key) {
            Some((id, Direction::Out)) => Some(id),
            _ => self.past_us(&key.reversed()),
        };
        let Some(id) = replied else { return self.originate_here(frame, parsed, now) };
        self.count_out(id, parsed.len);
        self.advance(frame, parsed, id, From::Destination, now);
        Ok(self.conns.entry(id).flags.has(Flags::NAT).then_some(id))
    }
}
