//! Trace events of the pipeline: records for control, made only if their site is enabled.

use super::{NextStage, Pipeline, RxContext, TxBuffers};
use crate::conn::{ConnId, Direction, Flags};
use crate::io::Batch;
use crate::packet::Packet;
use crate::parse::{Kind, Parsed, parse};
use crate::service::{DestinationId, ServiceId, ServiceKey};
use crate::trace::{Outcome, Record, event};
use crate::verdict::{DropReason, Verdict};
use crate::wire::protocol;

/// Word of a record for a packet that cannot be parsed.
const UNREADABLE: u32 = 7;

impl Pipeline {
    /// Pushes the record of an enabled site. If control does not keep up, the event is lost and counted.
    #[cold]
    #[inline(never)]
    pub(crate) fn emit(&self, site: u16, record: impl FnOnce(&Pipeline) -> Record) {
        let record = Record { site, ..record(self) };
        if self.rings.events.push(record).is_err() {
            self.stats.counters.events_lost.add(1);
        }
    }

    /// A record about a connection: its flags as the kernel numbers them, its state, its packets.
    pub(super) fn connection_record(&self, id: ConnId) -> Record {
        let entry = self.conns.entry(id);
        let ends = self.shown_endpoints(id);
        let words = [linux_flags(entry.flags), entry.state.into(), entry.in_packets, 0];
        Record {
            protocol: entry.protocol,
            ends: [ends.client, ends.virtual_, ends.destination],
            ..Record::new(words)
        }
    }

    /// A record about a service. For a fwmark service the third word is the mark, and there is no protocol.
    pub(super) fn service_record(&self, service: ServiceId, words: [u32; 4]) -> Record {
        let blank = Record::new(words);
        match self.snapshot.services.service(service).map(|service| service.key) {
            Some(ServiceKey::Address(at, protocol)) => {
                Record { protocol, ends: [blank.ends[0], at, blank.ends[2]], ..blank }
            }
            Some(ServiceKey::Fwmark { fwmark, .. }) => {
                Record { words: [words[0], words[1], fwmark, words[3]], ..blank }
            }
            None => blank,
        }
    }

    /// A record about a scheduler's choice.
    pub(super) fn choice_record(&self, id: DestinationId, scheduler: u32) -> Record {
        let load = self.stats.load(id);
        let Some(destination) = self.snapshot.services.destination(id) else { return Record::new([0; 4]) };
        Record::new([load.active, load.inactive, destination.weight, scheduler])
            .with_destination(destination.endpoint)
    }

    /// Records a packet that opens no connection.
    pub(super) fn trace_not_scheduled(&self, parsed: &Parsed) {
        if parsed.kind == Kind::Ipsec {
            let which = u16::from(parsed.protocol == protocol::ESP);
            event!(self, NoKeyExchange, which, |_| Record::of(&parsed.key, [0; 4]));
        } else {
            event!(self, NotScheduled, |_| Record::of(&parsed.key, [0; 4]));
        }
    }

    /// Records a drop that was decided about a packet, and returns its verdict.
    #[cold]
    pub(super) fn dropped(&self, parsed: &Parsed, why: DropReason) -> Verdict {
        let words = [why as u32, 0, 0, 0];
        if why == DropReason::BadIcmpChecksum {
            event!(self, BadChecksum, |_| Record::of(&parsed.key, words));
        } else {
            event!(self, Dropped, |_| Record::of(&parsed.key, words));
        }
        Verdict::Dropped(why)
    }

    /// Records a frame that cannot be parsed, and returns its verdict.
    #[cold]
    pub(super) fn unreadable(&self, why: DropReason) -> Verdict {
        event!(self, Unreadable, |_| Record::new([why as u32, 0, 0, 0]));
        Verdict::Dropped(why)
    }

    /// Records that a packet was to be forwarded and could not be sent.
    pub(super) fn trace_not_sent(&self, verdict: Verdict) {
        if let Verdict::Dropped(why) = verdict {
            event!(self, NotSent, |_| Record::new([why as u32, 0, 0, 0]));
        }
    }

    /// Runs a burst as [`Pipeline::run`] does, but one packet after the other, so that the events of a packet are
    /// consecutive.
    #[cold]
    #[inline(never)]
    pub fn run_traced<P: Packet>(&mut self, packets: &mut Batch<P>, rx: &RxContext, tx: &mut TxBuffers<P>) {
        for packet in packets.drain(..) {
            let parsed = self.trace_packet(packet.bytes(), rx);
            let verdict = self.run_one(packet, rx, tx);
            self.count_verdict(verdict);
            let (outcome, which) = words_of(verdict);
            event!(self, Verdict, |_| Record::of(&parsed.key, [outcome as u32, which, 0, 0]));
        }
    }

    /// Records what was received, and whether its connection is known.
    fn trace_packet(&self, frame: &[u8], rx: &RxContext) -> Parsed {
        let mut parsed = Parsed::NOTHING;
        let read = parse(frame, &mut parsed);
        let kind = if read.is_ok() { parsed.kind as u32 } else { UNREADABLE };
        let words = [rx.port.into(), kind, frame.len() as u32, 0];
        event!(self, Packet, |_| Record::of(&parsed.key, words));
        let flow = matches!(parsed.kind, Kind::Flow | Kind::TruncatedL4 | Kind::Ipsec | Kind::IcmpError);
        if read.is_ok() && flow && self.steer(&parsed, rx.port) == NextStage::Lookup {
            event!(self, Lookup, |pipeline| pipeline.lookup_record(&parsed));
        }
        parsed
    }

    fn lookup_record(&self, parsed: &Parsed) -> Record {
        let key = if parsed.is_error() { parsed.key.reversed() } else { parsed.key };
        let found = self.conns.find(self.conns.hash(&key), &key).map(|(_, direction)| direction);
        Record::of(&key, [(found == Some(Direction::Out)).into(), found.is_some().into(), 0, 0])
    }
}

/// Flags as `conn->flags` has them in Linux: the forwarding method in the lowest three bits, then switches.
fn linux_flags(flags: Flags) -> u32 {
    let method = match () {
        () if flags.has(Flags::NAT) => 0,
        () if flags.has(Flags::TUNNEL) => 2,
        () if flags.has(Flags::BYPASS) => 4,
        () => 3,
    };
    let switches = [(Flags::NO_OUTPUT, 0x80), (Flags::INACTIVE, 0x100), (Flags::OPS, 0x2000)];
    switches.iter().filter(|(own, _)| flags.has(*own)).fold(method, |sum, (_, kernels)| sum | kernels)
}

/// A verdict as words of a record: its kind, and the number of its reason.
fn words_of(verdict: Verdict) -> (Outcome, u32) {
    match verdict {
        Verdict::Sent => (Outcome::Sent, 0),
        Verdict::ToKernel => (Outcome::Kernel, 0),
        Verdict::HandedOff => (Outcome::HandedOff, 0),
        Verdict::Held => (Outcome::Held, 0),
        Verdict::IcmpSent(why) => (Outcome::IcmpSent, why as u32),
        Verdict::Dropped(why) => (Outcome::Dropped, why as u32),
    }
}
