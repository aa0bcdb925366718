//! Compiling a sequence of edits yields the same result as compiling each, and schedulers are notified of every edit.

use proptest::prelude::*;

use super::*;
use crate::api::request::{DestinationAdd, DestinationRemove, Edit, NoParams, ServiceAdd, ServiceRemove};
use crate::model::edit::{ConfigTransaction, EditError};
use crate::model::{Destination, Method, Protocol, Scheduler, Service};

fn key(n: u8) -> ServiceKey {
    ServiceKey::Address { protocol: Protocol::Tcp, address: [10, 9, 9, n].into(), l4_port: 80 }
}

fn server(n: u8, weight: u32) -> Destination {
    Destination { weight, ..Destination::new([10, 0, 2, n].into(), 80, Method::Nat) }
}

fn add(service: u8, destination: Destination) -> Edit {
    Edit::DestinationAdd(DestinationAdd { service: key(service), destination })
}

fn remove(service: u8, n: u8) -> Edit {
    let destination = server(n, 1).key();
    Edit::DestinationRemove(DestinationRemove { service: key(service), destination })
}

fn add_service(n: u8, scheduler: Scheduler) -> Edit {
    Edit::ServiceAdd(ServiceAdd { service: Service { scheduler, ..Service::new(key(n)) } })
}

fn apply_steps(compiler: &mut Compiler, edits: Vec<Edit>) -> Vec<Event> {
    let mut transaction = ConfigTransaction::new(compiler.config().clone(), compiler.running().clone());
    for edit in edits {
        let _ = transaction.apply_edit(edit);
    }
    let edited = transaction.finish();
    compiler.apply_steps(edited.config, &edited.steps, seconds(0)).unwrap().1
}

#[test]
fn a_destination_removed_and_added_in_one_change_is_notified_of_both() {
    let mut compiler = compiler();
    compile(&mut compiler, &web("wrr", &[]));
    let events = apply_steps(&mut compiler, vec![add(1, server(1, 4)), add(1, server(2, 6))]);
    assert_eq!(kinds(&events), [EventKind::Added(A), EventKind::Added(B)]);
    assert_eq!(
        events.iter().map(|event| (event.gcd, event.max_weight)).collect::<Vec<_>>(),
        [(4, 4), (2, 6)]
    );
    let events = apply_steps(&mut compiler, vec![remove(1, 1), add(1, server(1, 9)), remove(1, 2)]);
    let kinds = kinds(&events);
    // The added destination is edited too, which lifts an overload.
    let expected = [
        EventKind::Removed(A, Some(B)),
        EventKind::Added(A),
        edited(A, true),
        EventKind::Removed(B, Some(A)),
    ];
    assert_eq!(kinds, expected);
    let summaries: Vec<_> = events.iter().map(|event| (event.gcd, event.max_weight)).collect();
    assert_eq!(summaries, [(6, 6), (3, 9), (3, 9), (9, 9)]);
    let service = compiler.snapshot().services.service(ServiceId(0)).unwrap();
    assert_eq!(service.destinations, [A]);
}

#[test]
fn destinations_added_and_removed_in_one_change_count_against_the_limit() {
    let mut compiler = compiler();
    let mut transaction = ConfigTransaction::new(compiler.config().clone(), compiler.running().clone());
    transaction.apply_edit(add_service(1, Scheduler::Rr)).unwrap();
    for n in 0..20 {
        transaction
            .apply_edit(add(1, server(n, 1)))
            .and_then(|()| transaction.apply_edit(remove(1, n)))
            .unwrap();
    }
    let edited = transaction.finish();
    let refused = compiler.apply_steps(edited.config, &edited.steps, seconds(0)).unwrap_err();
    assert_eq!(refused, Failure::Edit(EditError::Full { limit: "destinations", allowed: 16 }));
    assert!(compiler.config().services.is_empty(), "nothing has changed");
}

fn any_edit() -> impl Strategy<Value = Edit> {
    let scheduler =
        prop_oneof![Just(Scheduler::Rr), Just(Scheduler::Wrr), Just(Scheduler::Sh), Just(Scheduler::Mh)];
    prop_oneof![
        2 => (1..4u8, scheduler).prop_map(|(n, scheduler)| add_service(n, scheduler)),
        1 => (1..4u8).prop_map(|n| Edit::ServiceRemove(ServiceRemove { service: key(n) })),
        6 => (1..4u8, 1..5u8, 0..4u32).prop_map(|(s, d, weight)| add(s, server(d, weight))),
        2 => (1..4u8, 1..5u8).prop_map(|(s, d)| remove(s, d)),
        1 => Just(Edit::ServiceFlush(NoParams {})),
    ]
}

proptest! {
    #[test]
    fn edits_in_one_change_or_in_many_have_the_same_result(edits in prop::collection::vec(any_edit(), 1..30)) {
        let (mut together, mut apart) = (compiler(), compiler());
        apply_steps(&mut together, edits.clone());
        for edit in edits {
            apply_steps(&mut apart, vec![edit]);
        }
        prop_assert_eq!(together.config(), apart.config());
        let (ours, theirs) = (&together.snapshot().services, &apart.snapshot().services);
        prop_assert_eq!(format!("{:?}", ours.services), format!("{:?}", theirs.services));
        prop_assert_eq!(format!("{:?}", ours.destinations), format!("{:?}", theirs.destinations));
        prop_assert_eq!(&ours.by_endpoint, &theirs.by_endpoint);
    }
}
