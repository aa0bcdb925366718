//! Tests of replay itself, with faulty balancers and modified recordings.

use std::path::PathBuf;

use super::balancer::{Balancer, Outcome, Refused, Side};
use super::case::Case;
use super::kernel::{Expectation, plain_stack};
use super::report::{CaseReport, Summary, Verdict};
use super::{diff, frames, mask, run, scope, texts, topology};
use crate::api::view::{ConnectionView, ServiceView};
use crate::model::Config;
use crate::model::edit::Step;

mod commands;

fn case(name: &str) -> Case {
    let golden = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/golden");
    Case::load(&golden.join(format!("{name}.json"))).unwrap()
}

/// A balancer whose outcomes come from a function; its listings are empty.
struct ScriptedBalancer<F>(F, usize);

impl<F: FnMut(usize, Side, &[u8]) -> Outcome> Balancer for ScriptedBalancer<F> {
    fn configure(&mut self, _: &Config, _: &[Step]) -> Result<(), Refused> {
        Ok(())
    }

    fn advance(&mut self, _: u64) {}

    fn input(&mut self, side: Side, frame: &[u8]) -> Outcome {
        self.1 += 1;
        (self.0)(self.1 - 1, side, frame)
    }

    fn services(&self) -> Vec<ServiceView> {
        Vec::new()
    }

    fn connections(&mut self) -> Vec<ConnectionView> {
        Vec::new()
    }
}

/// Differences of frames, without those of listings.
fn frame_differences(report: &CaseReport) -> Vec<String> {
    let Verdict::Failed { differences } = &report.verdict else { return Vec::new() };
    let of_frames = differences.iter().filter(|d| d.location.contains("input") && !d.location.contains('`'));
    of_frames.map(|d| format!("{}: {}", d.location, d.lines.join("; "))).collect()
}

/// Plays the recorded frames back, each modified by `change`.
fn play(case: &Case, change: impl Fn(usize, &mut Vec<u8>)) -> CaseReport {
    let answer = |n: usize, _: Side, _: &[u8]| {
        let recorded = case.outputs.iter().filter(|o| o.after == n as i64);
        let changed = recorded.map(|o| {
            let mut frame = o.frame.clone();
            change(n, &mut frame);
            (o.side, frame)
        });
        Outcome { outputs: changed.collect(), ..Outcome::default() }
    };
    run::run("played".into(), case, &mut ScriptedBalancer(answer, 0))
}

fn give_to_kernel(case: &Case) -> CaseReport {
    let give = |_: usize, side: Side, frame: &[u8]| Outcome {
        to_kernel: vec![(side, frame.to_vec())],
        ..Outcome::default()
    };
    run::run("given".into(), case, &mut ScriptedBalancer(give, 0))
}

/// Sets the IPv4 ID of the outer header and corrects the checksum.
fn renumber(frame: &mut [u8], id: u16) {
    frame[18..20].copy_from_slice(&id.to_be_bytes());
    frame[24..26].fill(0);
    let words = frame[14..34].chunks(2).map(|w| u32::from(u16::from_be_bytes([w[0], w[1]])));
    let sum: u32 = words.sum();
    let folded = !((sum >> 16) + (sum & 0xffff)) as u16;
    frame[24..26].copy_from_slice(&folded.to_be_bytes());
}

#[test]
fn a_recording_played_back_has_no_differences() {
    for name in [
        "nat-tcp-rr",
        "tun-tcp-rr",
        "v6-tun-4",
        "mtu-v6",
        "icmp-error-nat",
        "fragments",
        "v6-fragments",
        "pmtu-tunnel",
    ] {
        assert_eq!(frame_differences(&play(&case(name), |_, _| {})), Vec::<String>::new(), "{name}");
    }
}

#[test]
fn a_balancer_that_passes_everything_to_the_kernel_fails() {
    for name in ["nat-tcp-rr", "dr-tcp-rr", "tun-tcp-rr", "v6-nat-tcp", "weight-change", "trash"] {
        let (case, report) = (case(name), give_to_kernel(&case(name)));
        assert_eq!(frame_differences(&report).len(), case.inputs.len(), "{name}: {report}");
        assert_eq!(report.passed_to_kernel, 0, "{name}");
    }
}

#[test]
fn only_frames_of_a_plain_stack_count_as_the_kernels() {
    // Ports 81 and 82 have services without a destination: there IPVS answers, and a stack would send a RST.
    let report = give_to_kernel(&case("no-service"));
    let differences: Vec<String> = frame_differences(&report);
    assert_eq!(differences.len(), 2, "{differences:?}");
    assert!(
        differences[0].contains("input 1") && differences[0].contains("answer with a RST"),
        "{differences:?}"
    );
    assert_eq!(report.passed_to_kernel, 3);
}

