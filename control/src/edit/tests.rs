//! Edits by name, and every edit against the simplest model there is: a map of maps.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::*;
use crate::model::{Protocol, Settings};

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
fn refusals_have_the_errno_of_ipvs() {
    let edit = |s, d, weight| DestinationEdit {
        service: key(s),
        destination: server(d).key(),
        method: None,
        weight: Some(weight),
    };
    refused(Errno::EExist, |c| add_service(c, empty(1)));
    refused(Errno::ESrch, |c| edit_service(c, &ServiceEdit { service: key(2), scheduler: None }));
    refused(Errno::ESrch, |c| remove_service(c, key(2)));
    refused(Errno::ESrch, |c| add_destination(c, key(2), server(1)));
    refused(Errno::ESrch, |c| edit_destination(c, &edit(2, 1, 0)));
    refused(Errno::ESrch, |c| remove_destination(c, key(2), server(1).key()));
    refused(Errno::EExist, |c| add_destination(c, key(1), server(1)));
    refused(Errno::ENoEnt, |c| edit_destination(c, &edit(1, 2, 0)));
    refused(Errno::ENoEnt, |c| remove_destination(c, key(1), server(2).key()));
    refused(Errno::ERange, |c| edit_destination(c, &edit(1, 1, 1 << 31)));
    refused(Errno::ERange, |c| add_destination(c, key(1), Destination { weight: 1 << 31, ..server(1) }));
    refused(Errno::EInval, |c| {
        add_destination(c, key(1), Destination { address: Ipv4Addr::BROADCAST.into(), ..server(1) })
    });
    refused(Errno::EInval, |c| {
        set_settings(c, &SettingsEdit { tcp_timeout: Some(5), udp_timeout: Some(0), ..Default::default() })
    });
}

#[test]
fn no_more_fit_than_start_allows() {
    let mut config = one();
    config.start.services = 1;
    config.start.destinations = 1;
    assert_eq!(add_service(&mut config, empty(2)).unwrap_err().errno(), Errno::ENoMem);
    assert_eq!(add_destination(&mut config, key(1), server(2)).unwrap_err().errno(), Errno::ENoMem);
}

#[test]
fn what_an_edit_does_not_name_stays() {
    let mut config = one();
    let edit =
        DestinationEdit { service: key(1), destination: server(1).key(), method: None, weight: Some(0) };
    edit_destination(&mut config, &edit).unwrap();
    assert_eq!(config.services[0].destinations, [Destination { weight: 0, ..server(1) }]);
    set_settings(&mut config, &SettingsEdit { tcp_timeout: Some(5), ..Default::default() }).unwrap();
    assert_eq!(config.settings, Settings { tcp_timeout: 5, ..Settings::default() });
    edit_service(&mut config, &ServiceEdit { service: key(1), scheduler: Some(Scheduler::Rr) }).unwrap();
    assert_eq!(config.services[0].scheduler, Scheduler::Rr);
    flush(&mut config);
    assert_eq!((config.services.len(), config.settings.tcp_timeout), (0, 5));
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

/// Whether the step can be done, having done it.
fn on_model(model: &mut Model, step: &Step) -> bool {
    match *step {
        Step::AddService(s) => !model.contains_key(&s) && model.insert(s, BTreeMap::new()).is_none(),
        Step::RemoveService(s) => model.remove(&s).is_some(),
        Step::Add(s, d, w) => {
            model.get_mut(&s).is_some_and(|of| !of.contains_key(&d) && of.insert(d, w).is_none())
        }
        Step::Edit(s, d, w) => model.get_mut(&s).and_then(|of| of.get_mut(&d)).map(|old| *old = w).is_some(),
        Step::Remove(s, d) => model.get_mut(&s).is_some_and(|of| of.remove(&d).is_some()),
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
            let destination = server(d).key();
            let edit = DestinationEdit { service: key(s), destination, method: None, weight: Some(w) };
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
    fn edits_do_what_a_map_of_maps_does(steps in steps()) {
        let (mut model, mut config) = (Model::new(), Config::default());
        for step in &steps {
            prop_assert_eq!(on_config(&mut config, step), on_model(&mut model, step), "{:?}", step);
            prop_assert_eq!(seen(&config), model.clone());
            prop_assert!(crate::validate::validate(&config).is_ok());
        }
    }
}
