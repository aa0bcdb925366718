//! Telling what happens: records of events for control, made only when somebody wants to know them.

use super::{NextStage, Pipeline, RxContext, TxBuffers};
use crate::conn::{ConnId, Direction, Flags};
use crate::io::Batch;
use crate::packet::Packet;
use crate::parse::{Kind, Parsed, parse};
use crate::sched::Loads;
use crate::service::{DestinationId, Name, ServiceId};
use crate::trace::{Outcome, Record, event};
use crate::verdict::{DropReason, IcmpReason, Verdict};
use crate::wire::protocol;

/// The word for a packet that cannot be read.
const UNREADABLE: u32 = 7;

impl Pipeline {
    /// Notes an event whose site is on. When control does not keep up, it is counted and lost.
    #[cold]
    #[inline(never)]
    pub(crate) fn emit(&self, site: u16, record: impl FnOnce(&Pipeline) -> Record) {
        let record = Record { site, ..record(self) };
        if self.rings.events.push(record).is_err() {
            self.stats.counters.events_lost.add(1);
        }
    }

    /// A record about a connection: its switches as the kernel numbers them, its state, its packets.
    pub(super) fn connection_record(&self, id: ConnId) -> Record {
        let entry = self.conns.entry(id);
        let ends = self.shown_endpoints(id);
        let words = [flags_of_the_kernel(entry.flags), entry.state.into(), entry.in_packets, 0];
        Record {
            protocol: entry.protocol,
            ends: [ends.client, ends.virtual_, ends.destination],
            ..Record::new(words)
        }
    }

    /// A record about a service; of one that is named by a mark the third word tells it, and there is no protocol.
    pub(super) fn service_record(&self, service: ServiceId, words: [u32; 4]) -> Record {
        let blank = Record::new(words);
        match self.snapshot.services.service(service).map(|service| service.name) {
            Some(Name::Address(at, protocol)) => {
                Record { protocol, ends: [blank.ends[0], at, blank.ends[2]], ..blank }
            }
            Some(Name::Fwmark { fwmark, .. }) => {
                Record { words: [words[0], words[1], fwmark, words[3]], ..blank }
            }
            None => blank,
        }
    }

    /// A record about what a scheduler chose.
    pub(super) fn choice_record(&self, id: DestinationId, scheduler: u32) -> Record {
        let load = self.stats.load(id);
        let Some(destination) = self.snapshot.services.destination(id) else { return Record::new([0; 4]) };
        Record::new([load.active, load.inactive, destination.weight, scheduler]).towards(destination.endpoint)
    }

    /// A packet that opens nothing.
    pub(super) fn trace_not_scheduled(&self, parsed: &Parsed) {
        if parsed.kind == Kind::Ipsec {
            let which = u16::from(parsed.protocol == protocol::ESP);
            event!(self, NoKeyExchange, which, |_| Record::of(&parsed.key, [0; 4]));
        } else {
            event!(self, NotScheduled, |_| Record::of(&parsed.key, [0; 4]));
        }
    }

    /// Counts a drop that was decided about a packet.
    #[cold]
    pub(super) fn dropped(&self, parsed: &Parsed, why: DropReason) {
        self.stats.counters.drops[why as usize].add(1);
        let words = [why as u32, 0, 0, 0];
        if why == DropReason::BadIcmpChecksum {
            event!(self, BadChecksum, |_| Record::of(&parsed.key, words));
        } else {
            event!(self, Dropped, |_| Record::of(&parsed.key, words));
        }
    }

    /// Counts a drop of a frame that could not be read to its flow.
    #[cold]
    pub(super) fn unreadable(&self, why: DropReason) {
        self.stats.counters.drops[why as usize].add(1);
        event!(self, Unreadable, |_| Record::new([why as u32, 0, 0, 0]));
    }

    /// Tells of a packet that should have gone on and did not.
    pub(super) fn trace_not_sent(&self, verdict: Verdict) {
        if let Verdict::Dropped(why) = verdict {
            event!(self, NotSent, |_| Record::new([why as u32, 0, 0, 0]));
        }
    }

