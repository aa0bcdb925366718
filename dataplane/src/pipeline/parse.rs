//! The parse stage of packets that are not plain: they are steered to the worker that owns their flow, or to the kernel.

use super::{Pipeline, RxContext};
use crate::config::FrameFor;
use crate::conn::index::{ProbeStart, Slot};
use crate::cpu::Generic;
use crate::flow::{Key, Key4};
use crate::io::{BURST, Batch};
use crate::packet::Packet;
use crate::parse::{self, Kind, Parsed, Plain};
use crate::steer::WorkerId;
use crate::verdict::DropReason;
use crate::wire::ether::{self, EtherHdr, VlanTag};
use crate::wire::{protocol, view};

/// Result of the parse stage for a packet. For a fast-path packet only the first cache line is valid; of `parsed`,
/// only the IPv6 key.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub struct PacketMeta {
    pub(super) key: Key4,
    pub(super) plain: Plain,
    pub(super) next: NextStage,
    pub(super) hash: u64,
    pub(super) probe_start: ProbeStart,
    /// Index slot that probably names the connection. Valid until the table changes.
    pub(super) candidate: Slot,
    pub(super) parsed: Parsed,
}

/// The stage that follows the parse stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NextStage {
    /// A plain packet of IPv4: the fast path, if its connection is found.
    FastPath4,
    /// A plain packet of IPv6: the fast path, if its connection is found.
    FastPath6,
    /// Generic other packet whose flow this worker owns: lookup on the slow path.
    Lookup,
    /// A fragment that may be of balanced traffic.
    Reassemble,
    /// Not balanced traffic.
    ToKernel,
    /// Another worker owns the flow.
    HandOff(WorkerId),
    /// Malformed.
    Drop(DropReason),
}

impl PacketMeta {
    /// The record of a packet that is not plain.
    pub(super) fn of(parsed: Parsed, hash: u64, next: NextStage) -> PacketMeta {
        let (probe_start, candidate) = (ProbeStart::default(), Slot::NONE);
        PacketMeta { key: Key4::NONE, plain: Plain::NOTHING, next, hash, probe_start, candidate, parsed }
    }

    /// The key of a plain packet.
    pub(super) fn key(&self) -> Key {
        if self.next == NextStage::FastPath6 { self.parsed.key } else { Key::V4(self.key) }
    }
}

/// Records for a burst.
pub(super) fn metas() -> Box<[PacketMeta]> {
    let nothing = PacketMeta::of(Parsed::NOTHING, 0, NextStage::ToKernel);
    vec![nothing; BURST].into_boxed_slice()
}

impl Pipeline {
    /// Parses a burst of a port whose untagged link is down or does not exist: none of its packets is plain.
    #[cold]
    #[inline(never)]
    pub(super) fn parse_without_link<P: Packet>(
        &self,
        packets: &Batch<P>,
        rx: &RxContext,
        metas: &mut [PacketMeta],
    ) {
        packets.iter().zip(metas).for_each(|(packet, meta)| self.parse_any(packet.bytes(), rx, meta));
    }

    /// Parses a packet that is not plain, or is addressed to another interface on top of the port.
    #[inline(never)]
    pub(super) fn parse_any(&self, frame: &[u8], rx: &RxContext, meta: &mut PacketMeta) {
        match self.frame_for(frame, rx.port) {
            Ok(FrameFor::Us) if self.parse_plain_to_other(frame, rx, meta) => {}
            Ok(FrameFor::Us) => self.parse_headers(frame, rx, meta),
            Ok(FrameFor::Kernel) => (meta.parsed.kind, meta.next) = (Kind::Other, NextStage::ToKernel),
            Err(why) => (meta.parsed.kind, meta.next) = (Kind::Other, NextStage::Drop(why)),
        }
    }

