//! Starts the DPDK ports, and reports their status and counters.

use std::collections::BTreeMap;
use std::sync::Arc;

use pollux_dataplane::dpdk::{
    Eal, Pool, PoolSetup, Port as Device, PortSetup, Queue, RX_DESCRIPTORS, StartedPort, TX_DESCRIPTORS,
    frame_room,
};
use pollux_dataplane::flow::Seed;
use pollux_dataplane::io::BURST;
use pollux_dataplane::steer::{Facing, RssKeys};
use pollux_dataplane::worker::Port;

use super::error::RunError;
use super::twin_changes::FollowingPort;
use crate::api::view::PortView;
use crate::engine::{Ports, TwinState};
use crate::kernel::netlink::Twin;
use crate::log;
use crate::model::network::Mac;
use crate::model::{self, Config};

/// Packet buffers cached by each thread.
const CACHE: u32 = 256;
/// Packet buffers outside of port queues: in hand-off and kernel rings, and waiting for neighbours.
const IN_FLIGHT: u32 = 8192;

/// All ports, after their start.
pub struct OpenPorts {
    started: Vec<FollowingPort>,
    /// Queues not yet assigned to a worker, by port.
    queues: Vec<Vec<Queue>>,
    twins: Vec<String>,
}

impl OpenPorts {
    /// Starts every port of DPDK with a queue pair per worker, and optionally with receive interrupts. `mtus` are those of
    /// kernel interfaces, by the port's name, for ports that are not configured.
    pub fn start(
        eal: &Eal,
        config: &Config,
        workers: usize,
        interrupts: bool,
        rss_keys: Option<&RssKeys>,
        mtus: &BTreeMap<String, u16>,
    ) -> Result<(OpenPorts, Pool), RunError> {
        let devices = Device::all(eal)?;
        check_names(&devices, config)?;
        check_mtus(&devices, config, mtus)?;
        let setup = |pool| PortSetup { queues: workers as u16, interrupts, ..PortSetup::new(pool) };
        let per_queue = u32::from(RX_DESCRIPTORS) + u32::from(TX_DESCRIPTORS) + BURST as u32;
        let wanted =
            devices.len() as u32 * workers as u32 * per_queue + workers as u32 * CACHE * 2 + IN_FLIGHT;
        let packets = match config.start.packet_buffers {
            // rte_mempool wastes least memory at 2^n - 1 objects.
            0 => wanted.next_power_of_two() - 1,
            given => given,
        };
        let wanted = |device: &Device| wanted_mtu(config, mtus, device).unwrap_or(device.mtu);
        let largest_mtu = devices.iter().map(wanted).max().unwrap_or(1500);
        let pool = Pool::create(
            eal,
            &PoolSetup {
                name: "pollux".to_owned(),
                packets,
                cache: CACHE,
                frame_room: frame_room(largest_mtu),
            },
        )?;
        let mut open = OpenPorts { started: Vec::new(), queues: Vec::new(), twins: Vec::new() };
        for device in devices {
            let given = configured(config, &device.name);
            let mut setup = setup(pool.clone());
            setup.mtu = wanted_mtu(config, mtus, &device);
            setup.promiscuous = given.is_some_and(|port| port.promiscuous);
            let facing = given.and_then(|port| port.facing).map(facing);
            setup.rss_key = rss_keys.zip(facing).map(|(rss_keys, facing)| *rss_keys.key(facing));
            let name = device.name.clone();
            let (started, queues) = device.start(&setup)?;
            let (rss, queues_count) = (started.rss, queues.len());
            let distribution = if queues_count == 1 {
                "one queue"
            } else if started.steers {
                "RSS delivers packets to the worker that owns their flow"
            } else if rss {
                "RSS distributes packets; they are handed off to the worker that owns their flow"
            } else {
                "no RSS: packets are handed off to the worker that owns their flow"
            };
            log!(Info, "port {name}: driver {}, {distribution}", started.port.driver);
            if interrupts && !started.interrupts {
                log!(Warn, "port {name}: no receive interrupts; its packets wait until a sleep ends");
            }
            open.started.push(FollowingPort::new(started));
            open.queues.push(queues);
        }
        Ok((open, pool))
    }

    /// Returns the queue of every port for the next worker.
    pub fn queues_of_worker(&mut self) -> Vec<Port<Queue>> {
        let next = |(number, queues): (u16, &mut Vec<Queue>)| {
            (!queues.is_empty()).then(|| Port::new(number, queues.remove(0)))
        };
        (0..).zip(&mut self.queues).filter_map(next).collect()
    }

    /// Returns the names of the ports, by number.
    pub fn names(&self) -> Vec<String> {
        self.started.iter().map(|port| port.started.port.name.clone()).collect()
    }

