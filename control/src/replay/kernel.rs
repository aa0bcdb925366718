//! The honesty rule for frames given to the kernel.
//!
//! The recording does not say which frames IPVS made and which the kernel's stack. So when Pollux gives an input to the
//! kernel, this module works out what a *plain* stack, one without IPVS, does with that very packet, and the recorded
//! frames must be that and nothing else. A balancer that hands everything to the kernel passes nothing this way.

use std::fmt;

use super::balancer::Side;
use super::case::Output;
use super::diff;
use super::frames::{ETHER, Ip, ip_of_frame, protocol};
use super::topology::is_local;
use crate::kernel::facts::Facts;

/// What a plain stack does with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expectation {
    /// Sends it on, one hop fewer.
    Routed,
    /// Answers with a TCP reset.
    Reset,
    /// Answers that port or protocol is unreachable.
    Unreachable,
    /// Answers a ping.
    EchoReply,
    /// Says nothing.
    Silence,
}

impl fmt::Display for Expectation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Expectation::Routed => "send it on",
            Expectation::Reset => "answer with a RST",
            Expectation::Unreachable => "answer with an ICMP unreachable",
            Expectation::EchoReply => "answer with an echo reply",
            Expectation::Silence => "say nothing",
        })
    }
}

/// Judges recorded frames caused by an input that Pollux gave to the kernel: the number of frames that are the
/// kernel's, or why they cannot be.
///
/// # Errors
/// A sentence for people.
pub fn judge(input: &[u8], recorded: &[&Output], facts: &Facts) -> Result<usize, String> {
    let Some(packet) = ip_of_frame(input) else { return Ok(recorded.len()) };
    let expectation = plain_stack(&packet, facts);
    let fits = match (expectation, recorded) {
        (Expectation::Silence, []) => true,
        (Expectation::Silence, _) | (_, []) => false,
        (_, [output]) => is_that(expectation, &packet, output, facts),
        _ => false,
    };
    if fits {
        return Ok(recorded.len());
    }
    let got = match recorded {
        [] => "nothing".to_owned(),
        some => some.iter().map(|o| diff::summary(&o.frame)).collect::<Vec<_>>().join("; "),
    };
    Err(format!("given to the kernel, which alone would {expectation}; recorded: {got}"))
}

/// What a stack without IPVS does with this packet.
pub fn plain_stack(packet: &Ip<'_>, facts: &Facts) -> Expectation {
    if !packet.header_checksum_is_right() {
        return Expectation::Silence;
    }
    if !is_local(facts, packet.destination) {
        return Expectation::Routed;
    }
    match packet.protocol {
        protocol::TCP if packet.payload().len() < 20 || !packet.l4_checksum_is_right() => {
            Expectation::Silence
        }
        protocol::TCP if is_reset(packet) => Expectation::Silence,
        protocol::TCP => Expectation::Reset,
        protocol::UDP if packet.payload().len() < 8 || !packet.l4_checksum_is_right() => Expectation::Silence,
        protocol::ICMP | protocol::ICMPV6 => match packet.icmp() {
            Some((8 | 128, _)) => Expectation::EchoReply,
            _ => Expectation::Silence,
        },
        _ => Expectation::Unreachable,
    }
}

fn is_that(expectation: Expectation, packet: &Ip<'_>, output: &Output, facts: &Facts) -> bool {
    let Some(answer) = ip_of_frame(&output.frame) else { return false };
    let returned = (answer.source, answer.destination) == (packet.destination, packet.source);
    match expectation {
        Expectation::Routed => is_routed(packet, output, facts),
        Expectation::Reset => {
            let ports = packet.ports().map(|(from, to)| (to, from));
            returned && answer.protocol == protocol::TCP && is_reset(&answer) && answer.ports() == ports
        }
        Expectation::Unreachable => {
            // Port unreachable of either family, protocol unreachable, and ICMPv6's unknown next header.
            let kind = match answer.icmp() {
                Some((3, 3)) | Some((1, 4)) => packet.protocol == protocol::UDP,
                Some((3, 2)) | Some((4, 1)) => packet.protocol != protocol::UDP,
                _ => false,
            };
            let quoted = answer.quoted().map(|q| (q.source, q.destination, q.protocol));
            returned && kind && quoted == Some((packet.source, packet.destination, packet.protocol))
        }
        Expectation::EchoReply => {
            let reply = if packet.is_v4() { 0 } else { 129 };
            let same = answer.payload().get(4..) == packet.payload().get(4..);
            returned && same && answer.icmp() == Some((reply, 0))
        }
        Expectation::Silence => false,
    }
}

/// The same packet with one hop fewer, to the side the route leads to, from our address there.
fn is_routed(packet: &Ip<'_>, output: &Output, facts: &Facts) -> bool {
    let mut expected = packet.bytes.to_vec();
    if packet.hops() <= 1 {
        return false;
    }
    if packet.is_v4() {
        expected[8] -= 1;
    } else {
        expected[7] -= 1;
    }
    let Some(sent) = ip_of_frame(&output.frame) else { return false };
    let mut got = sent.bytes.to_vec();
    if packet.is_v4() {
        expected[10..12].fill(0);
        got[10..12].fill(0);
    }
    let ours = facts.links.iter().any(|l| l.port == output.side.name() && output.frame[6..12] == l.mac.0);
    let same_len = output.frame.len() == ETHER + sent.bytes.len();
    expected == got && sent.header_checksum_is_right() && ours && same_len
}

/// Whether a frame given to the kernel is the input as it came.
pub fn is_untouched(input: (Side, &[u8]), given: &(Side, Vec<u8>)) -> bool {
    input.0 == given.0 && input.1 == given.1
}

fn is_reset(packet: &Ip<'_>) -> bool {
    packet.payload().get(13).is_some_and(|flags| flags & 4 != 0)
}
