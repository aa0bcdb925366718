//! Commands of recordings.

use super::*;
use crate::replay::fwmarks::FwmarkChange;
use crate::replay::machine::Machine;
use crate::replay::network::NetworkChange;

#[test]
fn only_sync_and_ftp_are_unsupported() {
    let golden = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/golden");
    for path in crate::replay::cli::case_files(&golden).unwrap() {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let case = case(&name);
        let has =
            |word: &str| case.setup.iter().chain(case.cmds.iter().map(|c| &c.cmd)).any(|c| c.contains(word));
        let missing = match () {
            () if has("modprobe ip_vs_ftp") => Some("the ftp helper"),
            () if has("--mcast-interface vec") => Some("the sync daemon"),
            () => None,
        };
        assert_eq!(scope::check(&case).err().as_deref(), missing, "{name}");
        if missing.is_none() {
            assert!(case.rules.iter().all(|rule| crate::ipvsadm::parse(rule).is_ok()), "{name}");
        }
    }
}

#[test]
fn commands_are_parsed_or_their_feature_is_named() {
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
    NetworkChange::parse(&words).unwrap_or_else(|| panic!("{line}"))
}

#[test]
fn routes_and_rules_are_parsed_and_applied() {
    let mut network_state = topology::network_state();
    let before = network_state.clone();
    let mut ip = |line: &str| change(line).apply(&mut network_state);
    let add = "ip -6 route replace fd00:3::/64 via fd00:2::fe dev vec1 mtu 1400";
    assert_eq!([ip(add), ip(add)], [Ok(()), Ok(())]);
    assert_eq!(ip("ip route add 10.3.0.0/16 via 10.0.2.9"), Err("RTNETLINK answers: File exists"));
    ip("ip route add local default dev lo table 77").unwrap();
    ip("ip rule add fwmark 7 lookup 77").unwrap();
    ip("ip rule add from 10.9.9.0/24 lookup 55 pref 5").unwrap();
    let added = network_state.routes.iter().find(|route| route.mtu.is_some()).unwrap();
    assert_eq!((added.mtu, added.link.as_deref()), (Some(1400), Some("vec1")));
    let rules: Vec<_> =
        network_state.rules.iter().map(|rule| (rule.priority, rule.fwmark, rule.table)).collect();
    assert_eq!(rules, [(5, None, 55), (32765, Some(7), 77)]);
    let mut ip = |line: &str| change(line).apply(&mut network_state);
    ip("ip -6 route del fd00:3::/64").unwrap();
    ip("ip route flush table 77").unwrap();
    ip("ip rule del fwmark 7 lookup 77").unwrap();
    ip("ip rule del from 10.9.9.0/24 lookup 55").unwrap();
    assert_eq!(ip("ip rule del fwmark 7 lookup 77"), Err("RTNETLINK answers: No such file or directory"));
    assert_eq!(ip("ip route del 10.77.0.0/16"), Err("RTNETLINK answers: No such process"));
    assert_eq!(network_state, before);
}

#[test]
fn fwmark_rules_are_added_and_removed() {
    let mut fwmarks = Vec::new();
    let mut table = |line: &str| {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        FwmarkChange::parse(&words).unwrap_or_else(|| panic!("{line}")).apply(&mut fwmarks)
    };
    assert!(table(
        "iptables -t mangle -A PREROUTING -d 10.9.9.0/24 -p tcp -m multiport --dports 80,8000:8080 -j MARK --set-mark 7"
    ));
    assert!(table("ip6tables -t mangle -A PREROUTING -i vec0 -j MARK --set-mark 0x100/0xff00"));
    assert!(table("iptables -I PREROUTING -t mangle -s 192.0.2.1 -j MARK --set-mark 9"));
    assert!(!table("iptables -t mangle -D PREROUTING -j MARK --set-mark 9"));
    assert!(table("iptables -t mangle -D PREROUTING -s 192.0.2.1/32 -j MARK --set-mark 9"));
    assert_eq!(fwmarks[0].l4_ports, ["80", "8000-8080"]);
    assert_eq!(
        (fwmarks[1].port.as_deref(), fwmarks[1].fwmark, fwmarks[1].mask),
        (Some("client"), 0x100, 0xff00)
    );
    assert_eq!(fwmarks.len(), 2);
}

/// Commands in order, with their output and exit status.
#[test]
fn commands_print_what_was_recorded() {
    let mut balancer = ScriptedBalancer(|_, _, _: &[u8]| Outcome::default(), 0);
    let mut machine = Machine::new(&mut balancer);
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
    for (line, status, output) in rows {
        assert_eq!(machine.line(line), (status, output.to_owned()), "{line}");
    }
    assert_eq!(machine.config.services.len(), 2);
}
