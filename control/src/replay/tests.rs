//! The judge is tried before the judged: with balancers that lie, and with recordings that were tampered with.

use std::path::PathBuf;

use super::balancer::{Balancer, Outcome, Refused, Side};
use super::case::Case;
use super::kernel::{Expectation, plain_stack};
use super::report::{CaseReport, Summary, Verdict};
use super::{diff, frames, mask, run, scope, texts, topology};
use crate::api::view::{ConnectionView, ServiceView};
use crate::model::Config;

mod commands;

fn case(name: &str) -> Case {
    let golden = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/golden");
    Case::load(&golden.join(format!("{name}.json"))).unwrap()
}

/// Does with each frame what a function says, and lists nothing.
struct Puppet<F>(F, usize);

impl<F: FnMut(usize, Side, &[u8]) -> Outcome> Balancer for Puppet<F> {
    fn configure(&mut self, _: &Config) -> Result<(), Refused> {
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

/// The differences that frames made; a puppet's listings are always wrong.
fn frame_differences(report: &CaseReport) -> Vec<String> {
    let Verdict::Failed { differences } = &report.verdict else { return Vec::new() };
    let of_frames = differences.iter().filter(|d| d.place.contains("input") && !d.place.contains('`'));
    of_frames.map(|d| format!("{}: {}", d.place, d.lines.join("; "))).collect()
}

/// Plays the recorded frames back, after `change` had a hand on each.
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
    run::run("played".into(), case, &mut Puppet(answer, 0))
}

fn give_to_kernel(case: &Case) -> CaseReport {
    let give = |_: usize, side: Side, frame: &[u8]| Outcome {
        to_kernel: vec![(side, frame.to_vec())],
        ..Outcome::default()
    };
    run::run("given".into(), case, &mut Puppet(give, 0))
}

/// Sets the IPv4 ID of a frame's outer header and mends its checksum.
fn renumber(frame: &mut [u8], id: u16) {
    frame[18..20].copy_from_slice(&id.to_be_bytes());
    frame[24..26].fill(0);
    let words = frame[14..34].chunks(2).map(|w| u32::from(u16::from_be_bytes([w[0], w[1]])));
    let sum: u32 = words.sum();
    let folded = !((sum >> 16) + (sum & 0xffff)) as u16;
    frame[24..26].copy_from_slice(&folded.to_be_bytes());
}

#[test]
fn a_recording_played_back_has_the_right_frames() {
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
fn a_balancer_that_leaves_everything_to_the_kernel_is_found_out() {
    for name in ["nat-tcp-rr", "dr-tcp-rr", "tun-tcp-rr", "v6-nat-tcp", "weight-change", "trash"] {
        let (case, report) = (case(name), give_to_kernel(&case(name)));
        assert_eq!(frame_differences(&report).len(), case.inputs.len(), "{name}: {report}");
        assert_eq!(report.handed_to_kernel, 0, "{name}");
    }
}

#[test]
fn only_what_a_plain_stack_does_is_the_kernels() {
    // Ports 81 and 82 have services without a destination: there IPVS answers, and a stack would send a RST.
    let report = give_to_kernel(&case("no-service"));
    let places: Vec<String> = frame_differences(&report);
    assert_eq!(places.len(), 2, "{places:?}");
    assert!(places[0].contains("input 1") && places[0].contains("answer with a RST"), "{places:?}");
    assert_eq!(report.handed_to_kernel, 3);
}

#[test]
fn a_frame_changed_on_its_way_to_the_kernel_is_found_out() {
    let case = case("no-service");
    let give = |_: usize, side: Side, frame: &[u8]| {
        let mut frame = frame.to_vec();
        frame[22] -= 1;
        Outcome { to_kernel: vec![(side, frame)], ..Outcome::default() }
    };
    let report = run::run("changed".into(), &case, &mut Puppet(give, 0));
    assert!(frame_differences(&report).iter().any(|d| d.contains("as it came")));
}

#[test]
fn a_plain_stack_is_predicted() {
    let network_config = topology::network_config();
    let expect = |name: &str, n: usize| {
        let case = case(name);
        plain_stack(&frames::ip_of_frame(&case.inputs[n].frame).unwrap(), &network_config)
    };
    let rows = [
        ("a SYN where nothing listens", "no-service", 0, Expectation::Reset),
        ("a RST", "no-service", 4, Expectation::Silence),
        ("a datagram where nothing listens", "no-service", 5, Expectation::Unreachable),
        ("an error about other people's packets", "icmp-error-nat", 3, Expectation::Routed),
        ("a ping", "icmp-error-nat", 5, Expectation::EchoReply),
        ("a truncated segment", "bad-packets", 3, Expectation::Silence),
    ];
    for (what, name, n, expected) in rows {
        assert_eq!(expect(name, n), expected, "{what}");
    }
}

#[test]
fn the_id_of_an_outer_header_is_free_and_its_checksum_is_not() {
    let case = case("tun-tcp-rr");
    let renumbered = play(&case, |_, frame| renumber(frame, 4711));
    assert_eq!(frame_differences(&renumbered), Vec::<String>::new());
    let wrong_sum = play(&case, |_, frame| frame[24] ^= 1);
    assert_eq!(frame_differences(&wrong_sum).len(), case.outputs.len());
}

#[test]
fn the_id_of_a_forwarded_packet_is_not_free() {
    let differences = frame_differences(&play(&case("nat-tcp-rr"), |_, frame| renumber(frame, 4711)));
    assert!(differences[0].contains("IPv4 id: expected 7, got 4711"), "{differences:?}");
}

#[test]
fn a_forwarded_error_keeps_its_id_and_an_own_one_need_not() {
    let forwarded = case("icmp-error-nat");
    let (input, output) = (&forwarded.inputs[2].frame, &forwarded.outputs[2].frame);
    assert_eq!(mask::mask(output, input)[18..20], output[18..20]);
    let own = case("ttl");
    assert_eq!(mask::mask(&own.outputs[0].frame, &own.inputs[0].frame)[18..20], [0, 0]);
}

#[test]
fn a_train_may_leave_earlier_and_must_be_whole() {
    // Inputs 0 and 1 are a train that the recording sends after 1.
    let case = case("fragments");
    let train: Vec<_> = case.outputs.iter().filter(|o| o.after == 1).collect();
    assert_eq!(train.len(), 2);
    let differences = |lie: fn(usize, &mut Vec<u8>) -> bool| {
        let answer = |n: usize, _: Side, _: &[u8]| {
            let at = |after: i64| case.outputs.iter().filter(move |o| o.after == after);
            let frames: Vec<_> = match n {
                0 => at(1).take(1).collect(),
                1 => at(1).skip(1).collect(),
                other => at(other as i64).collect(),
            };
            let told = frames.into_iter().filter_map(|o| {
                let mut frame = o.frame.clone();
                lie(n, &mut frame).then_some((o.side, frame))
            });
            Outcome { outputs: told.collect(), ..Outcome::default() }
        };
        frame_differences(&run::run("train".into(), &case, &mut Puppet(answer, 0)))
    };
    assert_eq!(differences(|_, _| true), Vec::<String>::new());
    let changed = differences(|n, frame| {
        if n == 1 {
            *frame.last_mut().unwrap() ^= 1;
        }
        true
    });
    assert!(changed.len() == 1 && changed[0].contains("train of input 1"), "{changed:?}");
    let cut = differences(|n, _| n != 1);
    assert!(cut.iter().any(|d| d.contains("missing")), "{cut:?}");
}

#[test]
fn the_source_port_of_gue_is_free_and_its_checksum_is_not() {
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
    assert!(!frame_differences(&elsewhere).is_empty(), "the port of the receiver is not free");
}

#[test]
fn what_the_kernel_sends_must_leave_as_it_was() {
    struct Deaf;
    impl Balancer for Deaf {
        fn configure(&mut self, _: &Config) -> Result<(), Refused> {
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
    let report = run::run("deaf".into(), &case("no-service"), &mut Deaf);
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
    assert_eq!(diff::summary(frame), "192.0.2.10 > 10.0.2.13 hops 63 TCP 40000 > 80 S");
}

#[test]
fn missing_and_additional_frames_are_told() {
    let case = case("weight-change");
    let silent = run::run("silent".into(), &case, &mut Puppet(|_, _, _: &[u8]| Outcome::default(), 0));
    assert_eq!(frame_differences(&silent).len(), case.outputs.len());
    let twice = |_: usize, side: Side, frame: &[u8]| Outcome {
        outputs: vec![(side, frame.to_vec())],
        ..Outcome::default()
    };
    let chatty = run::run("chatty".into(), &case, &mut Puppet(twice, 0));
    assert!(frame_differences(&chatty).iter().any(|d| d.contains("not recorded")));
}

#[test]
fn the_expiry_and_the_order_of_connections_are_free() {
    let text = |a: &str, b: &str| format!("IPVS connection entries\npro expire state\n{a}\n{b}\n");
    let ours = text("TCP 14:59  ESTABLISHED 192.0.2.1:1", "UDP 04:58  UDP         192.0.2.2:1");
    let theirs = text("UDP 04:59  UDP         192.0.2.2:1", "TCP 100:02 ESTABLISHED 192.0.2.1:1");
    let spaced = theirs.replace("100:02", "10:02 ");
    assert_eq!(texts::compare("x", &spaced, &ours, true), None);
    let difference = texts::compare("x", "a \nb\n", "a\nb\n", false).unwrap();
    assert_eq!(difference.lines, ["expected |a |", "got      |a|"]);
}

#[test]
fn a_report_reads_as_a_line_and_the_summary_counts() {
    let feature = "persistence".to_owned();
    let skipped =
        CaseReport { name: "a".into(), verdict: Verdict::NotYetSupported { feature }, handed_to_kernel: 0 };
    let passed = CaseReport { name: "b".into(), verdict: Verdict::Passed, handed_to_kernel: 2 };
    let broken = CaseReport::broken("c".into(), "no such file".into());
    assert_eq!(skipped.to_string(), "a: not yet supported: persistence");
    assert_eq!(passed.to_string(), "b: ok");
    assert_eq!(broken.to_string(), "c: FAILED\n  case\n    no such file");
    assert_eq!(
        Summary::of(&[skipped, passed, broken]).to_string(),
        "1 passed, 1 failed, 1 not yet supported; 2 outputs handed to the kernel"
    );
    let missing = super::file(&PathBuf::from("/nonexistent/case.json"));
    assert!(missing.to_string().contains("FAILED"));
}