    /// Assigns names to the ports' twins.
    pub fn name_twins(&mut self, config: &Config, prefix: &str) -> Vec<Twin> {
        let named = |(number, name): (usize, String)| {
            let given = configured(config, &name);
            let ifname =
                given.and_then(|port| port.twin.clone()).unwrap_or_else(|| format!("{prefix}{number}"));
            Twin { ifname, port: name, vlan: None }
        };
        let twins: Vec<Twin> = self.names().into_iter().enumerate().map(named).collect();
        self.twins = twins.iter().map(|twin| twin.ifname.clone()).collect();
        twins
    }

    /// Removes the names of twins, for a daemon without twins.
    pub fn clear_twins(&mut self) {
        self.twins.clear();
    }

    /// Returns the MAC address of a port.
    pub fn mac(&self, name: &str) -> Mac {
        Mac(self.find(name).map_or([0; 6], |started| started.port.mac))
    }

    /// Returns the MTU of a port.
    pub fn mtu(&self, name: &str) -> u16 {
        self.find(name).map_or(1500, |started| started.port.mtu)
    }

    fn find(&self, name: &str) -> Option<&StartedPort> {
        let mut all = self.started.iter().map(|port| &port.started);
        all.find(|started| started.port.name == name)
    }
}

fn facing(facing: model::Facing) -> Facing {
    match facing {
        model::Facing::Clients => Facing::Clients,
        model::Facing::Servers => Facing::Servers,
    }
}

/// Returns the RSS rule for the devices, if a port has a role (`facing`).
pub fn rss_keys(config: &Config) -> Option<Arc<RssKeys>> {
    let facing = config.ports.iter().any(|port| port.facing.is_some());
    facing.then(|| Arc::new(RssKeys::new(Seed::random())))
}

fn wanted_mtu(config: &Config, mtus: &BTreeMap<String, u16>, device: &Device) -> Option<u16> {
    let given = configured(config, &device.name).map(|port| port.mtu as u16);
    given.or_else(|| mtus.get(&device.name).copied())
}

/// Checks that ports support the MTUs of their interfaces: longer frames would be lost without a message.
fn check_mtus(devices: &[Device], config: &Config, mtus: &BTreeMap<String, u16>) -> Result<(), RunError> {
    for device in devices.iter().filter(|device| configured(config, &device.name).is_none()) {
        let max = *device.mtu_range.end();
        if let Some(&mtu) = mtus.get(&device.name).filter(|mtu| **mtu > max) {
            let (name, driver) = (&device.name, device.driver.clone());
            let interface = name.strip_prefix(&format!("{driver}_")).unwrap_or(name).to_owned();
            return Err(RunError::InterfaceMtu { interface, driver, mtu, max });
        }
    }
    Ok(())
}

/// Returns the configuration of a port.
fn configured<'a>(config: &'a Config, name: &str) -> Option<&'a model::Port> {
    config.ports.iter().find(|port| port.name == name)
}

fn check_names(devices: &[Device], config: &Config) -> Result<(), RunError> {
    if devices.is_empty() {
        return Err(RunError::NoPorts);
    }
    let unknown = config.ports.iter().find(|port| devices.iter().all(|device| device.name != port.name));
    match unknown {
        None => Ok(()),
        Some(port) => {
            let known: Vec<_> = devices.iter().map(|device| device.name.as_str()).collect();
            Err(RunError::UnknownPort { name: port.name.clone(), known: known.join(", ") })
        }
    }
}

impl Ports for OpenPorts {
    fn views(&self) -> Vec<PortView> {
        let twin = |number: usize| self.twins.get(number).cloned();
        let numbered = self.started.iter().enumerate();
        numbered.map(|(number, port)| view(&port.started, twin(number))).collect()
    }

    fn names(&self) -> Vec<String> {
        OpenPorts::names(self)
    }

    fn links_up(&self) -> Vec<bool> {
        self.started.iter().map(|port| port.started.link().map_or(true, |link| link.up)).collect()
    }

    fn follow(&mut self, port: usize, twin: &TwinState) {
        self.started[port].follow(twin);
    }
}

fn view(started: &StartedPort, twin: Option<String>) -> PortView {
    let link = started.link().ok();
    let counters = started.stats().map(|stats| {
        [
            ("received", stats.ipackets),
            ("sent", stats.opackets),
            ("received_bytes", stats.ibytes),
            ("sent_bytes", stats.obytes),
            ("missed", stats.imissed),
            ("receive_errors", stats.ierrors),
            ("send_errors", stats.oerrors),
            ("no_buffer", stats.rx_nombuf),
            ("linearized", stats.linearized),
            ("too_long", stats.too_long),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    });
    PortView {
        name: started.port.name.clone(),
        driver: started.port.driver.clone(),
        mac: Mac(started.port.mac),
        link_up: link.is_some_and(|link| link.up),
        speed: link.and_then(|link| link.speed_mbps).unwrap_or(0),
        twin,
        counters: counters.unwrap_or_default(),
    }
}
