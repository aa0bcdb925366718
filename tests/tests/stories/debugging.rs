//! Stories of debug events and modules.

use std::process::Command;

use pollux_tests::bed::Bed;
use pollux_tests::bed::command::{Result, program};
use pollux_tests::bed::rules::{self, config};
use serde_json::Value;

/// Log lines at start, in this order.
const START: [&str; 8] = [
    "IPVS: init: DPDK ",
    "IPVS: Registered protocols (TCP, UDP, SCTP, AH, ESP)",
    "IPVS: Connection hash table configured (size=",
    "IPVS: Each connection entry needs ",
    "IPVS: init: control socket ",
    "IPVS: ipvs loaded.",
    "IPVS: [rr] scheduler registered.",
    "polluxd: ready",
];

pub fn events() -> Result<()> {
    let bed = Bed::new(1)?;
    let nat = rules::HTTP[0];
    let daemon = bed.daemon_with(&config(&[nat], 1), 1, &["--debug", "format ^init: +p"])?;
    let log = daemon.log();
    let places: Vec<_> = START.iter().map(|line| log.find(line)).collect();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{places:?}\n{log}");

    let sites = daemon.pollux("debug sites module ip_vs_tcp")?;
    assert!(
        sites.contains("state.rs:") && sites.contains(" [ip_vs_tcp] enter_state =_ \"{proto} "),
        "{sites}"
    );
    let mut command = Command::new(program("pollux")?);
    command.arg("--socket").arg(daemon.socket()).args(["--json", "debug", "--follow"]);
    let mut follow = bed.process("follow", &mut command)?;
    assert_eq!(daemon.pollux("debug set module ip_vs_tcp +pm")?, "1 site matched\n");
    // The follower may connect after the switch, so each attempt makes a new request.
    let event = follow.until("the follower receives a handshake", |log| {
        bed.client.get(&nat.url())?;
        let event = log.lines().find(|line| line.contains("state: SYN_RECV->ESTABLISHED"));
        Ok(event.map(serde_json::from_str::<Value>).transpose()?)
    })?;
    assert_eq!((event["module"].as_str(), event["worker"].as_u64()), (Some("ip_vs_tcp"), Some(0)));
    let text = event["text"].as_str().unwrap_or_default();
    assert!(text.starts_with("ip_vs_tcp: IPVS: TCP input  [..A.] c:10.1.0.1:"), "{text}");
    assert!(daemon.log().contains(text), "the log has it too");

    daemon.pollux("debug set =_")?;
    daemon.pollux("debug level 11")?;
    bed.client.get(&nat.url())?;
    follow.until("packets and lookups are logged", |log| {
        let texts = ["lookup service: fwm 0 TCP 10.9.9.1:80 hit", "RR: server ", "sent on"];
        Ok(texts.iter().all(|text| log.contains(text)).then_some(()))
    })?;
    daemon.pollux("debug level 0")?;
    assert!(daemon.pollux("debug set modul ip_vs +p").is_err());
    daemon.accounts_for_all_packets()
}

pub fn modules() -> Result<()> {
    let bed = Bed::new(1)?;
    let nat = rules::HTTP[0];
    let daemon = bed.daemon_with(&config(&[nat], 1), 1, &["--log-level", "info"])?;
    let refused = daemon.pollux("modules disable ip_vs_tcp").err().map(|error| error.to_string());
    assert!(refused.is_some_and(|why| why.contains("ip_vs_tcp is used by tcp 10.9.9.1:")), "TCP is used");
    daemon.pollux("modules disable ip_vs_sctp ip_vs_lc")?;
    assert!(daemon.pollux("service add sctp 10.9.9.1:9").is_err());
    assert!(daemon.pollux("service add tcp 10.9.9.1:9 --scheduler lc").is_err());
    daemon.pollux("modules enable ip_vs_lc")?;
    daemon.pollux("service add tcp 10.9.9.1:9 --scheduler lc")?;
    let list = daemon.pollux("modules")?;
    let line = |name: &str| list.lines().find(|line| line.starts_with(name)).unwrap_or_default();
    assert!(line("ip_vs_sctp").contains(" off "), "{list}");
    assert!(line("ip_vs_lc").ends_with("1 tcp 10.9.9.1:9"), "{list}");
    assert!(daemon.log().contains("IPVS: [lc] scheduler unregistered."), "{}", daemon.log());
    assert_eq!(bed.client.get(&nat.url())?, "web1");
    daemon.accounts_for_all_packets()
}
