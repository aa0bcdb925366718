//! Extra records and fourth ends against a model, and the flags that go with them.

use super::*;
use crate::conn::template::Handle;
use crate::flow::Key;

/// The fourth end that a test gives to the connection of this client.
fn local(client: u8, ipv6: bool, port: u16) -> Endpoint {
    Endpoint { address: endpoints(client, ipv6).virtual_.address, l4_port: port }
}

/// A connection in the model.
#[derive(Clone, Copy, Debug)]
struct Known {
    id: ConnId,
    template: Option<Handle>,
    extra: Option<Extra>,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Insert { is_child: bool },
    SetExtra { port: u16 },
    Remove,
}

fn step() -> impl Strategy<Value = (u8, bool, Step)> {
    let step = prop_oneof![
        any::<bool>().prop_map(|is_child| Step::Insert { is_child }),
        (0u16..3).prop_map(|port| Step::SetExtra { port }),
        Just(Step::Remove),
    ];
    (0u8..12, any::<bool>(), step)
}

/// Replies of the connection: from its destination to the fourth end, or to the client.
fn reply(client: u8, ipv6: bool, extra: Option<Extra>) -> Key {
    let ends = endpoints(client, ipv6);
    Key::between(ends.destination, extra.and_then(|extra| extra.local()).unwrap_or(ends.client), 6).unwrap()
}

proptest! {
    #[test]
    fn extra_records_behave_as_a_map(steps in proptest::collection::vec(step(), 1..200)) {
        let mut table = table();
        let mut model: HashMap<(u8, bool), Known> = HashMap::new();
        let mut refused = 0;
        for (client, ipv6, step) in steps {
            let held = model.values().filter(|known| known.extra.is_some()).count();
            match (step, model.get_mut(&(client, ipv6))) {
                (Step::Insert { is_child }, None) => {
                    let template = is_child.then_some(Handle(1000 + u32::from(client)));
                    let new = NewConnection { template, ..new(client, ipv6, true) };
                    if let Some(id) = table.insert(&new, Tick(0)) {
                        model.insert((client, ipv6), Known { id, template, extra: None });
                    }
                }
                (Step::SetExtra { port }, Some(known)) => {
                    // Port 0 stands for a record without a fourth end.
                    let extra = match port {
                        0 => Extra::default(),
                        port => Extra::with_local(local(client, ipv6, port + u16::from(client) * 4)),
                    };
                    let fits = known.extra.is_some() || held < SIZES.extra as usize;
                    prop_assert_eq!(table.set_extra(known.id, extra), fits);
                    refused += u64::from(!fits);
                    known.extra = if fits { Some(extra) } else { known.extra };
                }
                (Step::Remove, Some(known)) => {
                    table.remove(known.id);
                    model.remove(&(client, ipv6));
                }
                (Step::Insert { .. }, Some(_)) | (Step::SetExtra { .. } | Step::Remove, None) => {}
            }
            for (&(client, ipv6), known) in &model {
                prop_assert_eq!(table.template(known.id), known.template);
                prop_assert_eq!(table.extra(known.id), known.extra.as_ref());
                let key = reply(client, ipv6, known.extra);
                prop_assert_eq!(table.find(table.hash(&key), &key), Some((known.id, Direction::Out)));
                let by_client = reply(client, ipv6, None);
                let found = table.find(table.hash(&by_client), &by_client);
                prop_assert_eq!(found.is_some(), by_client == key, "only the current key names the connection");
            }
            let held = model.values().filter(|known| known.extra.is_some()).count();
            prop_assert_eq!((table.used().extra as usize, table.extras_refused()), (held, refused));
        }
        // Nothing is left in the index when all connections are gone.
        for ((client, ipv6), known) in model {
            table.remove(known.id);
            let key = reply(client, ipv6, known.extra);
            prop_assert_eq!(table.find(table.hash(&key), &key), None);
        }
        prop_assert_eq!(table.used(), Sizes::default());
    }
}

#[test]
fn a_fourth_end_is_stored_as_given() {
    for end in [local(1, false, 1025), local(1, true, 65535)] {
        assert_eq!(Extra::with_local(end).local(), Some(end));
    }
    assert_eq!(Extra::default().local(), None);
}

/// The fast path compares replies with the client's end and rewrites one end, so it must refuse these connections.
#[test]
fn a_connection_with_a_fourth_end_takes_the_slow_path() {
    for ipv6 in [false, true] {
        let mut table = table();
        let id = table.insert(&new(1, ipv6, true), Tick(0)).unwrap();
        assert!(!table.entry(id).flags.needs_slow_path());
        assert!(table.set_extra(id, Extra::with_local(local(1, ipv6, 1025))));
        assert!(table.entry(id).flags.needs_slow_path());
        let slot = crate::conn::index::Slot::new(id, Direction::Out);
        for extra in [None, table.extra(id).copied()] {
            let confirmed = match reply(1, ipv6, extra) {
                Key::V4(key) => table.confirm(crate::cpu::Generic, slot, &key),
                Key::V6(key) => table.confirm6(crate::cpu::Generic, slot, &key),
            };
            assert_eq!(confirmed, None);
        }
    }
}

#[test]
fn a_child_needs_the_slow_path_until_it_is_confirmed() {
    let mut table = table();
    let id =
        table.insert(&NewConnection { template: Some(Handle(7)), ..new(1, false, true) }, Tick(0)).unwrap();
    assert!(table.entry(id).flags.needs_slow_path());
    table.entry_mut(id).flags.set(Flags::UNCONFIRMED, false);
    assert!(!table.entry(id).flags.needs_slow_path());
    assert_eq!(table.template(id), Some(Handle(7)));
}

#[test]
fn the_id_gives_the_kind() {
    let last4 = ConnId(SIZES.ipv4 - 1);
    assert_eq!((SIZES.kind(ConnId(0)), SIZES.kind(last4)), (Kind::Ipv4, Kind::Ipv4));
    assert_eq!(
        (SIZES.kind(ConnId(SIZES.ipv4)), SIZES.kind(ConnId(SIZES.ipv4 + 3))),
        (Kind::Ipv6(0), Kind::Ipv6(3))
    );
    for ipv6 in [false, true] {
        let key = endpoints(1, ipv6).key_in(6).unwrap();
        let is_ipv6 = |id| SIZES.kind(ConnId(id)) != Kind::Ipv4;
        assert!(SIZES.ids(&key).all(|id| is_ipv6(id) == ipv6));
    }
}
