//! The first stage: a packet is parsed, its key hashed, and the index line asked for; what is not plain is steered, too.

use super::{Pipeline, RxContext};
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
pub struct PacketMeta {
    pub(super) key: Key4,
    pub(super) plain: Plain,
    pub(super) next: NextStage,
    pub(super) hash: u64,
    pub(super) spot: Spot,
    /// Where the connection probably is; holds as long as no connection comes or goes.
    pub(super) candidate: Slot,
    pub(super) parsed: Parsed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NextStage {
    /// A plain packet of IPv4, for the express way if it finds its connection.
    FastPath4,
    /// The same of IPv6.
    FastPath6,
    Lookup,
    Reassemble,
    ToKernel,
    HandOff(WorkerId),
    Drop(DropReason),
}

impl PacketMeta {
    /// What is known of a packet that may be anything.
    pub(super) fn of(parsed: Parsed, hash: u64, next: NextStage) -> PacketMeta {
        let (spot, candidate) = (Spot::default(), Slot::NONE);
        PacketMeta { key: Key4::NONE, plain: Plain::NOTHING, next, hash, spot, candidate, parsed }
    }

    /// The key of a plain packet.
    pub(super) fn key(&self) -> Key {
        if self.next == NextStage::FastPath6 { self.parsed.key } else { Key::V4(self.key) }
    }
}

/// Room for the first stage's findings about a burst.
pub fn metas() -> Box<[PacketMeta]> {
    let nothing = PacketMeta::of(Parsed::NOTHING, 0, NextStage::ToKernel);
    vec![nothing; BURST].into_boxed_slice()
}

impl Pipeline {
    /// First stage: parse, hash, ask for the index line. A plain packet is steered only when its connection is not here:
    /// a connection is at its owner and nowhere else, and to find it costs less than to ask whose it is.
    #[inline(always)]
    pub(super) fn read<C: Cpu>(
        &self,
        (cpu, start): (C, C::Start),
        frame: &[u8],
        rx: &RxContext,
        meta: &mut PacketMeta,
    ) {
        let Some((plain, key)) = Plain::read(cpu, frame, start) else {
            if !self.read6(cpu, start, frame, meta) {
                self.read_any(frame, rx, meta);
            }
            return;
        };
        (meta.plain, meta.key, meta.next) = (plain, key, NextStage::FastPath4);
        meta.hash = cpu.hash4(self.conns.seed(), &key);
        meta.spot = self.conns.prefetch_line(meta.hash);
    }

    /// The same for plain packets of IPv6; false, and nothing has changed, of others.
    #[inline(always)]
    fn read6<C: Cpu>(&self, cpu: C, start: C::Start, frame: &[u8], meta: &mut PacketMeta) -> bool {
        let Some((plain, key)) = Plain::read6(cpu, frame, start) else { return false };
        (meta.plain, meta.parsed.key, meta.next) = (plain, Key::V6(key), NextStage::FastPath6);
        meta.hash = cpu.hash6(self.conns.seed(), &key);
        meta.spot = self.conns.prefetch_line(meta.hash);
        true
    }

    /// The same for packets that are not plain.
    #[inline(never)]
    fn read_any(&self, frame: &[u8], rx: &RxContext, meta: &mut PacketMeta) {
        let port = rx.port;
        meta.next = match parse::parse_any(frame, &rx.mac, &mut meta.parsed) {
            Err(why) => NextStage::Drop(why),
            Ok(()) => match meta.parsed.kind {
                Kind::Ipsec if self.snapshot.settings.is_off(meta.parsed.protocol) => NextStage::ToKernel,
                Kind::Flow | Kind::TruncatedL4 | Kind::Ipsec => self.steer(&meta.parsed, port),
                Kind::IcmpError if self.is_tunnel(&meta.parsed) => self.unwrap(frame, &mut meta.parsed, port),
                Kind::IcmpError => self.steer(&meta.parsed, port),
                Kind::TunnelError => self.unwrap(frame, &mut meta.parsed, port),
                Kind::Other => NextStage::ToKernel,
                Kind::Fragment => self.fragment(frame, &meta.parsed, rx),
            },
        };
        if meta.next == NextStage::Lookup {
            meta.hash = self.hash_of(&meta.parsed);
            meta.spot = self.conns.prefetch_line(meta.hash);
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
    fn unwrap(&self, frame: &[u8], parsed: &mut Parsed, port: u16) -> NextStage {
        if parse::inside(frame, parsed) { self.steer(parsed, port) } else { NextStage::ToKernel }
    }

    #[inline]
    pub(super) fn steer(&self, parsed: &Parsed, port: u16) -> NextStage {
        if self.steering.workers == 1 {
            return NextStage::Lookup;
        }
        match self.steering.owner(parsed, port, &self.snapshot) {
            Some(owner) if owner != self.me => NextStage::HandOff(owner),
            _ => NextStage::Lookup,
        }
    }
}
