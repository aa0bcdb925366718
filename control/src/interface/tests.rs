//! Taking and restoring on a machine that can fail or die at any command.

mod machine;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use machine::{Machine, Settings};

use super::change::Change;

/// Everything is to be changed, or with `ready` nothing.
fn settings(ready: bool) -> Settings {
    let value = if ready { "1" } else { "0" };
    let keys = ["net/ipv6/conf/eth1/disable_ipv6", "net/ipv4/conf/eth1/rp_filter"];
    let offloads = ["large-receive-offload", "generic-receive-offload", "rx-vlan-filter", "rx-gro-hw"];
    let mut sysctls: BTreeMap<_, _> = keys.map(|key| (key.to_owned(), value.to_owned())).into();
    sysctls.insert("net/ipv4/conf/eth1/forwarding".to_owned(), "0".to_owned());
    Settings {
        flags: [("UP", ready), ("NOARP", ready), ("ALLMULTI", ready), ("PROMISC", false), ("XDP", false)]
            .into(),
        sysctls,
        offloads: offloads.map(|offload| (offload.to_owned(), !ready)).into(),
        addresses: BTreeMap::new(),
        routes: BTreeMap::new(),
        qdiscs: if ready { [("eth1".to_owned(), "clsact")].into() } else { BTreeMap::new() },
        filters: BTreeMap::new(),
    }
}

fn with_addresses() -> Settings {
    let mut settings = settings(false);
    settings.addresses = [("192.0.2.5/24".to_owned(), String::new())].into();
    settings.routes = [("default".to_owned(), "proto static".to_owned())].into();
    settings
}

/// The machines and requests that the laws below are checked with.
fn cases() -> Vec<(Settings, &'static str, bool)> {
    let modes = ["eth1", "eth1,tap", "eth1,packet", "eth1,xdp"];
    let mut cases: Vec<_> = modes
        .iter()
        .flat_map(|mode| [(settings(false), *mode, false), (settings(true), *mode, false)])
        .collect();
    cases.push((with_addresses(), "eth1,tap", true));
    cases
}

/// The TAP vanishes with the process.
fn of_eth1(mut settings: Settings) -> Settings {
    settings.qdiscs.remove("dtap-eth1");
    settings.filters.remove("dtap-eth1");
    settings
}

#[test]
fn a_clean_stop_restores_everything() {
    for (before, request, take_over) in cases() {
        let directory = tempfile::tempdir().unwrap();
        let machine = Machine::new(before.clone(), directory.path());
        let interfaces = machine.take(request, take_over).unwrap();
        interfaces.connect().unwrap();
        if request != "eth1,packet" && request != "eth1,xdp" {
            assert_eq!(machine.settings().filters["eth1"], "dtap-eth1");
            assert_eq!(machine.settings().filters["dtap-eth1"], "eth1");
        }
        assert!(machine.settings() != before || before == settings(true), "{request}");
        assert!(machine.settings().addresses.is_empty() && machine.settings().routes.is_empty());
        interfaces.restore().unwrap();
        assert_eq!(of_eth1(machine.settings()), before, "{request}");
        assert!(!machine.0.borrow().journal.exists());
    }
}

#[test]
fn a_failed_start_restores_everything() {
    for (before, request, take_over) in cases() {
        for at in 1.. {
            let directory = tempfile::tempdir().unwrap();
            let machine = Machine::new(before.clone(), directory.path());
            machine.0.borrow_mut().fails_at = Some(at);
            let taken = machine.take(request, take_over).and_then(|taken| taken.connect().map(|()| taken));
            let commands = machine.0.borrow().history.len();
            machine.0.borrow_mut().fails_at = None;
            if taken.is_ok() && commands < at {
                assert!(at > 2, "{request}: {commands} commands");
                break;
            }
            // Unknown offloads are no failure; this ends like a success then.
            drop(taken);
            assert_eq!(of_eth1(machine.settings()), before, "{request}: command {at} failed");
            assert!(!machine.0.borrow().journal.exists());
        }
    }
}