#[test]
fn a_frame_modified_before_the_kernel_is_a_difference() {
    let case = case("no-service");
    let give = |_: usize, side: Side, frame: &[u8]| {
        let mut frame = frame.to_vec();
        frame[22] -= 1;
        Outcome { to_kernel: vec![(side, frame)], ..Outcome::default() }
    };
    let report = run::run("changed".into(), &case, &mut ScriptedBalancer(give, 0));
    assert!(frame_differences(&report).iter().any(|d| d.contains("exactly once and unchanged")));
}

#[test]
fn reactions_of_a_plain_stack() {
    let network_state = topology::network_state();
    let expect = |name: &str, n: usize| {
        let case = case(name);
        plain_stack(&frames::ip_of_frame(&case.inputs[n].frame).unwrap(), &network_state)
    };
    let rows = [
        ("a SYN where nothing listens", "no-service", 0, Expectation::Reset),
        ("a RST", "no-service", 4, Expectation::Silence),
        ("a datagram where nothing listens", "no-service", 5, Expectation::Unreachable),
        ("an ICMP error about packets of other hosts", "icmp-error-nat", 3, Expectation::Routed),
        ("a ping", "icmp-error-nat", 5, Expectation::EchoReply),
        ("a truncated segment", "bad-packets", 3, Expectation::Silence),
    ];
    for (what, name, n, expected) in rows {
        assert_eq!(expect(name, n), expected, "{what}");
    }
}

#[test]
fn the_id_of_an_outer_header_is_ignored_but_not_its_checksum() {
    let case = case("tun-tcp-rr");
    let renumbered = play(&case, |_, frame| renumber(frame, 4711));
    assert_eq!(frame_differences(&renumbered), Vec::<String>::new());
    let wrong_sum = play(&case, |_, frame| frame[24] ^= 1);
    assert_eq!(frame_differences(&wrong_sum).len(), case.outputs.len());
}

#[test]
fn the_id_of_a_forwarded_packet_is_compared() {
    let differences = frame_differences(&play(&case("nat-tcp-rr"), |_, frame| renumber(frame, 4711)));
    assert!(differences[0].contains("IPv4 id: expected 7, got 4711"), "{differences:?}");
}

#[test]
fn the_id_of_an_icmp_error_is_compared_only_if_forwarded() {
    let forwarded = case("icmp-error-nat");
    let (input, output) = (&forwarded.inputs[2].frame, &forwarded.outputs[2].frame);
    assert_eq!(mask::mask(output, input)[18..20], output[18..20]);
    let own = case("ttl");
    assert_eq!(mask::mask(&own.outputs[0].frame, &own.inputs[0].frame)[18..20], [0, 0]);
}

#[test]
fn fragments_may_be_sent_earlier_but_must_be_complete() {
    // Inputs 0 and 1 are fragments of a datagram, which the recording sends after 1.
    let case = case("fragments");
    let fragments: Vec<_> = case.outputs.iter().filter(|o| o.after == 1).collect();
    assert_eq!(fragments.len(), 2);
    let differences = |lie: fn(usize, &mut Vec<u8>) -> bool| {
        let answer = |n: usize, _: Side, _: &[u8]| {
            let at = |after: i64| case.outputs.iter().filter(move |o| o.after == after);
            let frames: Vec<_> = match n {
                0 => at(1).take(1).collect(),
                1 => at(1).skip(1).collect(),
                other => at(other as i64).collect(),
            };
            let sent = frames.into_iter().filter_map(|o| {
                let mut frame = o.frame.clone();
                lie(n, &mut frame).then_some((o.side, frame))
            });
            Outcome { outputs: sent.collect(), ..Outcome::default() }
        };
        frame_differences(&run::run("fragments".into(), &case, &mut ScriptedBalancer(answer, 0)))
    };
    assert_eq!(differences(|_, _| true), Vec::<String>::new());
    let changed = differences(|n, frame| {
        if n == 1 {
            *frame.last_mut().unwrap() ^= 1;
        }
        true
    });
    assert!(changed.len() == 1 && changed[0].contains("datagram of input 1"), "{changed:?}");
    let cut = differences(|n, _| n != 1);
    assert!(cut.iter().any(|d| d.contains("missing")), "{cut:?}");
}

