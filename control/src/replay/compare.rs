//! Frames that left against frames that were recorded.
//!
//! A frame on its own is compared with what the same input caused. A train of fragments is joined and compared with the
//! trains of its side, in the order in which they became whole.

use std::cmp::Ordering;

use super::answer::{self, Given};
use super::balancer::{Balancer, Outcome, Side};
use super::case::{Input, Output};
use super::reassembly::{Joined, Reassembler, blank_tunnel};
use super::report::Difference;
use super::{diff, kernel, mask};
use crate::model::network_config::NetworkConfig;

/// A train that became whole.
struct FragmentedDatagram {
    /// The input that was in when it did.
    after: i64,
    /// What caused it, whole too.
    cause: Vec<u8>,
    frame: Vec<u8>,
    /// It is no frame that was sent but a packet given to the kernel, which would send it on.
    by_kernel: bool,
}

/// What was found so far.
#[derive(Default)]
pub struct Comparison {
    inputs: Reassembler,
    recorded: [Reassembler; 2],
    sent: [Reassembler; 2],
    to_kernel: Reassembler,
    expected: [Vec<FragmentedDatagram>; 2],
    got: [Vec<FragmentedDatagram>; 2],
    /// What differs.
    pub differences: Vec<Difference>,
    /// Recorded frames that are the work of the kernel's own stack.
    pub handed_to_kernel: usize,
}

impl Comparison {
    /// Takes what became of an input, and what was recorded of it. What the kernel is to send back for it passes the
    /// balancer.
    pub fn input(
        &mut self,
        input: &Input,
        recorded: &[&Output],
        network_config: &NetworkConfig,
        balancer: &mut dyn Balancer,
    ) {
        let outcome = &balancer.input(input.side, &input.frame);
        let cause = match self.inputs.take(&input.frame) {
            Joined::Alone | Joined::Part => input.frame.clone(),
            Joined::Whole(whole) => whole,
        };
        let train =
            |frame| FragmentedDatagram { after: input.n, cause: cause.clone(), frame, by_kernel: false };
        let mut alone = Vec::new();
        for &output in recorded {
            match self.recorded[output.side as usize].take(&output.frame) {
                Joined::Alone => alone.push(output),
                Joined::Part => {}
                Joined::Whole(frame) => self.expected[output.side as usize].push(train(frame)),
            }
        }
        let mut sent = Vec::new();
        for (side, frame) in &outcome.outputs {
            match self.sent[*side as usize].take(frame) {
                Joined::Alone => sent.push((*side, frame.as_slice())),
                Joined::Part => {}
                Joined::Whole(frame) => self.got[*side as usize].push(train(frame)),
            }
        }
        if outcome.to_kernel.is_empty() && cause != input.frame {
            // What a train causes may leave whole on the one and in pieces on the other.
            for output in alone {
                self.expected[output.side as usize].push(train(output.frame.clone()));
            }
            for (side, frame) in sent {
                self.got[side as usize].push(train(frame.to_vec()));
            }
            return;
        }
        if outcome.to_kernel.is_empty() {
            self.outputs(input, &cause, &alone, &sent, outcome);
            return;
        }
        let given = self.given(input, &cause, outcome);
        let (judged, how) = match &given {
            // Parts of a train that is not whole yet.
            Ok(None) => (&input.frame, Given::Untouched),
            Ok(Some((how, _))) => (&cause, *how),
            Err(why) => {
                self.differ(format!("input {}", input.n), *why);
                (&cause, Given::Untouched)
            }
        };
        if let Some((_, extra)) = outcome.outputs.first() {
            let place = format!("input {}", input.n);
            self.differ(place, format!("both given to the kernel and sent: {}", diff::summary(extra)));
        }
        self.judge_kernel(input, judged, &alone, how, network_config);
        if let (Ok(Some((_, frame))), [output]) = (given, alone.as_slice()) {
            self.pass_answer(input, &cause, output, &frame, balancer);
        }
    }

