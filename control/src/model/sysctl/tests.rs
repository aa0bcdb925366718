//! Names and values as the kernel takes them.

use super::*;
use crate::model::edit::Errno;

fn set(config: &mut Config, pairs: &[(&str, &str)]) -> Result<(), EditError> {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    write(config, &Values { values: pairs.iter().map(owned).collect() })
}

#[test]
fn defaults_are_those_of_linux() {
    let values = read_all(&Settings::default(), &[]).unwrap().values;
    assert_eq!(values.len(), SETTINGS.len() + FIXED.len());
    let expected = [
        ("amemthresh", "1024"),
        ("am_droprate", "10"),
        ("conn_reuse_mode", "1"),
        ("snat_reroute", "1"),
        ("pmtu_disc", "1"),
        ("lblc_expiration", "86400"),
        ("sync_threshold", "3\t50"),
        ("drop_entry", "0"),
    ];
    for (name, value) in expected {
        assert_eq!(values[name], value, "{name}");
    }
}

#[test]
fn prefixes_spaces_and_bases_are_accepted() {
    let mut config = Config::default();
    set(&mut config, &[("net.ipv4.vs.sloppy_tcp", " 1\n"), ("net/ipv4/vs/drop_packet", "3")]).unwrap();
    set(&mut config, &[("am_droprate", "-0x10"), ("amemthresh", "010"), ("conn_reuse_mode", "77 5")])
        .unwrap();
    let read = |name| read(&config.settings, name).unwrap();
    assert_eq!(read("sloppy_tcp"), "1");
    assert_eq!(read("net.ipv4.vs.drop_packet"), "3");
    assert_eq!((read("am_droprate"), read("amemthresh"), read("conn_reuse_mode")), owned("-16", "8", "77"));
}

fn owned(a: &str, b: &str, c: &str) -> (String, String, String) {
    (a.to_owned(), b.to_owned(), c.to_owned())
}

#[test]
fn values_that_linux_refuses_are_refused() {
    let rows = [
        ("drop_entry", "4", Errno::EInval, "net.ipv4.vs.drop_entry: 4 is not a mode; use 0 (off)"),
        ("secure_tcp", "-1", Errno::EInval, "net.ipv4.vs.secure_tcp: -1 is not a mode"),
        ("sloppy_tcp", "on", Errno::EInval, "net.ipv4.vs.sloppy_tcp: \"on\" is not a 32-bit integer"),
        ("sloppy_tcp", "", Errno::EInval, "net.ipv4.vs.sloppy_tcp: \"\" is not"),
        ("sloppy_tcp", "2147483648", Errno::EInval, "net.ipv4.vs.sloppy_tcp: \"2147483648\" is not"),
        ("sloppy_tcp", "--1", Errno::EInval, "net.ipv4.vs.sloppy_tcp: \"--1\" is not"),
        ("sloppy_tcp", "0x", Errno::EInval, "net.ipv4.vs.sloppy_tcp: \"0x\" is not"),
        ("lblc_expiration", "-1", Errno::EInval, "net.ipv4.vs: invalid value: integer `-1`"),
        (
            "sync_version",
            "0",
            Errno::EInval,
            "net.ipv4.vs.sync_version: \"0\" cannot be set, the variable is read-only: connections",
        ),
        (
            "conntrack",
            "1",
            Errno::EInval,
            "net.ipv4.vs.conntrack: \"1\" cannot be set, the variable is read-only: Pollux does not",
        ),
        ("timeout_timewait", "1", Errno::ENoEnt, "there is no sysctl net.ipv4.vs.timeout_timewait"),
    ];
    for (name, value, errno, text) in rows {
        let mut config = Config::default();
        let error = set(&mut config, &[("pmtu_disc", "0"), (name, value)]).unwrap_err();
        assert_eq!(error.errno(), errno, "{name}");
        assert!(error.to_string().starts_with(text), "{error}");
        assert_eq!(config, Config::default(), "all or nothing");
    }
}

#[test]
fn read_only_variables_accept_their_value() {
    let mut config = Config::default();
    set(&mut config, &[("sync_threshold", "3 50"), ("conntrack", "0\n"), ("est_cpulist", "")]).unwrap();
    assert_eq!(config, Config::default());
    assert_eq!(read(&config.settings, "nosuch").unwrap_err().errno(), Errno::ENoEnt);
}

const CONF: &str = "\
# a remark
; another

net.ipv4.vs.drop_entry = 3
  net/ipv4/vs/drop_packet=1
-net.ipv4.vs.nosuch = 1
net.ipv4.vs.sloppy_* = 1
net.ipv4.*.lblc*_expiration = 60
-net.ipv4.vs.sloppy_sctp
net.ipv4.ip_forward = 1
net/ipv4/conf/eth0.7/rp_filter = 0
net.ipv4.vs.lblcr_expiration =\t70 \n";

#[test]
fn conf_files_are_read_as_by_sysctl() {
    let read = conf::parse("a.conf", CONF, false).unwrap();
    let lines: Vec<_> =
        read.lines.iter().map(|l| (l.location.as_str(), l.name.as_str(), l.value.as_str())).collect();
    let expected = [
        ("a.conf:7", "sloppy_tcp", "1"),
        ("a.conf:8", "lblc_expiration", "60"),
        ("a.conf:4", "drop_entry", "3"),
        ("a.conf:5", "drop_packet", "1"),
        ("a.conf:12", "lblcr_expiration", "70"),
    ];
    assert_eq!(lines, expected);
    assert_eq!(read.skipped, ["a.conf:10: net.ipv4.ip_forward", "a.conf:11: net.ipv4.conf.eth0.7.rp_filter"]);
    assert!(conf::parse("a.conf", "-net.ipv4.vs.drop_entry=9", false).unwrap().lines[0].optional);
}

#[test]
fn errors_in_a_conf_file_have_line_numbers() {
    let text = "net.ipv4.vs.drop_entry 3\nnet.ipv4.vs.nosuch = 1\nnet.ipv4.vs.sloppy_tcp = 1\n";
    let error = conf::parse("a.conf", text, false).unwrap_err().to_string();
    assert!(error.starts_with("a.conf:1: \"net.ipv4.vs.drop_entry 3\" has no value;"), "{error}");
    assert!(error.contains("\na.conf:2: net.ipv4.vs.nosuch: No such file or directory;"), "{error}");
    let lenient = conf::parse("a.conf", "net.ipv4.vs.nosuch = 1", true).unwrap();
    assert_eq!(lenient, conf::Contents::default());
}

#[test]
fn patterns_match_as_in_the_shell() {
    let rows = [
        ("*", "drop_entry", true),
        ("drop_*", "drop_entry", true),
        ("drop_*y", "drop_entry", true),
        ("drop_?ntry", "drop_entry", true),
        ("drop_[a-f]ntry", "drop_entry", true),
        ("drop_[!a-f]ntry", "drop_entry", false),
        ("drop_[]e]ntry", "drop_entry", true),
        ("drop_[", "drop_[", true),
        ("drop", "drop_entry", false),
        ("net.*.vs", "net.ipv4.vs", true),
        ("net.*", "net.ipv4.vs", false),
        ("*****************************x", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false),
    ];
    for (pattern, name, fits) in rows {
        assert_eq!(conf::matches(pattern, name), fits, "{pattern} {name}");
    }
}
