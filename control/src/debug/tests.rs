//! Tests of sites, levels and texts.

use pollux_dataplane::flow::Endpoint;
use pollux_dataplane::trace::{Kind, Record};
use pollux_dataplane::wire::protocol;

use super::*;

fn at(last: u8, l4_port: u16) -> Endpoint {
    Endpoint { address: [10, 0, 0, last].into(), l4_port }
}

fn record(kind: Kind, which: u16, words: [u32; 4]) -> Record {
    let ends = [at(1, 4000), at(9, 80), at(2, 8080)];
    Record { site: kind.first() + which, protocol: protocol::TCP, ends, words }
}

fn texts(events: &EventReceiver) -> Vec<String> {
    events.0.try_iter().map(|followed| followed.event.text.clone()).collect()
}

#[test]
fn sites_have_a_location() {
    let debug = DebugLog::default();
    let all = debug.list(&Filter::default());
    assert_eq!(all.len(), usize::from(Kind::SITES + sites::Kind::SITES));
    let of_rr = |site: &&DebugSite| site.module == "ip_vs_rr" && site.format.starts_with("ip_vs_");
    let chosen = all.iter().find(of_rr).unwrap();
    assert_eq!(
        (chosen.file.as_str(), chosen.function.as_str()),
        ("dataplane/src/pipeline/slow_path/schedule.rs", "pick")
    );
    assert!(all.iter().all(|site| site.line > 0 && !site.function.is_empty()), "{all:?}");
    assert!(all.iter().all(|site| site.level <= 12 && site.flags == "_"));
}

/// Every placeholder is known, whatever the words of the record are.
#[test]
fn every_format_can_be_filled() {
    for (kind, spec) in Kind::ALL.iter().zip(Kind::SPECS) {
        for word in [0, 1] {
            let text = text::text(spec.format, &record(*kind, 0, [word, word, word, word]));
            assert!(!text.contains(['{', '}']), "{kind:?}: {text}");
        }
        text::text(spec.format, &record(*kind, 0, [u32::MAX; 4]));
    }
}

#[test]
fn frames_without_a_packet_have_no_addresses() {
    let nowhere = Endpoint { address: [0, 0, 0, 0].into(), l4_port: 0 };
    for (kind, words, expected) in [
        (Kind::Packet, [1, 6, 70, 0], "port 1: not balanced, frame of 70 bytes"),
        (Kind::Verdict, [1, 0, 0, 0], "frame is passed to the kernel"),
    ] {
        let record = Record { protocol: 0, ends: [nowhere; 3], ..record(kind, 0, words) };
        let spec = &Kind::SPECS[kind as usize];
        assert_eq!(text::text(spec.format, &record), expected);
    }
}

#[test]
fn texts_are_those_of_the_kernel() {
    let syn = 0x02;
    for (kind, words, expected) in [
        (Kind::NoneAvailable, [0, 0, 0, 0], "rr: TCP 10.0.0.9:80 - no destination available"),
        (Kind::NoneAvailable, [0, 0, 7, 14], "none: FWM 7 0x00000007 - no destination available"),
        (
            Kind::TcpState,
            [0, syn, 0, 3],
            "TCP input  [S...] c:10.0.0.1:4000 v:10.0.0.9:80 d:10.0.0.2:8080 state: NONE->SYN_RECV",
        ),
        (
            Kind::Bound,
            [0x100, 0, 0, 0],
            "Bind-dest TCP c:10.0.0.1:4000 v:10.0.0.9:80 d:10.0.0.2:8080 fwd:M s:0 conn->flags:100",
        ),
        (Kind::Lookup, [0, 0, 0, 0], "lookup/in TCP 10.0.0.1:4000->10.0.0.9:80 not hit"),
        (Kind::Chosen, [1, 2, 3, 0], "RR: server 10.0.0.2:8080 activeconns 1 inactconns 2 weight 3"),
        (Kind::ServiceLookup, [0, 1, 0, 0], "lookup service: fwm 0 TCP 10.0.0.9:80 hit"),
    ] {
        let spec = &Kind::SPECS[kind as usize];
        assert_eq!(text::text(spec.format, &record(kind, 0, words)), expected);
    }
    let mut wide = record(Kind::NoneAvailable, 0, [0; 4]);
    wide.ends[1] = Endpoint { address: "2001:db8::1".parse().unwrap(), l4_port: 80 };
    let spec = &Kind::SPECS[Kind::NoneAvailable as usize];
    assert_eq!(text::text(spec.format, &wide), "rr: TCP [2001:db8::1]:80 - no destination available");
}

#[test]
fn a_flag_or_the_level_enables_an_event() {
    let mut debug = DebugLog::default();
    let (scheduled, failed) = (Kind::Scheduled.first(), Kind::TableFull.first());
    let on = |debug: &DebugLog, site| debug.switches().is_on(site);
    assert!(on(&debug, failed) && !on(&debug, scheduled), "failures are on by default");
    debug.set_level(6);
    assert!(on(&debug, scheduled) && !on(&debug, Kind::TcpState.first()));
    debug.set_level(-1);
    assert!(!on(&debug, scheduled) && !on(&debug, failed));
    assert_eq!(debug.set(&query::parse("func open level 6 +p").unwrap()), 1);
    assert!(on(&debug, scheduled) && !on(&debug, failed));
    assert!(!debug.switches().each_packet());
    debug.set_level(12);
    assert!(debug.switches().each_packet());
}

#[test]
fn flags_prefix_the_text() {
    let mut debug = DebugLog::default();
    let events = debug.follow();
    let full = record(Kind::TableFull, 0, [0; 4]);
    debug.record(3, &full);
    debug.set(&query::parse("format ^connection\\040table +pmflt").unwrap());
    debug.record(3, &full);
    let line = Kind::SPECS[Kind::TableFull as usize].location.line;
    let text = "IPVS: connection table is full: no entry for TCP 10.0.0.1:4000->10.0.0.9:80";
    assert_eq!(texts(&events), [text.to_owned(), format!("[worker 3] ip_vs:open:{line}: {text}")]);
}

#[test]
fn sites_that_are_off_write_nothing() {
    let mut debug = DebugLog::default();
    let events = debug.follow();
    debug.record(0, &record(Kind::Scheduled, 0, [0; 4]));
    debug.record(0, &Record { site: u16::MAX, ..record(Kind::Scheduled, 0, [0; 4]) });
    let site = sites::Kind::ServiceAdded.first();
    debug.event(site, || -> [String; 2] { panic!("the site is off") });
    debug.set_level(2);
    debug.event(site, || ["tcp 10.0.0.9:80".to_owned(), "rr".to_owned()]);
    assert_eq!(texts(&events), ["IPVS: added service tcp 10.0.0.9:80, scheduler rr"]);
}

#[test]
fn suppressed_and_lost_events_are_reported() {
    let mut debug = DebugLog::default();
    let events = debug.follow();
    debug.set_level(6);
    debug.began -= Duration::from_secs(10);
    for _ in 0..1010 {
        debug.record(0, &record(Kind::Scheduled, 0, [0; 4]));
    }
    debug.report_lost(5);
    let texts = texts(&events);
    assert_eq!(texts.len(), 1001);
    assert_eq!(texts[1000], "IPVS: 10 debug events suppressed");
    debug.began -= Duration::from_secs(2);
    debug.report_lost(7);
    let lost = events.0.try_iter().next().unwrap().event.text.clone();
    assert_eq!(lost, "IPVS: 7 debug events lost: workers log faster than control reads");
}
