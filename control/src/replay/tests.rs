//! The judge is tried before the judged: with balancers that lie, and with recordings that were tampered with.

use std::path::PathBuf;

use super::balancer::{Balancer, Outcome, Refused, Side};
use super::case::Case;
use super::kernel::{Expectation, plain_stack};
use super::machine::Machine;
use super::marks::MarkChange;
use super::network::NetworkChange;
use super::report::{CaseReport, Summary, Verdict};
use super::{diff, frames, mask, run, scope, texts, topology};
use crate::model::Config;
use crate::view::{ConnectionView, ServiceView};

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
    for name in ["nat-tcp-rr", "tun-tcp-rr", "v6-tun-4", "mtu-v6", "icmp-error-nat"] {
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
    let facts = topology::facts();
    let expect = |name: &str, n: usize| {
        let case = case(name);
        plain_stack(&frames::ip_of_frame(&case.inputs[n].frame).unwrap(), &facts)
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
fn only_sync_and_ftp_are_out_of_scope() {
    let golden = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/golden");
    for path in super::cli::case_files(&golden).unwrap() {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let missing = match name.as_str() {
            n if n.starts_with("ftp-") => Some("the ftp helper"),
            n if n.starts_with("sync-") => Some("the sync daemon"),
            "backup-only" => Some("the sync daemon"),
            _ => None,
        };
        assert_eq!(scope::check(&case(&name)).err().as_deref(), missing, "{name}");
        if missing.is_none() {
            assert!(case(&name).rules.iter().all(|rule| crate::ipvsadm::parse(rule).is_ok()), "{name}");
        }
    }
}

#[test]
fn commands_are_read_or_their_feature_is_named() {
    let rows = [
        ("ipvsadm --start-daemon master --mcast-interface vec1", Some("the sync daemon")),
        ("modprobe nf_nat 2>/dev/null; modprobe ip_vs_ftp; true", Some("the ftp helper")),
        ("sort /proc/net/ip_vs_conn_sync", Some("the sync daemon")),
        (
            "iptables -t nat -A PREROUTING -j MARK --set-mark 7",
            Some("the command `iptables -t nat -A PREROUTING -j MARK --set-mark 7`"),
        ),
        (
            "iptables -t mangle -A PREROUTING ! -p tcp -j MARK --set-mark 7",
            Some("the command `iptables -t mangle -A PREROUTING ! -p tcp -j MARK --set-mark 7`"),
        ),
        ("ls | wc", Some("the command `ls`")),
        ("ipvsadm -A -t foo", None),
        ("ipvsadm --start-daemon master --mcast-interface nosuch", None),
        ("echo 1 > /proc/sys/net/ipv4/vs/snat_reroute && cat /proc/sys/net/ipv4/vs/snat_reroute", None),
        ("sysctl -w net.ipv4.vs.sloppy_tcp=1", None),
        ("modprobe ip_vs_lblcr", None),
        (
            "ip6tables -t mangle -I PREROUTING 2 -s fd00::/16 -i vec1 -m udp -p udp --sport 53 -j MARK --set-mark 0x10/0xff",
            None,
        ),
        ("ip rule add from 10.9.9.0/24 lookup 55; ip route add default via 10.0.1.9 dev vec0 table 55", None),
        ("ip -6 rule del fwmark 7 lookup 77; ip route flush table 77; ip route flush cache", None),
        ("ip addr add 10.9.9.1/32 dev lo; ip link set vec1 mtu 1400", None),
        ("cat /proc/net/ip_vs_conn | sort", None),
    ];
    for (line, missing) in rows {
        assert_eq!(scope::line(line).err().as_deref(), missing, "{line}");
    }
}

fn change(line: &str) -> NetworkChange {
    let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    NetworkChange::read(&words).unwrap_or_else(|| panic!("{line}"))
}

#[test]
fn routes_and_rules_are_read_and_applied() {
    let mut facts = topology::facts();
    let before = facts.clone();
    let mut ip = |line: &str| change(line).apply(&mut facts);
    let add = "ip -6 route replace fd00:3::/64 via fd00:2::fe dev vec1 mtu 1400";
    assert_eq!([ip(add), ip(add)], [Ok(()), Ok(())]);
    assert_eq!(ip("ip route add 10.3.0.0/16 via 10.0.2.9"), Err("RTNETLINK answers: File exists"));
    ip("ip route add local default dev lo table 77").unwrap();
    ip("ip rule add fwmark 7 lookup 77").unwrap();
    ip("ip rule add from 10.9.9.0/24 lookup 55 pref 5").unwrap();
    let added = facts.routes.iter().find(|route| route.mtu.is_some()).unwrap();
    assert_eq!((added.mtu, added.link.as_deref()), (Some(1400), Some("vec1")));
    let rules: Vec<_> = facts.rules.iter().map(|rule| (rule.priority, rule.mark, rule.table)).collect();
    assert_eq!(rules, [(5, None, 55), (32765, Some(7), 77)]);
    let mut ip = |line: &str| change(line).apply(&mut facts);
    ip("ip -6 route del fd00:3::/64").unwrap();
    ip("ip route flush table 77").unwrap();
    ip("ip rule del fwmark 7 lookup 77").unwrap();
    ip("ip rule del from 10.9.9.0/24 lookup 55").unwrap();
    assert_eq!(ip("ip rule del fwmark 7 lookup 77"), Err("RTNETLINK answers: No such file or directory"));
    assert_eq!(ip("ip route del 10.77.0.0/16"), Err("RTNETLINK answers: No such process"));
    assert_eq!(facts, before);
}

#[test]
fn rules_that_mark_are_added_and_removed() {
    let mut marks = Vec::new();
    let mut table = |line: &str| {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        MarkChange::read(&words).unwrap_or_else(|| panic!("{line}")).apply(&mut marks)
    };
    assert!(table(
        "iptables -t mangle -A PREROUTING -d 10.9.9.0/24 -p tcp -m multiport --dports 80,8000:8080 -j MARK --set-mark 7"
    ));
    assert!(table("ip6tables -t mangle -A PREROUTING -i vec0 -j MARK --set-mark 0x100/0xff00"));
    assert!(table("iptables -I PREROUTING -t mangle -s 192.0.2.1 -j MARK --set-mark 9"));
    assert!(!table("iptables -t mangle -D PREROUTING -j MARK --set-mark 9"));
    assert!(table("iptables -t mangle -D PREROUTING -s 192.0.2.1/32 -j MARK --set-mark 9"));
    assert_eq!(marks[0].l4_ports, ["80", "8000-8080"]);
    assert_eq!((marks[1].port.as_deref(), marks[1].mark, marks[1].mask), (Some("client"), 0x100, 0xff00));
    assert_eq!(marks.len(), 2);
}

/// Commands on the machine, in order: what they print and their status.
#[test]
fn what_commands_print_is_what_was_recorded() {
    let mut puppet = Puppet(|_, _, _: &[u8]| Outcome::default(), 0);
    let mut machine = Machine::new(&mut puppet);
    let rows = [
        ("sysctl -w net.ipv4.vs.drop_entry=4", 1, "sysctl: write error: Invalid argument\n"),
        ("sysctl -w net.ipv4.vs.drop_entry=2", 0, "net.ipv4.vs.drop_entry = 2\n"),
        ("cat /proc/sys/net/ipv4/vs/drop_entry", 0, "1\n"),
        ("sysctl net.ipv4.vs.drop_entry", 0, "net.ipv4.vs.drop_entry = 1\n"),
        ("sysctl -n net.ipv4.vs.drop_entry", 0, "1\n"),
        ("echo 4 > /proc/sys/net/ipv4/vs/drop_entry", 1, "sh: write error: Invalid argument\n"),
        ("sysctl -w net.ipv4.vs.nosuch=1", 1, "sysctl: error: 'net.ipv4.vs.nosuch' is an unknown key\n"),
        (
            "echo 5 > /proc/sys/net/ipv4/vs/sync_threshold; cat /proc/sys/net/ipv4/vs/sync_threshold",
            0,
            "5\t50\n",
        ),
        (
            "cat /proc/sys/net/ipv4/vs/lblc_expiration",
            1,
            "cat: can't open '/proc/sys/net/ipv4/vs/lblc_expiration': No such file or directory\n",
        ),
        ("modprobe ip_vs_lblc; cat /proc/sys/net/ipv4/vs/lblc_expiration", 0, "86400\n"),
        ("ipvsadm -A -t 10.9.9.1:443 && ipvsadm -Ln --timeout", 0, "Timeout (tcp tcpfin udp): 900 120 300\n"),
        ("ipvsadm -A -t 10.9.9.1:443 || true", 0, "Service already exists\n"),
        ("ipvsadm -A -t 10.9.9.1:443 2>/dev/null", 255, ""),
        ("ipvsadm -A -t 10.9.9.1:443 >/dev/null 2>&1; true", 0, ""),
        ("ipvsadm -A -u 10.9.9.1:443 && false", 1, ""),
        ("ip route del 10.77.0.0/16", 2, "RTNETLINK answers: No such process\n"),
    ];
    for (line, status, said) in rows {
        assert_eq!(machine.line(line), (status, said.to_owned()), "{line}");
    }
    assert_eq!(machine.config.services.len(), 2);
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
