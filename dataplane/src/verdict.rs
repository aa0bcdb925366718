//! Verdicts. Every packet gets exactly one, and every drop has a named reason with a counter of its own.

use std::fmt;

use crate::wire::protocol;

/// The final disposition of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Sent by a port.
    Sent,
    /// Answered with an ICMP error.
    IcmpSent(IcmpReason),
    /// Not balanced: passed to the kernel.
    ToKernel,
    /// Handed off to the worker that owns its flow.
    HandedOff,
    /// It is held until the rest of its datagram or a neighbour's address arrives.
    Held,
    /// Dropped.
    Dropped(DropReason),
}

/// Defines an enum of which each member has a word for its counter and a description for users.
macro_rules! named {
    ($(#[$doc:meta])* $name:ident: $repr:ident { $($member:ident = $word:literal, $why:literal;)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr($repr)]
        pub enum $name { $(#[doc = $why] $member,)* }

        impl $name {
            /// Every member, in the order of its counter.
            pub const ALL: &'static [$name] = &[$($name::$member),*];

            /// The word that names its counter.
            pub fn word(self) -> &'static str {
                match self { $($name::$member => $word,)* }
            }

            /// A description for users.
            pub fn why(self) -> &'static str {
                match self { $($name::$member => $why,)* }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.word())
            }
        }
    };
}

named! {
    /// Why a packet was dropped.
    DropReason: u8 {
        ShortEther = "short-ether", "the frame is shorter than its Ethernet header";
        OtherHost = "other-host", "the frame is addressed to another host";
        LinkDown = "link-down", "the frame arrived on a link that is down, or on a port without a link";
        OtherNamespace = "other-namespace", "the kernel sent the frame by a port or VLAN that is bound to another namespace";
        ShortIp = "short-ip", "the packet is shorter than its IP header says";
        BadIpHeader = "bad-ip-header", "the version or header length in the IP header is invalid";
        BadIpChecksum = "bad-ip-checksum", "the IPv4 header checksum is wrong";
        ShortTcp = "short-tcp", "the segment is shorter than its TCP header";
        ShortSctp = "short-sctp", "the packet is shorter than its SCTP header and first chunk header";
        ShortUdp = "short-udp", "the datagram is shorter than its UDP header";
        Untranslatable = "untranslatable", "NAT cannot translate a truncated transport header";
        BadIcmpChecksum = "bad-icmp-checksum", "the ICMP error's checksum is wrong";
        IcmpLimited = "icmp-limited", "an ICMP error would exceed the rate limits of ICMP errors";
        Unanswerable = "unanswerable", "an ICMP error would need a source address that this machine does not have";
        DatagramAnswered = "datagram-answered", "one of the remaining fragments of a datagram that was answered with an ICMP error";
        AhLikeLinux = "ah-like-linux", "AH over IPv6 that belongs to a balanced key exchange, with like_linux_6_1 on";
        Defence = "defence", "the drop_packet defence dropped a packet that would open a connection";
        NoCallId = "no-call-id", "the service's persistence uses the SIP Call-ID, and the packet has none";
        TemplatesFull = "templates-full", "the table of persistence templates is full";
        NoDestination = "no-destination", "an ICMP error would open a connection, but no destination is usable";
        PmtuLearnt = "pmtu-learnt", "an ICMP error reported the path MTU of a tunnel; it was stored, and the client need not be notified";
        FragmentLength = "fragment-length", "a fragment is empty, or it is not the last one and its length is not a multiple of 8";
        FragmentTooFar = "fragment-too-far", "a fragment ends beyond the maximum packet size";
        FragmentDuplicate = "fragment-duplicate", "a fragment arrived twice";
        FragmentOverlap = "fragment-overlap", "fragments of the datagram overlap, so all of them are dropped";
        FragmentEnd = "fragment-end", "fragments disagree on where the datagram ends, so all of them are dropped";
        FragmentsTooMany = "fragments-too-many", "the datagram arrived in more fragments than can be reassembled";
        FragmentsFull = "fragments-full", "the reassembly buffer was full, and this was one of the oldest fragments";
        FragmentTimeout = "fragment-timeout", "the remaining fragments of the datagram did not arrive in time";
        NoBuffer = "no-buffer", "no packet buffer was free to fragment a packet";
        TableFull = "table-full", "the connection table is full of established connections";
        DestinationGone = "destination-gone", "the connection's destination was removed";
        NoRoute = "no-route", "there is no route to the destination";
        NeighbourUnresolved = "neighbour-unresolved", "the next hop's link-layer address was not resolved in time";
        NoHeadroom = "no-headroom", "the packet buffer has no room for another header";
        TunnelMtu = "tunnel-mtu", "the MTU of the tunnel's path is too small for the smallest packet";
        TooBig = "too-big", "the packet exceeds the MTU, and no ICMP error may answer it";
        TtlOfError = "ttl-of-error", "the TTL of an ICMP error expired, and no ICMP error may answer it";
        HandOffFull = "hand-off-full", "the owning worker's hand-off ring is full";
        KernelRingFull = "kernel-ring-full", "the ring to the kernel is full";
        TransmitFull = "transmit-full", "the port's transmit queue is full";
    }
}

named! {
    /// Why a packet was answered with an ICMP error.
    IcmpReason: u8 {
        NoDestination = "no-destination", "port unreachable: no destination of the service is usable";
        NoConnection = "no-connection", "port unreachable: a packet from a NAT destination belongs to no connection";
        TtlExceeded = "ttl-exceeded", "time exceeded: the TTL or hop limit expired";
        TunnelError = "tunnel-error", "a router reported an error about a tunnel packet; it is sent to the client for the inner packet";
        FragmentationNeeded = "fragmentation-needed", "fragmentation needed or packet too big: the packet exceeds the path MTU";
    }
}

named! {
    /// Why a packet took the slow path. As wide as a port number, so that a result of either fits two registers.
    SlowPathReason: u16 {
        NotPlain = "not-plain", "neither TCP nor UDP, or with tags, options, extension headers or a truncated header";
        Fragment = "fragment", "a fragment";
        IcmpError = "icmp-error", "an ICMP error";
        NoConnection = "no-connection", "no connection is known here: it opens one, is not balanced, or another worker owns it";
        State = "state", "it opens, closes or otherwise changes the state of its connection";
        Feature = "feature", "its connection has a feature that must see every packet";
        Adjacency = "adjacency", "the next hop or the tunnel of its connection is not ready for the fast path";
        ClientRoute = "client-route", "a reply whose route to the client is not kept with its connection";
        SizeOrTtl = "size-or-ttl", "it is too big for the next hop, or its TTL or hop limit expires";
        NoChecksum = "no-checksum", "it is a UDP datagram without a checksum, which NAT has to compute";
    }
}

impl DropReason {
    /// The reason for a packet that is shorter than its transport header.
    pub fn short(protocol: u8) -> DropReason {
        match protocol {
            protocol::TCP => DropReason::ShortTcp,
            protocol::UDP => DropReason::ShortUdp,
            _ => DropReason::ShortSctp,
        }
    }
}
