//! The first stage: a packet is parsed, its key hashed, and the index line asked for; what is not plain is steered, too.

use super::{Arrival, Line};
use crate::conn::index::{Slot, Spot};
use crate::cpu::Cpu;
use crate::flow::{Key, Key4};
use crate::io::BURST;
use crate::parse::{self, Kind, Parsed, Plain};
use crate::steer::WorkerId;
use crate::verdict::DropReason;
use crate::wire::protocol;

/// What the first stage found out about a packet.
///
/// Of a plain packet for us it is in the first line, and `parsed` says nothing but for the key of IPv6.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub struct Work {
    pub(super) key: Key4,
    pub(super) plain: Plain,
    pub(super) step: Step,
    pub(super) hash: u64,
    pub(super) spot: Spot,
    /// Where the connection probably is; holds as long as no connection comes or goes.
    pub(super) guess: Slot,
    pub(super) parsed: Parsed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A plain packet of IPv4, for the express way if it finds its connection.
    Express,
    /// The same of IPv6.
    Express6,
    Find,
    Gather,
    ToKernel,
    HandOff(WorkerId),
    Drop(DropReason),
}

impl Work {
    /// What is known of a packet that may be anything.
    pub(super) fn of(parsed: Parsed, hash: u64, step: Step) -> Work {
        let (spot, guess) = (Spot::default(), Slot::NONE);
        Work { key: Key4::NONE, plain: Plain::NOTHING, step, hash, spot, guess, parsed }
    }

    /// The key of a plain packet.
    pub(super) fn key(&self) -> Key {
        if self.step == Step::Express6 { self.parsed.key } else { Key::V4(self.key) }
    }
}

/// Room for the first stage's findings about a burst.
pub fn works() -> Box<[Work]> {
    let nothing = Work::of(Parsed::NOTHING, 0, Step::ToKernel);
    vec![nothing; BURST].into_boxed_slice()
}

impl Line {
    /// First stage: parse, hash, ask for the index line. A plain packet is steered only when its connection is not here:
    /// a connection is at its owner and nowhere else, and to find it costs less than to ask whose it is.
    #[inline(always)]
    pub(super) fn read<C: Cpu>(
        &self,
        (cpu, start): (C, C::Start),
        frame: &[u8],
        arrival: &Arrival,
        work: &mut Work,
    ) {
        let Some((plain, key)) = Plain::read(cpu, frame, start) else {
            if !self.read6(cpu, start, frame, work) {
                self.read_any(frame, arrival, work);
            }
            return;
        };
        (work.plain, work.key, work.step) = (plain, key, Step::Express);
        work.hash = cpu.hash4(self.conns.seed(), &key);
        work.spot = self.conns.prefetch_line(work.hash);
    }

    /// The same for plain packets of IPv6; false, and nothing has changed, of others.
    #[inline(always)]
    fn read6<C: Cpu>(&self, cpu: C, start: C::Start, frame: &[u8], work: &mut Work) -> bool {
        let Some((plain, key)) = Plain::read6(cpu, frame, start) else { return false };
        (work.plain, work.parsed.key, work.step) = (plain, Key::V6(key), Step::Express6);
        work.hash = cpu.hash6(self.conns.seed(), &key);
        work.spot = self.conns.prefetch_line(work.hash);
        true
    }

    /// The same for packets that are not plain.
    #[inline(never)]
    fn read_any(&self, frame: &[u8], arrival: &Arrival, work: &mut Work) {
        let port = arrival.port;
        work.step = match parse::parse_any(frame, &arrival.mac, &mut work.parsed) {
            Err(why) => Step::Drop(why),
            Ok(()) => match work.parsed.kind {
                Kind::Ipsec if self.snapshot.settings.is_off(work.parsed.protocol) => Step::ToKernel,
                Kind::Flow | Kind::Stub | Kind::Ipsec => self.steer(&work.parsed, port),
                Kind::IcmpError if self.is_tunnel(&work.parsed) => self.unwrap(frame, &mut work.parsed, port),
                Kind::IcmpError => self.steer(&work.parsed, port),
                Kind::TunnelError => self.unwrap(frame, &mut work.parsed, port),
                Kind::Other => Step::ToKernel,
                Kind::Fragment => self.fragment(frame, &work.parsed, arrival),
            },
        };
        if work.step == Step::Find {
            work.hash = self.hash_of(&work.parsed);
            work.spot = self.conns.prefetch_line(work.hash);
        }
    }

    /// By which a packet's connection is found. What an error quotes went the other way.
    pub(super) fn hash_of(&self, parsed: &Parsed) -> u64 {
        let quotes = parsed.kind == Kind::IcmpError;
        if quotes { self.conns.hash(&parsed.key.reversed()) } else { self.conns.hash(&parsed.key) }
    }

    /// Whether an error quotes a UDP datagram that is one of our GUE tunnels.
    pub(super) fn is_tunnel(&self, parsed: &Parsed) -> bool {
        let (tunnels, to) = (&self.snapshot.services.gue_ends, parsed.key.dst());
        !tunnels.is_empty() && parsed.key.protocol() == protocol::UDP && tunnels.contains(&to)
    }

    /// An error about what may be a tunnel packet of ours: the flow is that of the packet inside.
    #[cold]
    fn unwrap(&self, frame: &[u8], parsed: &mut Parsed, port: u16) -> Step {
        if parse::inside(frame, parsed) { self.steer(parsed, port) } else { Step::ToKernel }
    }

    #[inline]
    pub(super) fn steer(&self, parsed: &Parsed, port: u16) -> Step {
        if self.steering.workers == 1 {
            return Step::Find;
        }
        match self.steering.owner(parsed, port, &self.snapshot) {
            Some(owner) if owner != self.me => Step::HandOff(owner),
            _ => Step::Find,
        }
    }
}
