//! Frames that this machine's own kernel sends: answers of a destination that runs on this machine among them, which
//! are replies like those of any other; spec 6.1, the hooks of LOCAL_OUT.

use super::Line;
use super::outbox::{FROM_KERNEL, Outbox};
use crate::conn::{Direction, Flags};
use crate::packet::Packet;
use crate::parse::{Kind, Parsed, parse};
use crate::proto::From;
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
        let readable = receiver.is_some_and(|to| parse(packet.bytes(), &to, &mut parsed).is_ok());
        if readable
            && let Some(owner) =
                self.steering.owner(&parsed, port, &self.snapshot).filter(|&owner| owner != self.me)
        {
            return self.settle(out.hand_off(owner, port | FROM_KERNEL, packet));
        }
        if readable && self.snapshot.services.hooked[usize::from(parsed.is_ipv6())] {
            match parsed.kind {
                Kind::Flow => {
                    if let Err(why) = self.reply_of_kernel(&mut packet, &parsed, now) {
                        return self.dropped(&parsed, why);
                    }
                }
                Kind::IcmpError => self.error_of_kernel(&mut packet, &parsed),
                _ => {}
            }
        }
        if let Verdict::Dropped(why) = out.send(port, packet) {
            self.board.gauges.drops[why as usize].add(1);
        }
    }

    /// An error of a destination on this machine about a packet that we translated for it.
    fn error_of_kernel<P: Packet>(&mut self, packet: &mut P, parsed: &Parsed) {
        let key = parsed.key.reversed();
        if let Some((id, Direction::Out)) = self.conns.find(self.conns.hash(&key), &key) {
            self.count_out(id, parsed.len);
            let end = self.end(id, Direction::Out);
            crate::icmp::translate(packet.bytes_mut(), parsed, Direction::Out, end);
        } else if let Some(id) = self.past_us(&parsed.key) {
            self.count_out(id, parsed.len);
        }
    }

    fn reply_of_kernel<P: Packet>(
        &mut self,
        packet: &mut P,
        parsed: &Parsed,
        now: Tick,
    ) -> Result<(), DropReason> {
        let key = parsed.key;
        let replied = match self.conns.find(self.conns.hash(&key), &key) {
            Some((id, Direction::Out)) => Some(id),
            _ => self.past_us(&key.reversed()),
        };
        let Some(id) = replied else { return self.originate_here(packet, parsed, now) };
        self.count_out(id, parsed.len);
        self.advance(packet.bytes(), parsed, id, From::Destination, now);
        if self.conns.entry(id).flags.has(Flags::NAT) {
            self.translate(packet.bytes_mut(), parsed, id, Direction::Out);
        }
        Ok(())
    }
}
