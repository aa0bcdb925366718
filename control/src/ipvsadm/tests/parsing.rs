//! Tests of parsing.

use super::*;
use crate::model::{Checksum, Destination, Engine, Family, Scheduler, SchedulerFlags, ServiceKey, Tunnel};

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
fn services_and_destinations_are_parsed() {
    let Command::AddService(service) = command("ipvsadm -A -t 10.9.9.1:80 -s wrr") else { panic!() };
    assert_eq!((service.scheduler, service.key.to_string()), (Scheduler::Wrr, "tcp 10.9.9.1:80".into()));
    let Command::AddService(service) = command("-A -u [fd00:9::1]:53") else { panic!() };
    assert_eq!((service.scheduler, service.key.to_string()), (Scheduler::Wlc, "udp [fd00:9::1]:53".into()));
    let nat = added("-a -t 10.9.9.1:80 -r 10.0.2.11:8080 -m -w7");
    assert_eq!((nat.method, nat.l4_port, nat.weight), (Method::Nat, 8080, 7));
    let Command::DeleteDestination(_, gone) = command("-d -t 10.9.9.1:80 -r 10.0.2.11") else { panic!() };
    assert_eq!(gone.l4_port, 80);
}

#[test]
fn only_nat_changes_the_port() {
    let dr = added("-a -t 10.9.9.1:80 -r 10.0.2.11:8080");
    assert_eq!((dr.method, dr.l4_port, dr.weight), (Method::Dr, 80, 1));
    let tunnel = added("-a -t [fd00:9::1]:80 -r 10.0.2.11:8080 -i --tun-type ipip --weight=0");
    assert_eq!((tunnel.method, tunnel.l4_port, tunnel.weight), (Method::Tunnel, 80, 0));
}

#[test]
fn lists_and_timeouts_are_parsed() {
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
    assert_eq!(command("ipvsadm -Sn"), Command::Save { numeric: true });
    assert_eq!(command("ipvsadm -Z"), Command::Zero(None));
    assert_eq!(command("ipvsadm -C"), Command::Clear);
}

#[test]
fn every_option_reaches_the_model() {
    let service = |line: &str| match command(line) {
        Command::AddService(service) => service,
        other => panic!("{line}: {other:?}"),
    };
    let fwmark = service("-A -f 7 -6 -s mh -b mh-port,flag-1 -p 60 -M 64");
    assert_eq!(fwmark.key, ServiceKey::Fwmark { fwmark: 7, family: Family::Ipv6 });
    assert_eq!(fwmark.flags, SchedulerFlags { fallback: true, hash_l4_port: true, flag_3: false });
    let persistence = fwmark.persistence.unwrap();
    assert_eq!((persistence.timeout, persistence.prefix_len, persistence.netmask), (60, Some(64), None));
    let sip = service("-A -u 10.9.9.1:5060 -o --pe sip -p -M 255.255.255.0");
    assert!(sip.ops);
    let persistence = sip.persistence.unwrap();
    assert_eq!((persistence.timeout, persistence.engine), (360, Some(Engine::Sip)));
    assert_eq!(persistence.netmask, Some([255, 255, 255, 0].into()));
    // An all-ones mask is not stored, and without -p a mask has no effect.
    assert_eq!(service("-A -t 10.9.9.1:0 -p5 -M 255.255.255.255").persistence.unwrap().netmask, None);
    assert_eq!(service("-A -t 10.9.9.1:80 -M 255.0.0.0 --pe sip").persistence, None);
    assert_eq!(service("-A --sctp-service 10.9.9.1:90 -s none").scheduler, Scheduler::None);
    // A mask before an IPv6 service is dropped.
    assert_eq!(service("-A -M 64 -f 11 -6 -p").persistence.unwrap().prefix_len, None);
    let far =
        added("-a -f 7 -r [fd00:2::b]:8080 -i -x 70000 -y 10 --tun-type gue --tun-port 6080 --tun-remcsum");
    assert_eq!((far.l4_port, far.upper_threshold, far.lower_threshold), (8080, 70000, 10));
    assert_eq!(far.tunnel, Tunnel::Gue { l4_port: 6080, checksum: Checksum::Remote });
    assert_eq!(
        added("-a -t 10.9.9.1:80 -r 10.0.2.11 -i --tun-type gre --tun-csum").tunnel,
        Tunnel::Gre { checksum: Checksum::Full }
    );
    assert_eq!(added("-a -t 10.9.9.1:0 -r 10.0.2.11:80 -g").l4_port, 0);
    assert_eq!(added("-a -f 7 -r 10.0.2.11").l4_port, 0);
}

#[test]
fn errors_are_those_of_the_original() {
    let mut config = Config::default();
    for line in ["-A -t 10.9.9.1:80", "-a -t 10.9.9.1:80 -r 10.0.2.11:80 -i"] {
        apply(&command(line), &mut config).unwrap();
    }
    let before = config.clone();
    for theirs in recorded("listing-errors").cmds {
        // The only error of a listing.
        if theirs.rc == 1 {
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

/// Lines with the original's message and exit status.
const RECORDED: &str = include_str!("usage.txt");

#[test]
fn usage_errors_are_those_of_the_original() {
    for row in RECORDED.lines() {
        let [status, line, message] = row.split('\t').collect::<Vec<_>>()[..] else { panic!("{row}") };
        let ours = parse(line).err().map(|error| (error.status().to_string(), error.to_string()));
        let ours = ours.as_ref().map(|(status, text)| (status.as_str(), text.trim_end()));
        assert_eq!(ours, Some((status, message)), "{line}");
    }
}

/// One message of the original ends with an empty line.
fn newline(command: &str) -> &'static str {
    if command.contains("-6 -f") { "\n" } else { "" }
}

#[test]
fn zero_keeps_the_timeout() {
    let mut config = Config::default();
    apply(&command("--set 0 0 1"), &mut config).unwrap();
    assert_eq!(timeouts(&config.settings), "Timeout (tcp tcpfin udp): 900 120 1\n");
}

#[test]
fn edits_keep_the_order() {
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
