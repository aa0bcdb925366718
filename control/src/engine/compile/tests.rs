//! Tests of the compiler: stable ids, scheduler events and lookup tables.

mod laws;
mod lookups;
mod steps;

use std::time::Duration;

use pollux_dataplane::config::{Counting, Event, EventKind};
use pollux_dataplane::service::{DestinationId, Services};

use super::*;
use crate::engine::defence::Pages;
use crate::model::Config;
use crate::model::edit::EditError;

fn compiler() -> Compiler {
    let start = model::Start { services: 8, destinations: 16, ..model::Start::default() };
    Compiler::new(&start, ["client", "server"].map(str::to_owned))
}

fn config(text: &str) -> Config {
    let config = toml::from_str(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    crate::model::validate::validate(&config).unwrap();
    config
}

/// Returns a NAT service with the servers 10.0.2.N and these weights.
fn web(scheduler: &str, servers: &[(u8, u32)]) -> Config {
    config(&servers.iter().fold(
        format!(
            "[[services]]\nprotocol = 'tcp'\naddress = '10.9.9.1'\nl4_port = 80\nscheduler = '{scheduler}'\n"
        ),
        |text, (n, weight)| {
            format!(
                "{text}[[services.destinations]]\naddress = '10.0.2.{n}'\nl4_port = 80\nmethod = 'nat'\nweight = {weight}\n"
            )
        },
    ))
}

fn seconds(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn kinds(events: &[Event]) -> Vec<EventKind> {
    events.iter().map(|event| event.kind).collect()
}

fn compile(compiler: &mut Compiler, config: &Config) -> (Services, Vec<EventKind>) {
    let (snapshot, events) = compiler.configure(config, seconds(0)).unwrap();
    (Services::clone(&snapshot.services), kinds(&events))
}

const A: DestinationId = DestinationId(0);
const B: DestinationId = DestinationId(1);

fn edited(destination: DestinationId, clears: bool) -> EventKind {
    EventKind::Edited { destination, clears }
}

#[test]
fn the_newest_destination_is_first_and_schedulers_are_notified_of_each() {
    let mut compiler = compiler();
    let (snapshot, events) = compiler.configure(&web("wrr", &[(1, 4), (2, 6)]), seconds(0)).unwrap();
    let notified: Vec<_> = events.iter().map(|event| (event.kind, event.gcd, event.max_weight)).collect();
    let expected = [(EventKind::Reset, 1, 0), (EventKind::Added(A), 4, 4), (EventKind::Added(B), 2, 6)];
    assert_eq!(notified, expected);
    assert_eq!(snapshot.services.service(ServiceId(0)).unwrap().destinations, [B, A]);
    let (_, events) = compile(&mut compiler, &web("wrr", &[(1, 4)]));
    assert_eq!(events, [EventKind::Removed(B, None)]);
    let (_, events) = compile(&mut compiler, &web("rr", &[(1, 4), (3, 1)]));
    assert_eq!(events, [EventKind::Reset, EventKind::Added(DestinationId(2))]);
}

#[test]
fn schedulers_are_notified_once_of_an_edit_even_without_a_change() {
    let mut compiler = compiler();
    compile(&mut compiler, &web("wrr", &[(1, 4), (2, 6)]));
    assert_eq!(compile(&mut compiler, &web("wrr", &[(1, 4), (2, 6)])).1, []);
    assert_eq!(compile(&mut compiler, &web("wrr", &[(1, 5), (2, 6)])).1, [edited(A, true)]);
    let same = web("wrr", &[(1, 5), (2, 6)]);
    let service = &same.services[0];
    let step = Step::Destination(service.key, service.destinations[1].clone());
    let (_, events) = compiler.apply_steps(same.clone(), &[step], seconds(0)).unwrap();
    assert_eq!(events.iter().map(|event| event.kind).collect::<Vec<_>>(), [edited(B, true)]);
    assert_eq!(compile(&mut compiler, &same).1, [], "an edit is for one generation only");
}

#[test]
fn an_edit_lifts_an_overload_when_the_limit_ends_or_grows() {
    let mut compiler = compiler();
    let mut config = web("lc", &[(1, 1)]);
    let mut limited = |upper| {
        config.services[0].destinations[0].upper_threshold = upper;
        let (services, events) = compile(&mut compiler, &config);
        assert_eq!(services.destination(A).unwrap().upper, upper);
        events
    };
    assert_eq!(limited(10), [EventKind::Reset, EventKind::Added(A)]);
    assert_eq!(limited(9), [edited(A, false)]);
    assert_eq!(limited(10), [edited(A, true)]);
    assert_eq!(limited(0), [edited(A, true)]);
}

/// Events say whether connections are counted, also when a destination is removed and added again.
#[test]
fn changes_of_thresholds_are_notified_once() {
    use Counting::{Begins, Continues, Ends, Never};
    let mut compiler = compiler();
    let config = web("lc", &[(1, 1)]);
    let mut limited = |limits: Option<(u32, u32)>| {
        let mut config = config.clone();
        match limits {
            Some((upper, lower)) => {
                let destination = &mut config.services[0].destinations[0];
                (destination.upper_threshold, destination.lower_threshold) = (upper, lower);
            }
            None => config.services[0].destinations.clear(),
        }
        let (_, events) = compiler.configure(&config, seconds(0)).unwrap();
        let about = |event: &&Event| !matches!(event.kind, EventKind::Reset);
        events.iter().filter(about).map(|event| event.counting).collect::<Vec<_>>()
    };
    type Row<'a> = (Option<(u32, u32)>, &'a [Counting]);
    let rows: [Row<'_>; 9] = [
        (Some((0, 0)), &[Never]),
        (Some((10, 0)), &[Begins]),
        (Some((9, 4)), &[Continues]),
        (Some((0, 0)), &[Ends]),
        (Some((10, 0)), &[Begins]),
        // Counting goes on while it is removed; adding it again is followed by an edit, which is another event.
        (None, &[Never]),
        (Some((0, 0)), &[Ends, Never]),
        (None, &[Never]),
        (Some((5, 0)), &[Begins, Continues]),
    ];
    for (row, (limits, expected)) in rows.into_iter().enumerate() {
        assert_eq!(limited(limits), expected, "row {row}");
    }
}

#[test]
fn the_last_weight_is_the_latest_that_was_not_0() {
    let mut compiler = compiler();
    let mut last = |servers: &[(u8, u32)]| {
        let (services, _) = compile(&mut compiler, &web("mh", servers));
        let destination = services.destination(A).unwrap();
        (destination.available, destination.weight, destination.last_weight)
    };
    assert_eq!(last(&[(1, 0)]), (true, 0, 0), "added with 0");
    assert_eq!(last(&[(1, 5)]), (true, 5, 5));
    assert_eq!(last(&[(1, 0)]), (true, 0, 5));
    assert_eq!(last(&[]), (false, 0, 5));
    assert_eq!(last(&[(1, 0)]), (true, 0, 0), "added again with 0");
}

#[test]
fn a_removed_destination_keeps_its_id_and_state_when_added_again() {
    let mut compiler = compiler();
    let mut config = web("rr", &[(1, 1), (2, 1)]);
    config.services[0].destinations[0].upper_threshold = 7;
    compile(&mut compiler, &config);
    let (services, events) = compile(&mut compiler, &web("rr", &[(2, 1)]));
    assert_eq!(events, [EventKind::Removed(A, Some(B))]);
    assert!(!services.destination(A).unwrap().available);
    assert!(
        services.nat_sources.contains_key(&(services.destination(A).unwrap().endpoint, 6)),
        "replies are still translated"
    );
    let (services, events) = compile(&mut compiler, &config);
    assert_eq!(events, [EventKind::Added(A)], "the same limit lifts nothing");
    assert_eq!(services.service(ServiceId(0)).unwrap().destinations, [A, B]);
    compile(&mut compiler, &web("rr", &[(2, 1)]));
    let (_, events) = compile(&mut compiler, &web("rr", &[(2, 1), (1, 1)]));
    assert_eq!(events, [EventKind::Added(A), edited(A, true)], "no limit lifts the overload");
}

#[test]
fn a_removed_destination_is_freed_when_it_has_no_connections() {
    let mut compiler = compiler();
    compile(&mut compiler, &web("rr", &[(1, 1)]));
    compile(&mut compiler, &Config::default());
    assert_eq!(compiler.empty_trash(seconds(119), |_| 0), []);
    assert_eq!(compiler.empty_trash(seconds(120), |_| 1), []);
    assert_eq!(compiler.empty_trash(seconds(120), |_| 0), [A]);
    assert!(compiler.snapshot().services.nat_sources.is_empty());
}

#[test]
fn scheduler_tables_are_rebuilt_only_when_destinations_change() {
    let mut compiler = compiler();
    let slots = |services: &Services| Arc::clone(&services.service(ServiceId(0)).unwrap().slots);
    let first = slots(&compile(&mut compiler, &web("mh", &[(1, 1), (2, 1)])).0);
    assert!(first.contains(&Some(A)) && first.contains(&Some(B)));
    let same = slots(&compile(&mut compiler, &web("mh", &[(1, 1), (2, 1)])).0);
    assert!(Arc::ptr_eq(&first, &same));
    let fewer = slots(&compile(&mut compiler, &web("mh", &[(2, 1)])).0);
    assert!(!fewer.contains(&Some(A)));
    assert!(slots(&compile(&mut compiler, &web("rr", &[(2, 1)])).0).is_empty());
}

#[test]
fn exceeding_a_limit_changes_nothing() {
    let mut compiler = compiler();
    compile(&mut compiler, &web("rr", &[(1, 1)]));
    let many: Vec<(u8, u32)> = (1..=17).map(|n| (n, 1)).collect();
    let refused = compiler.configure(&web("rr", &many), seconds(0)).unwrap_err();
    assert_eq!(refused, Failure::Edit(EditError::Full { limit: "destinations", allowed: 16 }));
    assert_eq!(compiler.config().services, web("rr", &[(1, 1)]).services);
}

#[test]
fn defences_follow_free_memory_and_rewrite_their_modes() {
    let mut compiler = compiler();
    let wanted = config("[settings]\ndrop_packet = 1\ndrop_entry = 2\nsecure_tcp = 3");
    let (snapshot, _) = compiler.configure(&wanted, seconds(0)).unwrap();
    let modes = |compiler: &Compiler| Modes::of(&compiler.config().settings);
    assert_eq!(modes(&compiler), Modes { drop_packet: 1, drop_entry: 1, secure_tcp: 3 });
    assert!(!snapshot.settings.drop_entry && snapshot.settings.secure_tcp);
    assert!(!compiler.set_free_memory(Pages(2000)), "still enough");
    assert!(compiler.set_free_memory(Pages(512)));
    let again = compiler.config().clone();
    let (snapshot, _) = compiler.configure(&again, seconds(1)).unwrap();
    assert_eq!(modes(&compiler), Modes { drop_packet: 2, drop_entry: 2, secure_tcp: 3 });
    assert_eq!((snapshot.settings.drop_rate, snapshot.settings.drop_entry), (2, true));
    assert!(!compiler.set_free_memory(Pages(512)));
    assert!(compiler.set_free_memory(Pages(768)), "another rate");
}
