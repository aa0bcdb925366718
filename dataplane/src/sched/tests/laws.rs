//! Properties: after any sequence of changes a scheduler chooses as its model does.

use std::net::{IpAddr, Ipv6Addr};

use proptest::prelude::*;

use super::model::{EXPIRATION, Model, Packet, Server};
use super::world::{SEED, World};
use crate::flow::Endpoint;
use crate::sched::Load;
use crate::sched::twos::Random;
use crate::service::Scheduler;

const SERVERS: usize = 4;

/// An event.
#[derive(Clone, Debug)]
enum Step {
    /// Adds a server, or edits it if it exists.
    Put(usize, u32),
    Remove(usize),
    Overload(usize, bool),
    OverloadAll(bool),
    /// From a client to a virtual address, by number; the connection becomes active or not.
    Packet(u8, u8, bool),
    /// A connection of a server becomes active, or inactive.
    Toggle(usize, bool),
    Close(usize, bool),
    SetLoad(usize, u32, u32),
    Wait(u64),
}

#[derive(Clone, Copy, Debug)]
struct Case {
    scheduler: Scheduler,
    fallback: bool,
    port: bool,
    ipv6: bool,
}

fn weights(scheduler: Scheduler) -> BoxedStrategy<u32> {
    let small = prop_oneof![4 => 0_u32..4, 2 => (0_u32..6).prop_map(|w| w * 10), 2 => 0_u32..=300];
    // The model of wrr makes as many passes as the greatest weight; large weights have their own test.
    if scheduler == Scheduler::Wrr {
        return small.boxed();
    }
    prop_oneof![8 => small, 1 => 0x7fff_ff00_u32..=0x7fff_ffff].boxed()
}

fn steps(scheduler: Scheduler) -> impl Strategy<Value = Vec<Step>> {
    let server = 0..SERVERS;
    // Below 2^23, where the overhead becomes negative.
    let load = (server.clone(), 0_u32..1 << 22, 0_u32..1 << 22);
    let step = prop_oneof![
        3 => (server.clone(), weights(scheduler)).prop_map(|(n, w)| Step::Put(n, w)),
        1 => server.clone().prop_map(Step::Remove),
        1 => (server.clone(), any::<bool>()).prop_map(|(n, yes)| Step::Overload(n, yes)),
        1 => any::<bool>().prop_map(Step::OverloadAll),
        12 => (0_u8..20, 0_u8..4, any::<bool>()).prop_map(|(c, v, a)| Step::Packet(c, v, a)),
        2 => (server.clone(), any::<bool>()).prop_map(|(n, up)| Step::Toggle(n, up)),
        2 => (server, any::<bool>()).prop_map(|(n, active)| Step::Close(n, active)),
        1 => load.prop_map(|(n, active, inactive)| Step::SetLoad(n, active, inactive)),
        1 => prop_oneof![1_u64..100_000, Just(EXPIRATION), EXPIRATION..2 * EXPIRATION].prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 1..160)
}

/// The nth address of a kind.
fn address(ipv6: bool, kind: u8, n: u8) -> IpAddr {
    if ipv6 {
        let group = u16::from(n);
        return Ipv6Addr::new(0x2001, 0xdb8, kind.into(), group, 0, 7 * group, 0, group + 1).into();
    }
    [10, kind, n / 3, 7 * n + 1].into()
}

struct Pair {
    case: Case,
    world: World,
    model: Model,
    random: Random,
}

impl Pair {
    fn new(case: Case) -> Pair {
        let Case { scheduler, fallback, port, ipv6 } = case;
        let mut model = Model::new(scheduler, fallback, port);
        for n in 0..SERVERS as u8 {
            model.servers.push(Server {
                address: address(ipv6, 2, n),
                port: 80 + u16::from(n % 2),
                weight: 0,
                last_weight: 0,
                active: 0,
                inactive: 0,
                overload: false,
                available: false,
            });
        }
        let mut world = World::new(scheduler, fallback, port);
        world.loads.by_id.resize(SERVERS, Load::default());
        world.loads.overloaded.resize(SERVERS, false);
        world.wait(0);
        Pair { case, world, model, random: Random(SEED) }
    }

