//! Bare-metal stories: polluxd in a virtual machine, on emulated network cards that are bound to vfio-pci behind an IOMMU,
//! with real clients and servers in namespaces. All stories share one guest. `scripts/baremetal` prepares and runs them;
//! without it they are counted as ignored.

mod baremetal {
    pub mod life;
    pub mod link;
    pub mod neighbours;
    pub mod traffic;
}

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use baremetal::{life, link, neighbours, traffic};
use libtest_mimic::{Arguments, Conclusion, Trial};
use pollux_tests::bed::command::{Error, Result};
use pollux_tests::bed::guest::Model;
use pollux_tests::bed::metal::Metal;
use pollux_tests::bed::rules::HTTP;

type Story = (&'static str, fn(&mut Metal) -> Result<()>);

/// In this order, so that polluxd starts only three times: two stories end with a kill, jumbo frames need another MTU.
const STORIES: [Story; 22] = [
    ("the cards are bound to vfio-pci and polluxd drives them", link::bound),
    ("check-host approves of the machine", link::approved),
    ("ARP and ping", neighbours::arp),
    ("IPv6 neighbour discovery and ping, without promiscuous mode", neighbours::discovery),
    ("VRRP advertisements to 224.0.0.18 reach the twin", neighbours::vrrp),
    ("OSPF hellos to 224.0.0.5 reach the twin", neighbours::ospf),
    ("NAT over IPv4, 200 kB each way", |metal| traffic::bodies(metal, &HTTP[0])),
    ("DR over IPv4, 200 kB each way", |metal| traffic::bodies(metal, &HTTP[1])),
    ("a tunnel over IPv4, 200 kB each way", |metal| traffic::bodies(metal, &HTTP[2])),
    ("NAT over IPv6, 200 kB each way", |metal| traffic::bodies(metal, &HTTP[3])),
    ("DR over IPv6, 200 kB each way", |metal| traffic::bodies(metal, &HTTP[4])),
    ("a tunnel over IPv6, 200 kB each way", |metal| traffic::bodies(metal, &HTTP[5])),
    ("a VLAN with frames of full size", traffic::vlan),
    ("two workers hand off nothing", traffic::no_hand_off),
    ("traffic passes again after the link was off", link::resumes),
    ("the twin has a carrier while the link is on", link::carrier),
    ("polluxd forwards again after kill -9", life::killed),
    ("MTU 9000: a ping of full size over IPv4", |metal| traffic::jumbo_ping(metal, "10.9.9.1")),
    ("MTU 9000: a ping of full size over IPv6", |metal| traffic::jumbo_ping(metal, "fd00:9::1")),
    ("MTU 9000: datagrams of full size through NAT", traffic::jumbo_datagrams),
    ("MTU 9000: NAT over IPv4, 200 kB each way", |metal| traffic::jumbo_bodies(metal, &HTTP[0])),
    ("MTU 9000: NAT over IPv6, 200 kB each way", |metal| traffic::jumbo_bodies(metal, &HTTP[3])),
];

/// Returns the model of the network cards, and the packages of the guest.
fn prepared() -> Result<(Model, PathBuf)> {
    let packages = std::env::var_os("POLLUX_BAREMETAL")
        .ok_or_else(|| Error("scripts/baremetal prepares and runs these stories".to_owned()))?;
    let name = std::env::var("POLLUX_BAREMETAL_MODEL").unwrap_or_default();
    let model = Model::ALL.into_iter().find(|model| model.name() == name);
    Ok((model.ok_or_else(|| Error(format!("there is no model {name}")))?, packages.into()))
}

/// Returns why a story cannot run on a model.
fn obstacle(story: &str, model: Model) -> Option<&'static str> {
    if story.contains("two workers") { model.cannot_steer() } else { None }
}

fn main() {
    let mut arguments = Arguments::from_args();
    // They share the guest.
    arguments.test_threads = Some(1);
    match prepared() {
        Ok((model, packages)) => run(&arguments, model, packages).exit(),
        Err(why) => {
            println!("bare-metal stories are skipped: {why}");
            let trials = STORIES.map(|(name, _)| Trial::test(name, || Ok(())).with_ignored_flag(true));
            libtest_mimic::run(&arguments, trials.into()).exit()
        }
    }
}

/// The guest is booted by the first story that runs, and removed when this returns.
fn run(arguments: &Arguments, model: Model, packages: PathBuf) -> Conclusion {
    let metal = Arc::new(Mutex::new(None));
    let trials = STORIES.map(|(name, story)| {
        let why = obstacle(name, model);
        if let Some(why) = why {
            println!("skipped: {name}: {why}");
        }
        let (metal, packages) = (Arc::clone(&metal), packages.clone());
        let test = move || {
            let mut metal = metal.lock().unwrap_or_else(PoisonError::into_inner);
            let metal = metal.get_or_insert_with(|| boot(model, &packages));
            let metal = metal.as_mut().map_err(|error| std::mem::replace(error, again()))?;
            story(metal).map_err(|error| format!("{error}\n{}", metal.logs()).into())
        };
        Trial::test(name, test).with_ignored_flag(why.is_some())
    });
    libtest_mimic::run(arguments, trials.into())
}

fn boot(model: Model, packages: &std::path::Path) -> Result<Metal> {
    let start = Instant::now();
    let metal = Metal::boot(model, packages)?;
    println!("[the guest is up after {:.0} s]", start.elapsed().as_secs_f32());
    Ok(metal)
}

fn again() -> Error {
    Error("the guest could not be booted, see the first failure".to_owned())
}
