//! Lines and what they mean.

use super::*;
use crate::model::{Destination, Scheduler};

fn command(line: &str) -> Command {
    parse(line).unwrap_or_else(|e| panic!("{line}: {e}"))
}

fn added(line: &str) -> Destination {
    match command(line) {
        Command::AddDestination(_, destination) => destination,
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn services_and_destinations_are_read() {
    let Command::AddService(service) = command("ipvsadm -A -t 10.9.9.1:80 -s wrr") else { panic!() };
    assert_eq!((service.scheduler, service.key().to_string()), (Scheduler::Wrr, "tcp 10.9.9.1:80".into()));
    let Command::AddService(service) = command("-A -u [fd00:9::1]:53") else { panic!() };
    assert_eq!((service.scheduler, service.key().to_string()), (Scheduler::Wlc, "udp [fd00:9::1]:53".into()));
    let nat = added("-a -t 10.9.9.1:80 -r 10.0.2.11:8080 -m -w7");
    assert_eq!((nat.method, nat.l4_port, nat.weight), (Method::Nat, 8080, 7));
    let Command::DeleteDestination(_, gone) = command("-d -t 10.9.9.1:80 -r 10.0.2.11") else { panic!() };
    assert_eq!(gone.l4_port, 80);
}

#[test]
fn methods_that_cannot_change_the_port_do_not() {
    let dr = added("-a -t 10.9.9.1:80 -r 10.0.2.11:8080");
    assert_eq!((dr.method, dr.l4_port, dr.weight), (Method::Dr, 80, 1));
    let tunnel = added("-a -t [fd00:9::1]:80 -r 10.0.2.11:8080 -i --tun-type ipip --weight=0");
    assert_eq!((tunnel.method, tunnel.l4_port, tunnel.weight), (Method::Tunnel, 80, 0));
}

#[test]
fn listings_and_times_are_read() {
    let listing = |line| match command(line) {
        Command::List(listing) => listing,
        other => panic!("{other:?}"),
    };
    assert_eq!(listing("ipvsadm -Lnc").table, command::Table::Connections { engine: false });
    assert_eq!(listing("ipvsadm -l -n --stats --exact --nosort").table, command::Table::Stats);
    assert!(listing("ipvsadm -l -n --stats --exact --nosort").unsorted);
    assert!(listing("ipvsadm -Ln -t 10.9.9.1:80").service.is_some());
    assert_eq!(command("ipvsadm --set 0 5 1"), Command::SetTimeouts { tcp: 0, tcp_fin: 5, udp: 1 });
    assert_eq!(listing("ipvsadm"), Listing::default());
    assert_eq!(command("ipvsadm -Sn"), Command::Save);
    assert_eq!(command("ipvsadm -Z"), Command::Zero(None));
    assert_eq!(command("ipvsadm -C"), Command::Clear);
}

#[test]
fn what_we_cannot_do_yet_is_named() {
    let rows = [
        ("-A -f 7 -s rr", "mark services"),
        ("-A -t 10.9.9.1:80 -p 60 -s rr", "persistence"),
        ("-A -t 10.9.9.1:80 -s mh", "scheduler mh"),
        ("-A -u 10.9.9.1:53 -o", "one-packet scheduling"),
        ("-A --sctp-service 10.9.9.1:90", "sctp services"),
        ("-a -t 10.9.9.1:80 -r 10.0.2.11 -i --tun-type gre", "tunnel type gre"),
        ("-a -t 10.9.9.1:80 -r 10.0.2.11 -x 4", "thresholds"),
        ("--start-daemon master", "the sync daemon"),
    ];
    for (line, feature) in rows {
        assert_eq!(parse(line), Err(ParseError::Unsupported { feature: feature.into() }), "{line}");
    }
}

/// Commands whose error is not told before a feature we lack is met.
const LATER: &[&str] = &[
    "ipvsadm -A -t 10.9.9.1:81 -s nosuch",
    "ipvsadm -a -t 10.9.9.1:80 -r 10.0.2.99 -x 5 -y 6",
    "ipvsadm -A -t 10.9.9.3:80 -b sh-port",
    "ipvsadm -A -t 10.9.9.3:80 -s sh -b foo",
    "ipvsadm -Ln --daemon --timeout",
    "ipvsadm --stop-daemon master",
    "ipvsadm --start-daemon master --mcast-interface nosuch",
    "ipvsadm -a -t 10.9.9.1:80 -r 10.0.2.99 -i --tun-type gue",
    "ipvsadm -a -t 10.9.9.1:80 -r 10.0.2.99 -i --tun-type gre --tun-remcsum",
];

#[test]
fn errors_are_those_of_the_original() {
    let mut config = Config::default();
    for line in ["-A -t 10.9.9.1:80", "-a -t 10.9.9.1:80 -r 10.0.2.11:80 -i"] {
        apply(&command(line), &mut config).unwrap();
    }
    let before = config.clone();
    for theirs in recorded("listing-errors").cmds {
        if LATER.contains(&theirs.cmd.as_str()) || theirs.rc == 1 {
            continue;
        }
        let ours = match parse(&theirs.cmd) {
            Err(error) => (error.status(), error.to_string()),
            Ok(command) => (255, refusal(&apply(&command, &mut config).unwrap_err()).to_owned()),
        };
        assert_eq!(ours, (theirs.rc, theirs.out.trim_end_matches('\n').to_owned() + newline(&theirs.cmd)));
        assert_eq!(config, before, "{}", theirs.cmd);
    }
}

/// One message of the original ends with an empty line.
fn newline(command: &str) -> &'static str {
    if command.contains("-6 -f") { "\n" } else { "" }
}

#[test]
fn odd_lines_are_refused() {
    for (line, status) in
        [("-n", 255), ("-X", 255), ("-A -t", 255), ("-Ln stray", 255), ("-A -D -t 10.9.9.1:80", 2)]
    {
        assert_eq!(parse(line).unwrap_err().status(), status, "{line}");
    }
    let mixed = parse("-a -t 10.9.9.1:80 -r [fd00:2::b]:80 -m").unwrap_err();
    assert_eq!(mixed.to_string(), "Different address family is allowed only for tunneling servers");
}

#[test]
fn zero_seconds_keep_what_is_set() {
    let mut config = Config::default();
    apply(&command("--set 0 0 1"), &mut config).unwrap();
    assert_eq!(timeouts(&config.settings), "Timeout (tcp tcpfin udp): 900 120 1\n");
}

#[test]
fn edits_change_in_place_and_keep_the_order() {
    let mut config = Config::default();
    for line in [
        "-A -t 10.9.9.1:80 -s rr",
        "-a -t 10.9.9.1:80 -r 10.0.2.11:80 -m",
        "-a -t 10.9.9.1:80 -r 10.0.2.12:80 -m",
        "-e -t 10.9.9.1:80 -r 10.0.2.11:80 -m -w 3",
        "-E -t 10.9.9.1:80 -s wrr",
    ] {
        apply(&command(line), &mut config).unwrap();
    }
    let service = &config.services[0];
    assert_eq!((service.scheduler, service.destinations[0].weight), (Scheduler::Wrr, 3));
    apply(&command("-d -t 10.9.9.1:80 -r 10.0.2.11:80"), &mut config).unwrap();
    assert_eq!(config.services[0].destinations.len(), 1);
    apply(&command("-D -t 10.9.9.1:80"), &mut config).unwrap();
    assert!(config.services.is_empty());
}