    fn put(&mut self, n: usize, weight: u32) {
        if self.model.list.contains(&n) {
            self.world.edit(n as u32, weight);
            self.model.edit(n, weight.into());
        } else {
            let Server { address, port, .. } = self.model.servers[n];
            self.world.add(n as u32, Endpoint { address, l4_port: port }, weight);
            self.model.add(n, weight.into());
        }
    }

    fn packet(&mut self, client: u8, virtual_: u8, active: bool) -> Result<(), TestCaseError> {
        let client_port = 1000 + 77 * u16::from(client % 3);
        let client = address(self.case.ipv6, 3, client);
        let virtual_address = address(self.case.ipv6, 4, virtual_);
        let packet = Packet { client, client_port, virtual_address };
        let expected = self.model.select(&packet, |max| self.random.draw(max));
        let got = self.world.pick(Endpoint { address: client, l4_port: client_port }, virtual_address);
        prop_assert_eq!(got, expected.map(|n| n as u32));
        if let Some(n) = expected {
            self.change(n, |active_count, inactive| if active { *active_count += 1 } else { *inactive += 1 });
        }
        Ok(())
    }

    /// Changes a server's load in the world and in the model.
    fn change(&mut self, n: usize, change: impl FnOnce(&mut u32, &mut u32)) {
        let load = &mut self.world.loads.by_id[n];
        change(&mut load.active, &mut load.inactive);
        self.model.servers[n].active = load.active as i32;
        self.model.servers[n].inactive = load.inactive as i32;
    }

    fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match *step {
            Step::Put(n, weight) => self.put(n, weight),
            Step::Remove(n) if self.model.list.contains(&n) => {
                self.world.remove(n as u32);
                self.model.remove(n);
            }
            Step::Remove(_) => {}
            Step::Overload(n, yes) => {
                self.world.loads.overloaded[n] = yes;
                self.model.servers[n].overload = yes;
            }
            Step::OverloadAll(yes) => {
                self.world.loads.overloaded.fill(yes);
                self.model.servers.iter_mut().for_each(|server| server.overload = yes);
            }
            Step::Packet(client, virtual_, active) => self.packet(client, virtual_, active)?,
            Step::Toggle(n, up) => self.change(n, |active, inactive| {
                let (from, to) = if up { (inactive, active) } else { (active, inactive) };
                let one = (*from).min(1);
                (*from, *to) = (*from - one, *to + one);
            }),
            Step::Close(n, of_active) => self.change(n, |active, inactive| {
                let from = if of_active { active } else { inactive };
                *from = from.saturating_sub(1);
            }),
            Step::SetLoad(n, more, others) => self.change(n, |active, inactive| {
                (*active, *inactive) = (more, others);
            }),
            Step::Wait(millis) => {
                self.world.wait(millis);
                self.model.now = self.world.now.0;
                self.model.cached.timer(self.model.now);
            }
        }
        Ok(())
    }
}

fn agree(case: Case, steps: &[Step]) -> Result<(), TestCaseError> {
    let mut pair = Pair::new(case);
    steps.iter().try_for_each(|step| pair.step(step))
}

/// One property for each scheduler.
macro_rules! laws {
    ($($name:ident: $scheduler:ident, $cases:literal;)*) => {$(
        proptest! {
            #![proptest_config(ProptestConfig::with_cases($cases))]
            #[test]
            fn $name(
                steps in steps(Scheduler::$scheduler),
                (fallback, port, ipv6) in any::<(bool, bool, bool)>(),
            ) {
                agree(Case { scheduler: Scheduler::$scheduler, fallback, port, ipv6 }, &steps)?;
            }
        }
    )*};
}

laws! {
    rr_chooses_as_its_model: Rr, 256;
    wrr_chooses_as_its_model: Wrr, 384;
    lc_chooses_as_its_model: Lc, 256;
    wlc_chooses_as_its_model: Wlc, 256;
    sed_chooses_as_its_model: Sed, 256;
    nq_chooses_as_its_model: Nq, 256;
    fo_chooses_as_its_model: Fo, 256;
    ovf_chooses_as_its_model: Ovf, 256;
    dh_chooses_as_its_model: Dh, 256;
    sh_chooses_as_its_model: Sh, 256;
    // Few cases, because the model is slow to build its table after each edit.
    mh_chooses_as_its_model: Mh, 16;
    lblc_chooses_as_its_model: Lblc, 256;
    lblcr_chooses_as_its_model: Lblcr, 384;
    twos_chooses_as_its_model: Twos, 256;
}
