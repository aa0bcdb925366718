//! Compares sent frames with recorded frames.
//!
//! An unfragmented frame is compared with the recorded output of the same input. Fragments are reassembled, and datagrams
//! are compared per side, in the order in which they became complete.

use std::cmp::Ordering;

use super::balancer::{Balancer, Outcome, Side};
use super::case::{Input, Output};
use super::kernel_reply::{self, Delivery};
use super::reassembly::{Reassembled, Reassembler, blank_tunnel};
use super::report::Difference;
use super::{diff, kernel, mask};
use crate::model::network::NetworkState;

/// A reassembled datagram.
struct FragmentedDatagram {
    /// The input that completed it.
    after: i64,
    /// The input that caused it, reassembled too.
    cause: Vec<u8>,
    frame: Vec<u8>,
    /// The packet was passed to the kernel, which would forward it.
    by_kernel: bool,
}

/// Comparison of a case.
#[derive(Default)]
pub struct Comparison {
    inputs: Reassembler,
    recorded: [Reassembler; 2],
    sent: [Reassembler; 2],
    to_kernel: Reassembler,
    expected: [Vec<FragmentedDatagram>; 2],
    got: [Vec<FragmentedDatagram>; 2],
    /// Differences found.
    pub differences: Vec<Difference>,
    /// Recorded frames that the kernel's own stack sent.
    pub passed_to_kernel: usize,
}

impl Comparison {
    /// Feeds an input to the balancer and compares the result with the recorded frames. The kernel's reply passes through
    /// the balancer.
    pub fn input(
        &mut self,
        input: &Input,
        recorded: &[&Output],
        network_state: &NetworkState,
        balancer: &mut dyn Balancer,
    ) {
        let outcome = &balancer.input(input.side, &input.frame);
        let cause = match self.inputs.take(&input.frame) {
            Reassembled::Unfragmented | Reassembled::Incomplete => input.frame.clone(),
            Reassembled::Complete(whole) => whole,
        };
        let datagram =
            |frame| FragmentedDatagram { after: input.n, cause: cause.clone(), frame, by_kernel: false };
        let mut unfragmented = Vec::new();
        for &output in recorded {
            match self.recorded[output.side as usize].take(&output.frame) {
                Reassembled::Unfragmented => unfragmented.push(output),
                Reassembled::Incomplete => {}
                Reassembled::Complete(frame) => self.expected[output.side as usize].push(datagram(frame)),
            }
        }
        let mut sent = Vec::new();
        for (side, frame) in &outcome.outputs {
            match self.sent[*side as usize].take(frame) {
                Reassembled::Unfragmented => sent.push((*side, frame.as_slice())),
                Reassembled::Incomplete => {}
                Reassembled::Complete(frame) => self.got[*side as usize].push(datagram(frame)),
            }
        }
        if outcome.to_kernel.is_empty() && cause != input.frame {
            // The output may be fragmented in one of the two and unfragmented in the other.
            for output in unfragmented {
                self.expected[output.side as usize].push(datagram(output.frame.clone()));
            }
            for (side, frame) in sent {
                self.got[side as usize].push(datagram(frame.to_vec()));
            }
            return;
        }
        if outcome.to_kernel.is_empty() {
            self.outputs(input, &cause, &unfragmented, &sent, outcome);
            return;
        }
        let delivery = self.delivery(input, &cause, outcome);
        let (judged, how) = match &delivery {
            // Fragments of an incomplete datagram.
            Ok(None) => (&input.frame, Delivery::Unchanged),
            Ok(Some((how, _))) => (&cause, *how),
            Err(why) => {
                self.differ(format!("input {}", input.n), *why);
                (&cause, Delivery::Unchanged)
            }
        };
        if let Some((_, extra)) = outcome.outputs.first() {
            let location = format!("input {}", input.n);
            self.differ(location, format!("both passed to the kernel and sent: {}", diff::summary(extra)));
        }
        self.judge_kernel(input, judged, &unfragmented, how, network_state);
        if let (Ok(Some((_, frame))), [output]) = (delivery, unfragmented.as_slice()) {
            self.pass_reply(input, &cause, output, &frame, balancer);
        }
    }

