//! Operations that processors of the last ten years have as single instructions: vectors of bytes, and rounds of AES.
//!
//! The packet path is compiled once for each [`Cpu`]. A value of [`Avx2`] exists only on a processor with its
//! instructions, so its methods are safe to call.
#![allow(unsafe_code, reason = "code for processors that have more must only run there")]

#[cfg(target_arch = "x86_64")]
mod avx2;

use zerocopy::IntoBytes;
use zerocopy::network_endian::U128;

use crate::flow::{Key, Key4, Key6, Ports, Seed};
use crate::wire::ether::{self, MacBytes};
use crate::wire::ipv4::Ipv4Hdr;
use crate::wire::ipv6::Ipv6Hdr;
use crate::wire::plain::Head;

/// The start of a plain IPv4 frame.
pub type Head4 = Head<Ipv4Hdr>;

/// The start of a plain IPv6 frame.
pub type Head6 = Head<Ipv6Hdr>;

/// Two of the three ends of a connection, laid out as in [`Key4`], with other fields in its unused bytes.
pub type Ends = [u8; 16];

/// Mask of the bytes of [`Ends`] that belong to a key.
const KEY: Ends = [!0, !0, !0, !0, !0, !0, !0, 0, !0, !0, !0, !0, !0, !0, 0, 0];

/// A kind of processor.
pub trait Cpu: Copy {
    /// Prepared value that [`Cpu::is_plain`] compares with.
    type Start: Copy;

    /// The value for frames to the hardware address `mac`.
    fn start(self, mac: &MacBytes) -> Self::Start;

    /// True if a frame is addressed to us and is untagged IPv4, without options and not a fragment.
    fn is_plain(self, head: &Head4, start: Self::Start) -> bool;

    /// True if a frame is addressed to us and is untagged IPv6. Extension headers are not checked.
    fn is_plain6(self, head: &Head6, start: Self::Start) -> bool;

    /// The flow key of a plain IPv4 frame.
    fn key(self, head: &Head4) -> Key4;

    /// The hash of a key, the same as [`Seed::hash`].
    fn hash4(self, seed: &Seed, key: &Key4) -> u64;

    /// As [`Cpu::hash4`], for IPv6.
    fn hash6(self, seed: &Seed, key: &Key6) -> u64;

    /// True if these are the ends of a key.
    fn are_ends(self, ends: &Ends, key: &Key4) -> bool;

    /// True if these are the addresses of a key.
    fn are_addresses(self, these: &[u8; 32], addresses: &[U128; 2]) -> bool;

    /// Two bits for each lane, both set if the lane equals `want`; the first lane has the lowest bits.
    fn equal_lanes(self, lanes: &[u16; 8], want: u16) -> u32;
}

/// Any processor.
#[derive(Clone, Copy, Debug)]
pub struct Generic;

impl Cpu for Generic {
    type Start = MacBytes;

    #[inline(always)]
    fn start(self, mac: &MacBytes) -> MacBytes {
        *mac
    }

    #[inline(always)]
    fn is_plain(self, head: &Head4, mac: MacBytes) -> bool {
        let ip = &head.ip;
        head.ether[..mac.len()] == mac
            && head.kind.get() == ether::IPV4
            && ip.version_ihl == 0x45
            && !ip.is_fragment()
    }

    #[inline(always)]
    fn is_plain6(self, head: &Head6, mac: MacBytes) -> bool {
        let kind = head.kind.get() == ether::IPV6;
        head.ether[..mac.len()] == mac && kind && head.ip.version_class_flow.get() >> 28 == 6
    }

    #[inline(always)]
    fn key(self, head: &Head4) -> Key4 {
        let (ip, [src, dst]) = (&head.ip, head.l4_ports);
        Key4::new(ip.src.get(), ip.dst.get(), Ports::new(src.get(), dst.get()), ip.protocol)
    }

    #[inline(always)]
    fn hash4(self, seed: &Seed, key: &Key4) -> u64 {
        hash4(seed, key)
    }

    #[inline(always)]
    fn hash6(self, seed: &Seed, key: &Key6) -> u64 {
        hash6(seed, key)
    }

    #[inline(always)]
    fn are_ends(self, ends: &Ends, key: &Key4) -> bool {
        let key: Ends = zerocopy::transmute!(*key);
        (u128::from_ne_bytes(*ends) ^ u128::from_ne_bytes(key)) & u128::from_ne_bytes(KEY) == 0
    }

    #[inline(always)]
    fn are_addresses(self, these: &[u8; 32], addresses: &[U128; 2]) -> bool {
        these == addresses.as_bytes()
    }

    #[inline(always)]
    fn equal_lanes(self, lanes: &[u16; 8], want: u16) -> u32 {
        #[cfg(target_arch = "x86_64")]
        {
            // SAFETY: SSE2 is part of every x86-64 processor.
            unsafe { avx2::equal_lanes_by_sse2(lanes, want) }
        }
        #[cfg(not(target_arch = "x86_64"))]
        {
            let equal = |(lane, &value)| (3 * u32::from(value == want)) << (2 * lane);
            lanes.iter().enumerate().map(equal).sum()
        }
    }
}

/// Here and not with the type, because the hash depends on the processor.
impl Seed {
    /// The hash of a flow key as this processor computes it. It is stable only while the process runs.
    #[inline]
    pub fn hash(&self, key: &Key) -> u64 {
        match key {
            Key::V4(key) => hash4(self, key),
            Key::V6(key) => hash6(self, key),
        }
    }
}

/// The hash of a key as this processor computes it.
pub fn hash4(seed: &Seed, key: &Key4) -> u64 {
    #[cfg(target_arch = "x86_64")]
    if let Some(cpu) = Avx2::found() {
        return cpu.hash4(seed, key);
    }
    seed.multiply4(key)
}

/// As [`hash4`], for IPv6.
pub fn hash6(seed: &Seed, key: &Key6) -> u64 {
    #[cfg(target_arch = "x86_64")]
    if let Some(cpu) = Avx2::found() {
        return cpu.hash6(seed, key);
    }
    seed.multiply6(key)
}

#[cfg(target_arch = "x86_64")]
pub use avx2::Avx2;

#[cfg(all(test, target_arch = "x86_64"))]
pub(crate) mod tests;
