//! What became of a packet. Every packet ends in exactly one verdict, and every drop has a name.

use std::fmt;

use crate::wire::protocol;

/// What became of a packet that a worker received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It left through a port.
    Sent,
    /// It was turned into an answer to its sender.
    IcmpSent(IcmpReason),
    /// It is not ours to balance: the kernel gets it.
    ToKernel,
    /// Another worker owns its flow.
    HandedOff,
    /// It is held until the rest of its datagram or a neighbour's address arrives.
    Held,
    /// It is gone.
    Dropped(DropReason),
}

/// Makes an enum whose members have a word for counters and a sentence for people.
macro_rules! named {
    ($(#[$doc:meta])* $name:ident: $repr:ident { $($member:ident = $word:literal, $why:literal;)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr($repr)]
        pub enum $name { $(#[doc = $why] $member,)* }

        impl $name {
            /// Every member, in the order of its counter.
            pub const ALL: &'static [$name] = &[$($name::$member),*];

            /// The word of its counter.
            pub fn word(self) -> &'static str {
                match self { $($name::$member => $word,)* }
            }

            /// What it means, as a sentence.
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
        OtherHost = "other-host", "the frame is addressed to another station";
        OtherNamespace = "other-namespace", "the kernel sent it by a port or VLAN that is bound to another namespace";
        ShortIp = "short-ip", "the packet is shorter than its IP header says";
        BadIpHeader = "bad-ip-header", "the version or the header length of the IP header is wrong";
        BadIpChecksum = "bad-ip-checksum", "the checksum of the IPv4 header is wrong";
        ShortTcp = "short-tcp", "the segment is shorter than its TCP header";
        ShortSctp = "short-sctp", "the packet is shorter than its SCTP header and first chunk header";
        ShortUdp = "short-udp", "the datagram is shorter than its UDP header";
        Untranslatable = "untranslatable", "NAT cannot translate a transport header that is cut short";
        BadIcmpChecksum = "bad-icmp-checksum", "the ICMP error's checksum is wrong";
        Unanswerable = "unanswerable", "an answer would need a source address that is not this machine's";
        DatagramAnswered = "datagram-answered", "the datagram arrived in fragments and was answered with an ICMP error; the error quotes the first, these are the others";
        AhLikeLinux = "ah-like-linux", "AH over IPv6 of a balanced key exchange, with like_linux_6_1";
        Defence = "defence", "drop_packet took this new connection";
        NoCallId = "no-call-id", "a service that persists by Call-ID got a packet without one";
        TemplatesFull = "templates-full", "there is no room for another persistence template";
        NoDestination = "no-destination", "an ICMP error would open a connection and no destination is usable";
        PmtuLearnt = "pmtu-learnt", "an ICMP error reported the MTU of a tunnel path; it was noted and nobody else needs it";
        FragmentLength = "fragment-length", "a fragment is empty, or not the last and no multiple of eight bytes";
        FragmentTooFar = "fragment-too-far", "a fragment reaches beyond the end of the longest packet";
        FragmentDuplicate = "fragment-duplicate", "a fragment came twice";
        FragmentOverlap = "fragment-overlap", "fragments overlap, so all of the datagram are gone";
        FragmentEnd = "fragment-end", "fragments disagree on where their datagram ends, so all of it are gone";
        FragmentsTooMany = "fragments-too-many", "a datagram came in more fragments than are gathered";
        FragmentsFull = "fragments-full", "there was no room for fragments, and these were waiting longest";
        FragmentTimeout = "fragment-timeout", "the other fragments of the datagram did not come in time";
        NoBuffer = "no-buffer", "no buffer was left for the pieces of a packet that had to be fragmented";
        TableFull = "table-full", "the connection table is full of established connections";
        DestinationGone = "destination-gone", "the connection's destination was removed";
        NoRoute = "no-route", "there is no route to the next receiver";
        NeighbourUnresolved = "neighbour-unresolved", "the next hop's link-layer address did not become known";
        NoHeadroom = "no-headroom", "the buffer has no room for another header";
        TunnelMtu = "tunnel-mtu", "the tunnel's path cannot carry the smallest packet";
        TooBig = "too-big", "the packet exceeds the MTU and no answer may be made";
        TtlOfError = "ttl-of-error", "the hops of an ICMP error ran out, which must not be answered";
        HandOffFull = "hand-off-full", "the owning worker's hand-off ring is full";
        KernelRingFull = "kernel-ring-full", "the ring to the kernel is full";
        TransmitFull = "transmit-full", "the port's transmit queue is full";
    }
}

named! {
    /// Why a packet was turned into an ICMP message to its sender.
    IcmpReason: u8 {
        NoDestination = "no-destination", "no destination of the service is usable: port unreachable";
        NoConnection = "no-connection", "a NAT destination's packet belongs to no connection: port unreachable";
        TtlExceeded = "ttl-exceeded", "the hops ran out: time exceeded";
        TunnelError = "tunnel-error", "an ICMP error about a tunnel's outer packet, connection_record to the client about the inner one";
        FragmentationNeeded = "fragmentation-needed", "too big for the way: fragmentation needed or packet too big";
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
        SizeOrHops = "size-or-hops", "it is too big for the next hop, or its hops run out";
        NoChecksum = "no-checksum", "it is a UDP datagram without a checksum, which NAT has to compute";
    }
}

impl DropReason {
    /// Of a packet that is shorter than its transport header.
    pub fn short(protocol: u8) -> DropReason {
        match protocol {
            protocol::TCP => DropReason::ShortTcp,
            protocol::UDP => DropReason::ShortUdp,
            _ => DropReason::ShortSctp,
        }
    }
}