    /// Returns the form in which an input was passed to the kernel, with the frame or the reassembled datagram.
    fn delivery(
        &mut self,
        input: &Input,
        cause: &[u8],
        outcome: &Outcome,
    ) -> Result<Option<(Delivery, Vec<u8>)>, &'static str> {
        const CHANGED: &str = "the frame was not passed to the kernel exactly once and unchanged";
        let mut whole = None;
        for (side, frame) in &outcome.to_kernel {
            let packet = match self.to_kernel.take(frame) {
                Reassembled::Unfragmented => frame.clone(),
                Reassembled::Incomplete => continue,
                Reassembled::Complete(packet) => packet,
            };
            if *side != input.side || whole.is_some() {
                return Err(CHANGED);
            }
            let how = kernel_reply::classify(cause, &packet).ok_or(CHANGED)?;
            whole = Some((how, packet));
        }
        Ok(whole)
    }

    fn differ(&mut self, location: impl Into<String>, line: impl Into<String>) {
        self.differences.push(Difference::new(location, line));
    }

    fn judge_kernel(
        &mut self,
        input: &Input,
        packet: &[u8],
        recorded: &[&Output],
        how: Delivery,
        network_state: &NetworkState,
    ) {
        let location = format!("input {}", input.n);
        if packet != input.frame && recorded.is_empty() && kernel::would_route(packet, network_state) {
            let side = kernel::side_to(packet, network_state);
            let (cause, frame) = (packet.to_vec(), packet.to_vec());
            self.got[side as usize].push(FragmentedDatagram {
                after: input.n,
                cause,
                frame,
                by_kernel: true,
            });
            return;
        }
        match kernel::judge(packet, recorded, network_state, how == Delivery::Translated) {
            Ok(count) => self.passed_to_kernel += count,
            Err(why) => self.differ(&location, why),
        }
    }

    /// Lets the kernel's reply pass: it must leave as it was recorded.
    fn pass_reply(
        &mut self,
        input: &Input,
        packet: &[u8],
        output: &Output,
        given: &[u8],
        balancer: &mut dyn Balancer,
    ) {
        let sent = kernel_reply::reply_of_kernel(&output.frame, packet, given);
        let passed = balancer.kernel_sends(output.side, &sent);
        let location = format!("the kernel's reply to input {}", input.n);
        match passed.outputs.as_slice() {
            [(side, frame)] if *side == output.side => {
                if *frame != output.frame {
                    let lines = diff::frames(&output.frame, frame);
                    self.differences.push(Difference { location, lines });
                }
            }
            _ => self.differ(location, format!("does not leave: {}", diff::summary(&sent))),
        }
    }

    fn outputs(
        &mut self,
        input: &Input,
        cause: &[u8],
        recorded: &[&Output],
        sent: &[(Side, &[u8])],
        outcome: &Outcome,
    ) {
        // The recording has an order per side only.
        for side in Side::ALL {
            let expected: Vec<&[u8]> =
                recorded.iter().filter(|o| o.side == side).map(|o| o.frame.as_slice()).collect();
            let got: Vec<&[u8]> = sent.iter().filter(|(s, _)| *s == side).map(|(_, frame)| *frame).collect();
            for at in 0..expected.len().max(got.len()) {
                let location = format!("output {at} of input {} on the {} side", input.n, side.name());
                match (expected.get(at), got.get(at)) {
                    (Some(expected), Some(got)) => {
                        let [want, have] = [expected, got].map(|frame| mask::mask(frame, cause));
                        if want != have {
                            self.differences.push(Difference { location, lines: diff::frames(&want, &have) });
                        }
                    }
                    (Some(expected), None) => {
                        let why = outcome.dropped.as_deref().unwrap_or("no reason given");
                        self.differ(location, format!("missing ({why}): {}", diff::summary(expected)));
                    }
                    (None, Some(got)) => {
                        self.differ(location, format!("not recorded: {}", diff::summary(got)))
                    }
                    (None, None) => {}
                }
            }
        }
    }

    /// Compares the reassembled datagrams at the end of a case.
    pub fn finish(&mut self, network_state: &NetworkState) {
        for side in Side::ALL {
            let expected = std::mem::take(&mut self.expected[side as usize]);
            let got = std::mem::take(&mut self.got[side as usize]);
            self.datagrams(&expected, &got, side, network_state);
            // Incomplete datagrams of the input may stay incomplete in the output.
            if self.sent[side as usize].unfinished() > self.inputs.unfinished() {
                self.differ(
                    format!("datagrams on the {} side", side.name()),
                    "fragments of a datagram are missing",
                );
            }
        }
    }

    fn datagrams(
        &mut self,
        mut expected: &[FragmentedDatagram],
        mut got: &[FragmentedDatagram],
        side: Side,
        network_state: &NetworkState,
    ) {
        let location = |datagram: &FragmentedDatagram| {
            format!("datagram of input {} on the {} side", datagram.after, side.name())
        };
        loop {
            let difference = match (expected.first(), got.first()) {
                (Some(want), Some(have)) => self.datagram(want, have, side, network_state),
                (None, None) => return,
                _ => Some(Vec::new()),
            };
            // If one list is longer, the first datagram that differs is the surplus one.
            match (difference, expected.len().cmp(&got.len()), expected, got) {
                (Some(_), Ordering::Greater, [want, rest @ ..], _) => {
                    self.differ(location(want), format!("missing: {}", diff::summary(&want.frame)));
                    expected = rest;
                    continue;
                }
                (Some(_), Ordering::Less, _, [have, rest @ ..]) => {
                    self.differ(location(have), format!("not recorded: {}", diff::summary(&have.frame)));
                    got = rest;
                    continue;
                }
                (Some(lines), _, [want, ..], _) => {
                    self.differences.push(Difference { location: location(want), lines });
                }
                _ => {}
            }
            (expected, got) = (expected.get(1..).unwrap_or_default(), got.get(1..).unwrap_or_default());
        }
    }

    /// The differences between two datagrams, if any.
    fn datagram(
        &mut self,
        want: &FragmentedDatagram,
        have: &FragmentedDatagram,
        side: Side,
        network_state: &NetworkState,
    ) -> Option<Vec<String>> {
        if have.by_kernel {
            let output = Output { side, after: want.after, t_ms: 0.0, frame: want.frame.clone() };
            return match kernel::judge(&have.frame, &[&output], network_state, false) {
                Ok(count) => {
                    self.passed_to_kernel += count;
                    None
                }
                Err(why) => Some(vec![why]),
            };
        }
        let [mut expected, mut got] =
            [want, have].map(|datagram| mask::mask(&datagram.frame, &datagram.cause));
        if expected != got {
            [&mut expected, &mut got].into_iter().for_each(blank_tunnel);
        }
        (expected != got).then(|| diff::frames(&expected, &got))
    }
}