/// Whenever the daemon dies, the next start and `--restore-interfaces` restore what was there before the first.
#[test]
fn after_a_crash_everything_is_restored() {
    for (before, request, take_over) in cases() {
        let directory = tempfile::tempdir().unwrap();
        let machine = Machine::new(before.clone(), directory.path());
        machine.take(request, take_over).unwrap().connect().unwrap();
        let history = std::mem::take(&mut machine.0.borrow_mut().history);
        assert!(history.iter().any(|(_, journal)| journal.is_some()) || before == settings(true));
        for (settings, journal) in history {
            for (next, take_over) in [("", false), (request, false), (request, true), ("eth1,packet", true)] {
                machine.reset(of_eth1(settings.clone()), journal.as_deref());
                // A refusal, because addresses were left behind, restores them, too.
                let refused = machine.take(next, take_over).is_err();
                assert!(!refused || !take_over && !before.addresses.is_empty(), "{request}, then {next}");
                assert_eq!(of_eth1(machine.settings()), before, "{request}, then {next}");
                assert!(!machine.0.borrow().journal.exists());
            }
        }
    }
}

/// The next start keeps what it needs, so that frames do not reach the host's stack in between.
#[test]
fn a_restart_keeps_the_redirection() {
    let directory = tempfile::tempdir().unwrap();
    let machine = Machine::new(settings(false), directory.path());
    let interfaces = machine.take("eth1", false).unwrap();
    interfaces.connect().unwrap();
    let (dead, journal) =
        (of_eth1(machine.settings()), fs::read_to_string(&machine.0.borrow().journal).unwrap());
    drop(interfaces);
    machine.reset(dead, Some(&journal));
    let interfaces = machine.take("eth1", false).unwrap();
    interfaces.connect().unwrap();
    let history = &machine.0.borrow().history;
    assert!(history.len() > 5 && history.iter().all(|(settings, _)| settings.filters["eth1"] == "dtap-eth1"));
}

#[test]
fn the_file_is_private_and_written_before_the_first_change() {
    let directory = tempfile::tempdir().unwrap();
    let machine = Machine::new(settings(false), directory.path());
    let _interfaces = machine.take("eth1", false).unwrap();
    let shared = machine.0.borrow();
    assert_eq!(fs::metadata(&shared.journal).unwrap().permissions().mode() & 0o777, 0o600);
    let changed: Vec<_> = shared.history.iter().filter(|(now, _)| *now != settings(false)).collect();
    assert!(!changed.is_empty());
    assert!(changed.iter().all(|(_, journal)| journal.as_ref().is_some_and(|text| text.contains("eth1"))));
}

#[test]
fn a_broken_file_is_an_error_and_stays() {
    let directory = tempfile::tempdir().unwrap();
    let machine = Machine::new(settings(false), directory.path());
    for (text, why) in [("{", "EOF"), (r#"{"version":9,"boot":"","netns":0,"interfaces":[]}"#, "version 9")] {
        machine.reset(settings(false), Some(text));
        let error = machine.take("eth1", false).err().unwrap().to_string();
        assert!(error.contains(why) && error.contains("control.interfaces: "), "{error}");
        assert_eq!(fs::read_to_string(&machine.0.borrow().journal).unwrap(), text);
        assert_eq!(machine.settings(), settings(false));
    }
}

#[test]
fn unfit_interfaces_are_refused() {
    let mut programmed = settings(true);
    programmed.flags.insert("XDP", true);
    let mut filtered = settings(true);
    filtered.filters = [("eth1".to_owned(), "another".to_owned())].into();
    for (settings, request, why) in [
        (
            settings(false),
            "eth9",
            "--interface eth9: there is no such interface; this network namespace has eth1, eth2",
        ),
        (settings(false), "lo", "--interface lo: this is a loopback interface"),
        (settings(false), "eth2", "it is a port of br0"),
        (settings(false), "eth3", "eth3.7 on top of it would stop working"),
        (settings(false), "eth1 eth1,packet", "--interface eth1 is given twice"),
        (with_addresses(), "eth1", "its addresses 192.0.2.5/24 would stop working"),
        (programmed, "eth1,xdp", "an XDP program is attached to it already"),
        (filtered, "eth1", "it has tc ingress filters of another program"),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let machine = Machine::new(settings.clone(), directory.path());
        let error = machine.take(request, false).err().unwrap().to_string();
        assert!(error.contains(why), "{error}");
        assert_eq!(machine.settings(), settings);
    }
}

#[test]
fn an_interface_in_use_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let machine = Machine::new(settings(false), directory.path());
    let _interfaces = machine.take("eth1", false).unwrap();
    let (taken, journal) = (machine.settings(), fs::read_to_string(&machine.0.borrow().journal).unwrap());
    for request in ["", "eth1", "eth3"] {
        let error = machine.take(request, false).err().unwrap().to_string();
        assert!(error.contains("interface eth1 is used by the polluxd with process ID"), "{error}");
        assert_eq!(machine.settings(), taken);
        assert_eq!(fs::read_to_string(&machine.0.borrow().journal).unwrap(), journal);
    }
    let directory = tempfile::tempdir().unwrap();
    let with_another_socket = Machine::new(taken, directory.path());
    with_another_socket.0.borrow_mut().index = machine.0.borrow().index;
    let error = with_another_socket.take("eth1", false).err().unwrap().to_string();
    assert!(error.contains("interface eth1 is used by the polluxd with process ID"), "{error}");
}

