//! Frames that this machine's own kernel sends. Replies of a destination on this machine are among them and are
//! translated like any other's; spec 6.1, the hooks of LOCAL_OUT.

use crate::conn::{Direction, Flags};
use crate::fragments::FragmentInfo;
use crate::packet::Packet;
use crate::parse::{Kind, Parsed, parse};
use crate::pipeline::egress::tx_buffers::{FROM_KERNEL, TxBuffers};
use crate::pipeline::outcome::Flow;
use crate::pipeline::{Pipeline, RxContext};
use crate::proto::Sender;
use crate::steer::WorkerId;
use crate::time::Tick;
use crate::verdict::{DropReason, Verdict};

impl Pipeline {
    /// Sends a frame of the kernel out of `port`, translated if it belongs to a NAT connection.
    ///
    /// A reply that a DR or tunnel server sends through this machine comes here too: the kernel routes it.
    pub fn from_kernel<P: Packet>(&mut self, port: u16, mut packet: P, now: Tick, tx: &mut TxBuffers<P>) {
        let mut parsed = Parsed::NOTHING;
        if parse(packet.bytes(), &mut parsed).is_err() {
            return self.send_unchanged(port, packet, tx);
        }
        if let Some(owner) = self.other_owner(&parsed, port) {
            return self.count_verdict(tx.hand_off(owner, port | FROM_KERNEL, packet));
        }
        if self.snapshot.services.hooked[usize::from(parsed.is_ipv6())] {
            if parsed.kind == Kind::Fragment && self.may_be_balanced(packet.bytes(), &parsed) {
                let rx = RxContext { port, now, relayed: false };
                return self.local_fragment(packet, &parsed, &rx, tx);
            }
            match self.local_flow(packet.bytes(), &parsed, now) {
                Ok(None) => {}
                Ok(Some(flow)) => {
                    self.rewrite(packet.bytes_mut(), &parsed, flow);
                    self.end_if_one_packet(flow.id);
                }
                Err(why) => return self.count_verdict(self.dropped(&parsed, why)),
            }
        }
        self.send_unchanged(port, packet, tx);
    }

    fn send_unchanged<P: Packet>(&self, port: u16, packet: P, tx: &mut TxBuffers<P>) {
        self.count_verdict(tx.send(port, packet));
    }

    /// The worker that owns the flow of a frame from the kernel, if it is another one.
    fn other_owner(&self, parsed: &Parsed, port: u16) -> Option<WorkerId> {
        self.steering.owner(parsed, port, &self.snapshot).filter(|&owner| owner != self.worker_id)
    }

    /// Linux fragments for the link after IPVS has translated the whole packet. So fragments of the kernel are reassembled
    /// here, where all its frames arrive, and again by the flow's owner.
    #[cold]
    fn local_fragment<P: Packet>(
        &mut self,
        packet: P,
        fragment: &Parsed,
        rx: &RxContext,
        tx: &mut TxBuffers<P>,
    ) {
        let info = FragmentInfo::read(packet.bytes(), fragment.l3, fragment.is_ipv6());
        let Some(info) = info.map(FragmentInfo::of_kernel) else {
            return self.send_unchanged(rx.port, packet, tx);
        };
        let mut datagram = match self.add_fragment(packet, &info, rx.now, tx) {
            Ok(datagram) => datagram,
            Err(verdict) => return self.count_verdict(verdict),
        };
        if let Some(parsed) = self.parse_datagram(&datagram, &mut tx.reassembly_buffer) {
            if let Some(owner) = self.other_owner(&parsed, rx.port) {
                let last = self.hand_off_datagram(datagram, owner, rx.port | FROM_KERNEL, tx);
                return self.count_verdict(last);
            }
            match self.local_flow(tx.reassembly_buffer.bytes(), &parsed, rx.now) {
                Ok(None) => {}
                Ok(Some(flow)) => {
                    self.rewrite_datagram(&mut datagram, &parsed, flow, &mut tx.reassembly_buffer);
                    self.end_if_one_packet(flow.id);
                }
                Err(why) => {
                    self.dropped(&parsed, why);
                    let dropped = Verdict::Dropped(why);
                    return datagram.fragments.iter().for_each(|_| self.count_verdict(dropped));
                }
            }
        }
        for fragment in datagram.fragments {
            self.send_unchanged(rx.port, fragment.packet, tx);
        }
    }

    /// The flow by which a packet of the kernel is to be translated, counted and with its state advanced. `None` for a
    /// packet that leaves as it is.
    ///
    /// # Errors
    /// Why the packet must not leave.
    fn local_flow(&mut self, frame: &[u8], parsed: &Parsed, now: Tick) -> Result<Option<Flow>, DropReason> {
        // An error travels against the packet that it quotes.
        let (key, direct_key) = match parsed.kind {
            Kind::Flow => (parsed.key, parsed.key.reversed()),
            Kind::IcmpError => (parsed.key.reversed(), parsed.key),
            _ => return Ok(None),
        };
        let id = match self.conns.find(self.conns.hash(&key), &key) {
            Some((id, Direction::Out)) => Some(id),
            _ => self.direct_reply_connection(&direct_key),
        };
        let id = match id {
            Some(id) => id,
            None if parsed.kind == Kind::Flow => match self.local_server_call(frame, parsed, now)? {
                Some(id) => id,
                None => return Ok(None),
            },
            None => return Ok(None),
        };
        self.count_out(id, parsed.len);
        if parsed.kind == Kind::Flow {
            self.advance_state(frame, parsed, id, Sender::Destination, now);
        }
        let nat = self.conns.entry(id).flags.has(Flags::NAT);
        Ok(nat.then_some(Flow { id, direction: Direction::Out }))
    }
}
