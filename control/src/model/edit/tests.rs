//! Tests of each edit, and of random edits against a map of maps.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::*;
use crate::model::{
    DestinationKey, Method, Persistence, Protocol, Scheduler, SchedulerFlags, Service, ServiceKey, Settings,
    Tunnel,
};

fn key(n: u8) -> ServiceKey {
    ServiceKey::Address { protocol: Protocol::Tcp, address: Ipv4Addr::new(10, 9, 9, n).into(), l4_port: 80 }
}

fn server(n: u8) -> Destination {
    let address = Ipv4Addr::new(10, 0, 2, n).into();
    Destination::new(address, 80, Method::Nat)
}

fn empty(n: u8) -> Service {
    Service::new(key(n))
}

fn add_service(config: &mut Config, service: Service) -> Result<(), EditError> {
    apply_edit(config, Edit::ServiceAdd(ServiceAdd { service })).map(drop)
}

fn edit_service(config: &mut Config, edit: &ServiceEdit) -> Result<(), EditError> {
    apply_edit(config, Edit::ServiceEdit(edit.clone())).map(drop)
}

fn remove_service(config: &mut Config, service: ServiceKey) -> Result<(), EditError> {
    apply_edit(config, Edit::ServiceRemove(ServiceRemove { service })).map(drop)
}

fn flush(config: &mut Config) {
    apply_edit(config, Edit::ServiceFlush(NoParams {})).unwrap();
}

fn add_destination(
    config: &mut Config,
    service: ServiceKey,
    destination: Destination,
) -> Result<(), EditError> {
    apply_edit(config, Edit::DestinationAdd(DestinationAdd { service, destination })).map(drop)
}

fn edit_destination(config: &mut Config, edit: &DestinationEdit) -> Result<(), EditError> {
    apply_edit(config, Edit::DestinationEdit(edit.clone())).map(drop)
}

fn remove_destination(
    config: &mut Config,
    service: ServiceKey,
    destination: DestinationKey,
) -> Result<(), EditError> {
    apply_edit(config, Edit::DestinationRemove(DestinationRemove { service, destination })).map(drop)
}

/// An edit without changes.
fn same_service(service: ServiceKey) -> ServiceEdit {
    ServiceEdit { service, scheduler: None, flags: None, persistence: None, ops: None }
}

/// An edit without changes.
fn same_destination(service: ServiceKey, destination: DestinationKey) -> DestinationEdit {
    DestinationEdit {
        service,
        destination,
        method: None,
        tunnel: None,
        weight: None,
        upper_threshold: None,
        lower_threshold: None,
    }
}

fn one() -> Config {
    let mut config = Config::default();
    add_service(&mut config, empty(1)).unwrap();
    add_destination(&mut config, key(1), server(1)).unwrap();
    config
}

#[track_caller]
fn refused(expected: Errno, edit: impl FnOnce(&mut Config) -> Result<(), EditError>) {
    let mut config = one();
    assert_eq!(edit(&mut config).unwrap_err().errno(), expected);
    assert_eq!(config, one(), "a refused edit changes nothing");
}