    /// How the kernel was given an input, and what it was given: the frame, or the train that became whole.
    fn given(
        &mut self,
        input: &Input,
        cause: &[u8],
        outcome: &Outcome,
    ) -> Result<Option<(Given, Vec<u8>)>, &'static str> {
        const CHANGED: &str = "the kernel was not given the frame as it came, once";
        let mut whole = None;
        for (side, frame) in &outcome.to_kernel {
            let packet = match self.to_kernel.take(frame) {
                Joined::Alone => frame.clone(),
                Joined::Part => continue,
                Joined::Whole(packet) => packet,
            };
            if *side != input.side || whole.is_some() {
                return Err(CHANGED);
            }
            let how = answer::how_given(cause, &packet).ok_or(CHANGED)?;
            whole = Some((how, packet));
        }
        Ok(whole)
    }

    fn differ(&mut self, place: impl Into<String>, line: impl Into<String>) {
        self.differences.push(Difference::new(place, line));
    }

    fn judge_kernel(
        &mut self,
        input: &Input,
        packet: &[u8],
        recorded: &[&Output],
        how: Given,
        network_config: &NetworkConfig,
    ) {
        let place = format!("input {}", input.n);
        if packet != input.frame && recorded.is_empty() && kernel::would_route(packet, network_config) {
            let side = kernel::side_to(packet, network_config);
            let (cause, frame) = (packet.to_vec(), packet.to_vec());
            self.got[side as usize].push(FragmentedDatagram {
                after: input.n,
                cause,
                frame,
                by_kernel: true,
            });
            return;
        }
        match kernel::judge(packet, recorded, network_config, how == Given::Translated) {
            Ok(count) => self.handed_to_kernel += count,
            Err(why) => self.differ(&place, why),
        }
    }

    /// Lets the kernel's answer pass: it must leave as it was recorded.
    fn pass_answer(
        &mut self,
        input: &Input,
        packet: &[u8],
        output: &Output,
        given: &[u8],
        balancer: &mut dyn Balancer,
    ) {
        let sent = answer::of_kernel(&output.frame, packet, given);
        let passed = balancer.kernel_sends(output.side, &sent);
        let place = format!("the kernel's answer to input {}", input.n);
        match passed.outputs.as_slice() {
            [(side, frame)] if *side == output.side => {
                if *frame != output.frame {
                    let lines = diff::frames(&output.frame, frame);
                    self.differences.push(Difference { place, lines });
                }
            }
            _ => self.differ(place, format!("does not leave: {}", diff::summary(&sent))),
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
        // Ports are apart, so the order counts on each side; the recording has no other.
        for side in Side::ALL {
            let expected: Vec<&[u8]> =
                recorded.iter().filter(|o| o.side == side).map(|o| o.frame.as_slice()).collect();
            let got: Vec<&[u8]> = sent.iter().filter(|(s, _)| *s == side).map(|(_, frame)| *frame).collect();
            for at in 0..expected.len().max(got.len()) {
                let place = format!("output {at} of input {} on the {} side", input.n, side.name());
                match (expected.get(at), got.get(at)) {
                    (Some(expected), Some(got)) => {
                        let [want, have] = [expected, got].map(|frame| mask::mask(frame, cause));
                        if want != have {
                            self.differences.push(Difference { place, lines: diff::frames(&want, &have) });
                        }
                    }
                    (Some(expected), None) => {
                        let why = outcome.dropped.as_deref().unwrap_or("no reason told");
                        self.differ(place, format!("missing ({why}): {}", diff::summary(expected)));
                    }
                    (None, Some(got)) => self.differ(place, format!("not recorded: {}", diff::summary(got))),
                    (None, None) => {}
                }
            }
        }
    }

    /// Compares the trains, when all is over.
    pub fn finish(&mut self, network_config: &NetworkConfig) {
        for side in Side::ALL {
            let expected = std::mem::take(&mut self.expected[side as usize]);
            let got = std::mem::take(&mut self.got[side as usize]);
            self.reassembler(&expected, &got, side, network_config);
            // What never became whole outside cannot be whole behind us.
            if self.sent[side as usize].unfinished() > self.inputs.unfinished() {
                self.differ(format!("reassembler on the {} side", side.name()), "parts of one are missing");
            }
        }
    }

    fn reassembler(
        &mut self,
        mut expected: &[FragmentedDatagram],
        mut got: &[FragmentedDatagram],
        side: Side,
        network_config: &NetworkConfig,
    ) {
        let place = |train: &FragmentedDatagram| {
            format!("train of input {} on the {} side", train.after, side.name())
        };
        loop {
            let difference = match (expected.first(), got.first()) {
                (Some(want), Some(have)) => self.train(want, have, side, network_config),
                (None, None) => return,
                _ => Some(Vec::new()),
            };
            // Where one list is longer, what does not fit is the one too many.
            match (difference, expected.len().cmp(&got.len()), expected, got) {
                (Some(_), Ordering::Greater, [want, rest @ ..], _) => {
                    self.differ(place(want), format!("missing: {}", diff::summary(&want.frame)));
                    expected = rest;
                    continue;
                }
                (Some(_), Ordering::Less, _, [have, rest @ ..]) => {
                    self.differ(place(have), format!("not recorded: {}", diff::summary(&have.frame)));
                    got = rest;
                    continue;
                }
                (Some(lines), _, [want, ..], _) => {
                    self.differences.push(Difference { place: place(want), lines });
                }
                _ => {}
            }
            (expected, got) = (expected.get(1..).unwrap_or_default(), got.get(1..).unwrap_or_default());
        }
    }

    /// How two trains differ, if they do.
    fn train(
        &mut self,
        want: &FragmentedDatagram,
        have: &FragmentedDatagram,
        side: Side,
        network_config: &NetworkConfig,
    ) -> Option<Vec<String>> {
        if have.by_kernel {
            let output = Output { side, after: want.after, t_ms: 0.0, frame: want.frame.clone() };
            return match kernel::judge(&have.frame, &[&output], network_config, false) {
                Ok(count) => {
                    self.handed_to_kernel += count;
                    None
                }
                Err(why) => Some(vec![why]),
            };
        }
        let [mut expected, mut got] = [want, have].map(|train| mask::mask(&train.frame, &train.cause));
        if expected != got {
            [&mut expected, &mut got].into_iter().for_each(blank_tunnel);
        }
        (expected != got).then(|| diff::frames(&expected, &got))
    }
}