    /// As [`Pipeline::run`], one packet after the other, so that what is told of one stands together.
    #[cold]
    #[inline(never)]
    pub fn run_traced<P: Packet>(&mut self, packets: &mut Batch<P>, rx: &RxContext, out: &mut TxBuffers<P>) {
        for packet in std::mem::take(packets) {
            let parsed = self.trace_packet(packet.bytes(), rx);
            let before = Tally::of(self);
            packets.push(packet);
            self.run(packets, rx, out);
            let (outcome, which) = before.outcome(&Tally::of(self));
            event!(self, Decision, |_| Record::of(&parsed.key, [outcome as u32, which, 0, 0]));
        }
    }

    /// Tells what came in, and whether a connection is known.
    fn trace_packet(&self, frame: &[u8], rx: &RxContext) -> Parsed {
        let mut parsed = Parsed::NOTHING;
        let read = parse(frame, &rx.mac, &mut parsed);
        let kind = if read.is_ok() { parsed.kind as u32 } else { UNREADABLE };
        let words = [rx.port.into(), kind, frame.len() as u32, 0];
        event!(self, Packet, |_| Record::of(&parsed.key, words));
        let flow = matches!(parsed.kind, Kind::Flow | Kind::TruncatedL4 | Kind::Ipsec | Kind::IcmpError);
        if read.is_ok() && flow && self.steer(&parsed, rx.port) == NextStage::Lookup {
            event!(self, Lookup, |pipeline| pipeline.looked_up(&parsed));
        }
        parsed
    }

    fn looked_up(&self, parsed: &Parsed) -> Record {
        let key = if parsed.is_error() { parsed.key.reversed() } else { parsed.key };
        let found = self.conns.find(self.conns.hash(&key), &key).map(|(_, direction)| direction);
        Record::of(&key, [(found == Some(Direction::Out)).into(), found.is_some().into(), 0, 0])
    }
}

/// The numbers that `conn->flags` has in Linux: a forwarding method in the lowest three bits, and switches.
fn flags_of_the_kernel(flags: Flags) -> u32 {
    let method = match () {
        () if flags.has(Flags::NAT) => 0,
        () if flags.has(Flags::TUNNEL) => 2,
        () if flags.has(Flags::BYPASS) => 4,
        () => 3,
    };
    let switches = [(Flags::NO_OUTPUT, 0x80), (Flags::INACTIVE, 0x100), (Flags::OPS, 0x2000)];
    switches.iter().filter(|(own, _)| flags.has(*own)).fold(method, |sum, (_, kernels)| sum | kernels)
}

/// What the board counts of packets, to find out what became of one.
struct Tally {
    kernel: u64,
    handed_off: u64,
    held: u64,
    answers: [u64; IcmpReason::ALL.len()],
    drops: [u64; DropReason::ALL.len()],
}

impl Tally {
    fn of(pipeline: &Pipeline) -> Tally {
        let counters = &pipeline.stats.counters;
        Tally {
            kernel: counters.to_kernel.get(),
            handed_off: counters.handoff_sent.get(),
            held: counters.awaiting_neighbour.get() + counters.reassembling.get(),
            answers: std::array::from_fn(|place| counters.icmp_sent[place].get()),
            drops: std::array::from_fn(|place| counters.drops[place].get()),
        }
    }

    /// What happened since, and by which reason or answer.
    fn outcome(&self, after: &Tally) -> (Outcome, u32) {
        let which = |before: &[u64], after: &[u64]| {
            before.iter().zip(after).position(|(before, after)| before < after).map(|place| place as u32)
        };
        if let Some(why) = which(&self.drops, &after.drops) {
            (Outcome::Dropped, why)
        } else if let Some(what) = which(&self.answers, &after.answers) {
            (Outcome::IcmpSent, what)
        } else if self.kernel < after.kernel {
            (Outcome::Kernel, 0)
        } else if self.handed_off < after.handed_off {
            (Outcome::HandedOff, 0)
        } else if self.held < after.held {
            (Outcome::Held, 0)
        } else {
            (Outcome::Sent, 0)
        }
    }
}