#[test]
fn a_tap_follows_the_carrier() {
    let directory = tempfile::tempdir().unwrap();
    let machine = Machine::new(settings(false), directory.path());
    let mut interfaces = machine.take("eth1", false).unwrap();
    let start = Instant::now();
    // An interface that is down has no carrier to tell.
    let steps = [(Some(true), None), (Some(false), Some("off")), (None, None), (Some(true), Some("on"))];
    for ((carrier, told), second) in steps.into_iter().zip(1..) {
        machine.0.borrow_mut().carrier = carrier;
        machine.0.borrow_mut().told = None;
        interfaces.follow(start + Duration::from_secs(second));
        assert_eq!(machine.0.borrow().told.as_deref(), told, "{second}");
        machine.0.borrow_mut().carrier = Some(false);
        machine.0.borrow_mut().told = None;
        interfaces.follow(start + Duration::from_secs(second) + Duration::from_millis(100));
        assert_eq!(machine.0.borrow().told, None, "it looks from time to time");
    }
}

/// A macvlan on the twin has another address, which the interface's filter must let pass.
#[test]
fn an_interface_is_promiscuous_if_its_twin_has_other_addresses() {
    for promiscuous in [false, true] {
        let directory = tempfile::tempdir().unwrap();
        let mut before = settings(false);
        before.flags.insert("PROMISC", promiscuous);
        let machine = Machine::new(before.clone(), directory.path());
        let mut interfaces = machine.take("eth1", false).unwrap();
        let start = Instant::now();
        interfaces.follow(start);
        assert_eq!(machine.settings().flags["PROMISC"], promiscuous);
        machine.0.borrow_mut().other_macs = true;
        interfaces.follow(start + Duration::from_secs(1));
        assert!(machine.settings().flags["PROMISC"]);
        let (now, journal) = (machine.settings(), fs::read_to_string(&machine.0.borrow().journal).unwrap());
        drop(interfaces);
        assert_eq!(machine.settings(), before);
        machine.reset(now, Some(&journal));
        drop(machine.take("", false).unwrap());
        assert_eq!(machine.settings(), before, "after a crash");
    }
}

#[test]
fn every_change_is_told_both_ways() {
    let sysctl = Change::Sysctl { key: "net/a/b".to_owned(), before: "0".to_owned(), during: "1".to_owned() };
    assert_eq!(
        (sysctl.made(), sysctl.undone()),
        ("net.a.b: 0 -> 1".to_owned(), "net.a.b: 1 -> 0".to_owned())
    );
    let redirect = Change::Redirect { to: "dtap-eth1".to_owned(), own_qdisc: true };
    assert_eq!(redirect.made(), "received frames are redirected to dtap-eth1");
    assert_eq!(redirect.undone(), "received frames are no longer redirected to dtap-eth1");
}