#[test]
fn the_source_port_of_gue_is_ignored_but_not_its_checksum() {
    let case = case("tun-gue-csum");
    let moved = play(&case, |_, frame| {
        frame[34] ^= 1;
        frames::fill_checksums(frame);
    });
    assert_eq!(frame_differences(&moved), Vec::<String>::new());
    let wrong = play(&case, |_, frame| frame[34] ^= 1);
    assert!(!frame_differences(&wrong).is_empty());
    let elsewhere = play(&case, |_, frame| {
        frame[36] ^= 1;
        frames::fill_checksums(frame);
    });
    assert!(!frame_differences(&elsewhere).is_empty(), "the destination port is compared");
}

#[test]
fn frames_of_the_kernel_must_leave_unchanged() {
    struct DropsKernelFrames;
    impl Balancer for DropsKernelFrames {
        fn configure(&mut self, _: &Config, _: &[Step]) -> Result<(), Refused> {
            Ok(())
        }

        fn advance(&mut self, _: u64) {}

        fn input(&mut self, side: Side, frame: &[u8]) -> Outcome {
            Outcome { to_kernel: vec![(side, frame.to_vec())], ..Outcome::default() }
        }

        fn kernel_sends(&mut self, _: Side, _: &[u8]) -> Outcome {
            Outcome::default()
        }

        fn services(&self) -> Vec<ServiceView> {
            Vec::new()
        }

        fn connections(&mut self) -> Vec<ConnectionView> {
            Vec::new()
        }
    }
    let report = run::run("drops".into(), &case("no-service"), &mut DropsKernelFrames);
    assert!(frame_differences(&report).iter().any(|d| d.contains("does not leave")), "{report}");
}

#[test]
fn a_difference_names_the_field() {
    let case = case("nat-tcp-rr");
    let frame = &case.outputs[0].frame;
    let mut other = frame.clone();
    other[22] += 1;
    other[14 + 20 + 2] ^= 1;
    let lines = diff::frames(frame, &other);
    assert_eq!(lines[0], "IPv4 ttl: expected 63, got 64");
    assert!(lines[1].starts_with("TCP destination port: expected 80, got "), "{lines:?}");
    let longer = [frame.as_slice(), &[0]].concat();
    assert_eq!(diff::frames(frame, &longer).len(), 1);
    assert_eq!(diff::summary(frame), "192.0.2.10 > 10.0.2.13 ttl 63 TCP 40000 > 80 S");
}

#[test]
fn missing_and_additional_frames_are_differences() {
    let case = case("weight-change");
    let silent =
        run::run("silent".into(), &case, &mut ScriptedBalancer(|_, _, _: &[u8]| Outcome::default(), 0));
    assert_eq!(frame_differences(&silent).len(), case.outputs.len());
    let twice = |_: usize, side: Side, frame: &[u8]| Outcome {
        outputs: vec![(side, frame.to_vec())],
        ..Outcome::default()
    };
    let chatty = run::run("chatty".into(), &case, &mut ScriptedBalancer(twice, 0));
    assert!(frame_differences(&chatty).iter().any(|d| d.contains("not recorded")));
}

#[test]
fn the_expiry_and_the_order_of_connections_are_ignored() {
    let text = |a: &str, b: &str| format!("IPVS connection entries\npro expire state\n{a}\n{b}\n");
    let ours = text("TCP 14:59  ESTABLISHED 192.0.2.1:1", "UDP 04:58  UDP         192.0.2.2:1");
    let theirs = text("UDP 04:59  UDP         192.0.2.2:1", "TCP 100:02 ESTABLISHED 192.0.2.1:1");
    let spaced = theirs.replace("100:02", "10:02 ");
    assert_eq!(texts::compare("x", &spaced, &ours, true), None);
    let difference = texts::compare("x", "a \nb\n", "a\nb\n", false).unwrap();
    assert_eq!(difference.lines, ["expected |a |", "got      |a|"]);
}

#[test]
fn reports_and_the_summary_are_printed() {
    let feature = "persistence".to_owned();
    let skipped =
        CaseReport { name: "a".into(), verdict: Verdict::NotYetSupported { feature }, passed_to_kernel: 0 };
    let passed = CaseReport { name: "b".into(), verdict: Verdict::Passed, passed_to_kernel: 2 };
    let broken = CaseReport::broken("c".into(), "no such file".into());
    assert_eq!(skipped.to_string(), "a: not yet supported: persistence");
    assert_eq!(passed.to_string(), "b: ok");
    assert_eq!(broken.to_string(), "c: FAILED\n  case\n    no such file");
    assert_eq!(
        Summary::of(&[skipped, passed, broken]).to_string(),
        "1 passed, 1 failed, 1 not yet supported; 2 outputs passed to the kernel"
    );
    let missing = super::file(&PathBuf::from("/nonexistent/case.json"));
    assert!(missing.to_string().contains("FAILED"));
}