#[test]
fn refused_edits_have_the_errno_of_ipvs() {
    let edit =
        |s, d, weight| DestinationEdit { weight: Some(weight), ..same_destination(key(s), server(d).key()) };
    refused(Errno::EExist, |c| add_service(c, empty(1)));
    refused(Errno::ESrch, |c| edit_service(c, &same_service(key(2))));
    refused(Errno::ESrch, |c| remove_service(c, key(2)));
    refused(Errno::ESrch, |c| add_destination(c, key(2), server(1)));
    refused(Errno::ESrch, |c| edit_destination(c, &edit(2, 1, 0)));
    refused(Errno::ESrch, |c| remove_destination(c, key(2), server(1).key()));
    refused(Errno::EExist, |c| add_destination(c, key(1), server(1)));
    refused(Errno::ENoEnt, |c| edit_destination(c, &edit(1, 2, 0)));
    refused(Errno::ENoEnt, |c| remove_destination(c, key(1), server(2).key()));
    refused(Errno::ERange, |c| edit_destination(c, &edit(1, 1, 1 << 31)));
    refused(Errno::ERange, |c| add_destination(c, key(1), Destination { weight: 1 << 31, ..server(1) }));
    let crossed = Destination { upper_threshold: 5, lower_threshold: 6, ..server(2) };
    refused(Errno::ERange, |c| add_destination(c, key(1), crossed));
    refused(Errno::ERange, |c| {
        let edit = DestinationEdit { lower_threshold: Some(1), ..same_destination(key(1), server(1).key()) };
        edit_destination(c, &edit)
    });
    refused(Errno::ESrch, |c| edit_service(c, &ServiceEdit::replacing(Service::new(key(2)))));
    refused(Errno::ESrch, |c| edit_destination(c, &DestinationEdit::replacing(key(2), &server(1))));
    refused(Errno::ENoEnt, |c| edit_destination(c, &DestinationEdit::replacing(key(1), &server(2))));
    refused(Errno::EInval, |c| {
        set_fwmarks(c, vec![crate::model::FwmarkRule { mask: 0, ..Default::default() }])
    });
    refused(Errno::EInval, |c| {
        add_destination(c, key(1), Destination { address: Ipv4Addr::BROADCAST.into(), ..server(1) })
    });
    refused(Errno::EInval, |c| {
        set_settings(c, &SettingsEdit { tcp_timeout: Some(5), udp_timeout: Some(0), ..Default::default() })
    });
}

#[test]
fn limits_of_start_are_enforced() {
    let mut config = one();
    config.start.services = 1;
    config.start.destinations = 1;
    assert_eq!(add_service(&mut config, empty(2)).unwrap_err().errno(), Errno::ENoMem);
    assert_eq!(add_destination(&mut config, key(1), server(2)).unwrap_err().errno(), Errno::ENoMem);
}

#[test]
fn absent_fields_keep_their_value() {
    let mut config = one();
    let edit = DestinationEdit { weight: Some(0), ..same_destination(key(1), server(1).key()) };
    edit_destination(&mut config, &edit).unwrap();
    assert_eq!(config.services[0].destinations, [Destination { weight: 0, ..server(1) }]);
    set_settings(&mut config, &SettingsEdit { tcp_timeout: Some(5), ..Default::default() }).unwrap();
    assert_eq!(config.settings, Settings { tcp_timeout: 5, ..Settings::default() });
    edit_service(&mut config, &ServiceEdit { scheduler: Some(Scheduler::Rr), ..same_service(key(1)) })
        .unwrap();
    assert_eq!(config.services[0].scheduler, Scheduler::Rr);
    flush(&mut config);
    assert_eq!((config.services.len(), config.settings.tcp_timeout), (0, 5));
}