    fn frame_for(&self, frame: &[u8], port: u16) -> Result<FrameFor, DropReason> {
        let eth: &EtherHdr = view(frame, 0).ok_or(DropReason::ShortEther)?;
        let vlan = if eth.kind.get() == ether::VLAN {
            view::<VlanTag>(frame, ether::LEN).ok_or(DropReason::ShortEther)?.vlan()
        } else {
            0
        };
        self.snapshot.receivers.frame_for(port, vlan, &eth.dst)
    }

    /// Parses a packet that would be plain if it had the address of the port's link. Returns false, and changes nothing,
    /// for any other packet.
    fn parse_plain_to_other(&self, frame: &[u8], rx: &RxContext, meta: &mut PacketMeta) -> bool {
        let Some(mac) =
            frame.first_chunk().filter(|mac| self.snapshot.receivers.plain(rx.port) != Some(**mac))
        else {
            return false;
        };
        if let Some((plain, key)) = Plain::read(Generic, frame, *mac) {
            (meta.plain, meta.key, meta.next) = (plain, key, NextStage::FastPath4);
        } else if let Some((plain, key)) = Plain::read6(Generic, frame, *mac) {
            (meta.plain, meta.parsed.key, meta.next) = (plain, Key::V6(key), NextStage::FastPath6);
        } else {
            return false;
        }
        meta.hash = self.conns.hash(&meta.key());
        meta.probe_start = self.conns.prefetch_bucket(meta.hash);
        true
    }

    fn parse_headers(&self, frame: &[u8], rx: &RxContext, meta: &mut PacketMeta) {
        let port = rx.port;
        meta.next = match parse::parse(frame, &mut meta.parsed) {
            Err(why) => NextStage::Drop(why),
            Ok(()) => match meta.parsed.kind {
                Kind::Ipsec if self.snapshot.settings.is_off(meta.parsed.protocol) => NextStage::ToKernel,
                Kind::Flow | Kind::TruncatedL4 | Kind::Ipsec => self.steer(&meta.parsed, port),
                Kind::IcmpError if self.is_tunnel(&meta.parsed) => self.unwrap(frame, &mut meta.parsed, port),
                Kind::IcmpError => self.steer(&meta.parsed, port),
                Kind::TunnelError => self.unwrap(frame, &mut meta.parsed, port),
                Kind::Other => NextStage::ToKernel,
                Kind::Fragment => self.steer_fragment(frame, &meta.parsed, rx),
            },
        };
        if meta.next == NextStage::Lookup {
            meta.hash = self.hash_of(&meta.parsed);
            meta.probe_start = self.conns.prefetch_bucket(meta.hash);
        }
    }

    /// The hash by which a packet's connection is found. An ICMP error quotes a packet of the other direction.
    pub(super) fn hash_of(&self, parsed: &Parsed) -> u64 {
        let quotes = parsed.kind == Kind::IcmpError;
        if quotes { self.conns.hash(&parsed.key.reversed()) } else { self.conns.hash(&parsed.key) }
    }

    /// Whether an error quotes a UDP datagram that is one of our GUE tunnels.
    pub(super) fn is_tunnel(&self, parsed: &Parsed) -> bool {
        let (tunnels, to) = (&self.snapshot.services.gue_ends, parsed.key.dst());
        !tunnels.is_empty() && parsed.key.protocol() == protocol::UDP && tunnels.contains(&to)
    }

    /// An error about what may be a tunnel packet of ours belongs to the flow of the inner packet.
    #[cold]
    fn unwrap(&self, frame: &[u8], parsed: &mut Parsed, port: u16) -> NextStage {
        if parse::inside(frame, parsed) { self.steer(parsed, port) } else { NextStage::ToKernel }
    }

    /// The stage that follows: lookup if this worker owns the packet's flow, else hand-off to the owner.
    #[inline]
    pub(super) fn steer(&self, parsed: &Parsed, port: u16) -> NextStage {
        if self.steering.workers == 1 {
            return NextStage::Lookup;
        }
        match self.steering.owner(parsed, port, &self.snapshot) {
            Some(owner) if owner != self.worker_id => NextStage::HandOff(owner),
            _ => NextStage::Lookup,
        }
    }
}