#[test]
fn null_removes_persistence_and_absence_keeps_it() {
    let mut config = one();
    let read = |text: &str| serde_json::from_str::<ServiceEdit>(text).unwrap();
    let service_field = r#""service": {"protocol": "tcp", "address": "10.9.9.1", "l4_port": 80}"#;
    edit_service(&mut config, &read(&format!(r#"{{{service_field}, "persistence": {{"timeout": 60}}}}"#)))
        .unwrap();
    edit_service(&mut config, &read(&format!(r#"{{{service_field}, "flags": {{"fallback": true}}}}"#)))
        .unwrap();
    let service = &config.services[0];
    assert_eq!(service.persistence, Some(Persistence { timeout: 60, ..Persistence::default() }));
    assert!(service.flags.fallback);
    edit_service(&mut config, &read(&format!(r#"{{{service_field}, "persistence": null}}"#))).unwrap();
    assert_eq!(config.services[0].persistence, None);
    let again =
        serde_json::to_string(&read(&format!(r#"{{{service_field}, "persistence": null}}"#))).unwrap();
    assert!(again.contains(r#""persistence":null"#), "{again}");
}

#[test]
fn an_edit_merges_flags_and_persistence_field_by_field() {
    let mut config = one();
    let mut edit = |fields: &str| {
        let service_field = r#""service": {"protocol": "tcp", "address": "10.9.9.1", "l4_port": 80}"#;
        let edit: ServiceEdit = serde_json::from_str(&format!("{{{service_field}, {fields}}}")).unwrap();
        edit_service(&mut config, &edit).unwrap();
        let service = &config.services[0];
        let SchedulerFlags { fallback, hash_l4_port, flag_3 } = service.flags;
        let persistence = service
            .persistence
            .clone()
            .map(|persistence| (persistence.timeout, persistence.netmask.map(|mask| mask.octets()[3])));
        ([fallback, hash_l4_port, flag_3], persistence)
    };
    let rows = [
        (r#""persistence": {"netmask": "255.255.255.0"}"#, [false; 3], Some((360, Some(0)))),
        (
            r#""persistence": {"timeout": 700}, "flags": {"fallback": true}"#,
            [true, false, false],
            Some((700, Some(0))),
        ),
        (r#""flags": {"hash_l4_port": true}"#, [true, true, false], Some((700, Some(0)))),
        (
            r#""persistence": {"netmask": null}, "flags": {"fallback": null}"#,
            [false, true, false],
            Some((700, None)),
        ),
        (r#""persistence": {"timeout": null}, "flags": null"#, [false; 3], Some((360, None))),
        (r#""persistence": null"#, [false; 3], None),
    ];
    for (fields, flags, persistence) in rows {
        assert_eq!(edit(fields), (flags, persistence), "{fields}");
    }
}

#[test]
fn a_service_with_port_0_needs_persistence() {
    let key = ServiceKey::Address { protocol: Protocol::Tcp, address: [10, 9, 9, 9].into(), l4_port: 0 };
    let mut config = Config::default();
    assert_eq!(add_service(&mut config, Service::new(key)).unwrap_err().errno(), Errno::EInval);
    let sticky = Service { persistence: Some(Persistence::default()), ..Service::new(key) };
    add_service(&mut config, sticky.clone()).unwrap();
    let end = ServiceEdit { persistence: Some(None), ..same_service(key) };
    assert_eq!(edit_service(&mut config, &end).unwrap_err().errno(), Errno::EInval);
    assert_eq!(config.services, vec![sticky].into());
}

#[test]
fn a_replacement_sets_all_fields() {
    let mut config = one();
    config.services[0].persistence = Some(Persistence::default());
    config.services[0].flags = SchedulerFlags { hash_l4_port: true, ..SchedulerFlags::default() };
    let gue = Tunnel::Gue { l4_port: 6080, checksum: crate::model::Checksum::No };
    let tunnelled = Destination { method: Method::Tunnel, tunnel: gue, upper_threshold: 9, ..server(1) };
    edit_destination(&mut config, &DestinationEdit::replacing(key(1), &tunnelled)).unwrap();
    edit_service(
        &mut config,
        &ServiceEdit::replacing(Service { scheduler: Scheduler::Sh, ..Service::new(key(1)) }),
    )
    .unwrap();
    let expected =
        Service { scheduler: Scheduler::Sh, destinations: vec![tunnelled], ..Service::new(key(1)) };
    assert_eq!(config.services, vec![expected].into());
    let edit = DestinationEdit { method: Some(Method::Dr), ..same_destination(key(1), server(1).key()) };
    edit_destination(&mut config, &edit).unwrap();
    let plain = Destination { method: Method::Dr, upper_threshold: 9, ..server(1) };
    assert_eq!(config.services[0].destinations, [plain], "another method resets the tunnel type");
    edit_destination(&mut config, &DestinationEdit::replacing(key(1), &server(1))).unwrap();
    assert_eq!(config.services[0].destinations, [server(1)]);
}

#[test]
fn settings_are_changed_individually() {
    let mut config = Config::default();
    let edit: SettingsEdit = serde_json::from_str(
        r#"{"drop_entry": 3, "cache_bypass": true, "timeouts": {"tcp.SYN_RECV": 5, "sctp.INIT": 7}}"#,
    )
    .unwrap();
    set_settings(&mut config, &edit).unwrap();
    let more: SettingsEdit = serde_json::from_str(r#"{"timeouts": {"tcp.SYN_RECV": 6}}"#).unwrap();
    set_settings(&mut config, &more).unwrap();
    let s = &config.settings;
    assert_eq!((s.drop_entry, s.cache_bypass, s.amemthresh), (3, 1, 1024));
    assert_eq!((s.timeouts["tcp.SYN_RECV"], s.timeouts["sctp.INIT"]), (6, 7));
}

#[derive(Clone, Debug)]
enum Step {
    AddService(u8),
    RemoveService(u8),
    Add(u8, u8, u32),
    Edit(u8, u8, u32),
    Remove(u8, u8),
    Flush,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (s, d, w) = (0..3_u8, 1..4_u8, 0..5_u32);
    prop::collection::vec(
        prop_oneof![
            3 => s.clone().prop_map(Step::AddService),
            1 => s.clone().prop_map(Step::RemoveService),
            5 => (s.clone(), d.clone(), w.clone()).prop_map(|(s, d, w)| Step::Add(s, d, w)),
            2 => (s.clone(), d.clone(), w).prop_map(|(s, d, w)| Step::Edit(s, d, w)),
            2 => (s, d).prop_map(|(s, d)| Step::Remove(s, d)),
            1 => Just(Step::Flush),
        ],
        0..60,
    )
}

type Model = BTreeMap<u8, BTreeMap<u8, u32>>;

/// Applies the step and returns true if it is possible.
fn on_model(model: &mut Model, step: &Step) -> bool {
    match *step {
        Step::AddService(s) => !model.contains_key(&s) && model.insert(s, BTreeMap::new()).is_none(),
        Step::RemoveService(s) => model.remove(&s).is_some(),
        Step::Add(s, d, w) => model.get_mut(&s).is_some_and(|destinations| {
            !destinations.contains_key(&d) && destinations.insert(d, w).is_none()
        }),
        Step::Edit(s, d, w) => {
            model.get_mut(&s).and_then(|destinations| destinations.get_mut(&d)).map(|old| *old = w).is_some()
        }
        Step::Remove(s, d) => model.get_mut(&s).is_some_and(|destinations| destinations.remove(&d).is_some()),
        Step::Flush => {
            model.clear();
            true
        }
    }
}

fn on_config(config: &mut Config, step: &Step) -> bool {
    match *step {
        Step::AddService(s) => add_service(config, empty(s)).is_ok(),
        Step::RemoveService(s) => remove_service(config, key(s)).is_ok(),
        Step::Add(s, d, weight) => {
            add_destination(config, key(s), Destination { weight, ..server(d) }).is_ok()
        }
        Step::Edit(s, d, w) => {
            let edit = DestinationEdit { weight: Some(w), ..same_destination(key(s), server(d).key()) };
            edit_destination(config, &edit).is_ok()
        }
        Step::Remove(s, d) => remove_destination(config, key(s), server(d).key()).is_ok(),
        Step::Flush => {
            flush(config);
            true
        }
    }
}

fn seen(config: &Config) -> Model {
    let last = |address| match address {
        std::net::IpAddr::V4(v4) => v4.octets()[3],
        std::net::IpAddr::V6(_) => unreachable!("only IPv4 is added"),
    };
    let weights = |s: &Service| s.destinations.iter().map(|d| (last(d.address), d.weight)).collect();
    let number = |s: &Service| (0..3).find(|n| key(*n) == s.key).unwrap();
    config.services.iter().map(|s| (number(s), weights(s))).collect()
}

proptest! {
    #[test]
    fn edits_match_a_map_of_maps(steps in steps()) {
        let (mut model, mut config) = (Model::new(), Config::default());
        for step in &steps {
            prop_assert_eq!(on_config(&mut config, step), on_model(&mut model, step), "{:?}", step);
            prop_assert_eq!(seen(&config), model.clone());
            prop_assert!(crate::model::validate::validate(&config).is_ok());
        }
    }
}
