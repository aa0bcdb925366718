//! One service; the test takes the part of control and of connections.

use std::net::IpAddr;
use std::sync::Arc;

use super::super::*;
use crate::config::Counting;
use crate::flow::Endpoint;
use crate::service::{Method, ServiceId, ServiceKey, TargetId};

/// Fixed loads, by destination.
#[derive(Clone, Default)]
pub struct FixedLoads {
    pub by_id: Vec<Load>,
    pub overloaded: Vec<bool>,
}

impl Loads for FixedLoads {
    fn load(&self, id: DestinationId) -> Load {
        self.by_id[id.0 as usize]
    }

    fn is_overloaded(&self, id: DestinationId) -> bool {
        self.overloaded[id.0 as usize]
    }
}

/// Seed of random draws.
pub const SEED: u64 = 5;

pub struct World {
    pub service: Service,
    pub services: Services,
    pub state: SchedulerState,
    pub loads: FixedLoads,
    pub settings: Settings,
    pub now: Tick,
}

impl World {
    pub fn new(scheduler: Scheduler, fallback: bool, hash_l4_port: bool) -> World {
        let service = Service {
            key: ServiceKey::Fwmark { fwmark: 7, ipv6: false },
            scheduler,
            fallback,
            hash_l4_port,
            ops: false,
            persistence: None,
            destinations: Vec::new(),
            slots: Arc::new([]),
        };
        let (services, loads, settings) = (Services::default(), FixedLoads::default(), Settings::default());
        let mut world =
            World { service, services, state: SchedulerState::new(SEED), loads, settings, now: Tick(0) };
        world.apply(EventKind::Reset);
        world
    }

    /// Servers with these weights, numbered from 0 in the order they are added.
    pub fn with_weights(scheduler: Scheduler, weights: &[u32]) -> World {
        let mut world = World::new(scheduler, false, false);
        for (n, &weight) in weights.iter().enumerate() {
            world.add(n as u32, Endpoint { address: [10, 0, 2, 11 + n as u8].into(), l4_port: 80 }, weight);
        }
        world
    }

    /// Adds a destination. The id may be new, its own former one, or one of another destination.
    pub fn add(&mut self, id: u32, endpoint: Endpoint, weight: u32) {
        let room = (id as usize + 1).max(self.loads.by_id.len());
        self.services.destinations.resize(room, None);
        self.loads.by_id.resize(room, Load::default());
        self.loads.overloaded.resize(room, false);
        self.services.destinations[id as usize] = Some(Destination {
            endpoint,
            method: Method::Dr,
            available: true,
            weight,
            last_weight: weight,
            upper: 0,
            lower: 0,
            service: ServiceId(0),
            target: TargetId(0),
        });
        self.service.destinations.insert(0, DestinationId(id));
        self.apply(EventKind::Added(DestinationId(id)));
    }

    pub fn edit(&mut self, id: u32, weight: u32) {
        let edited = self.services.destinations[id as usize].as_mut().expect("the server exists");
        edited.weight = weight;
        if weight > 0 {
            edited.last_weight = weight;
        }
        self.apply(EventKind::Edited { destination: DestinationId(id), clears: false });
    }

    pub fn remove(&mut self, id: u32) {
        let list = &mut self.service.destinations;
        let index = list.iter().position(|d| d.0 == id).expect("the server exists");
        list.remove(index);
        let before = index.checked_sub(1).map(|index| list[index]);
        self.services.destinations[id as usize].as_mut().expect("the server exists").available = false;
        self.apply(EventKind::Removed(DestinationId(id), before));
    }

    /// Does as control does: builds a new table, then applies the event.
    pub fn apply(&mut self, kind: EventKind) {
        let list = &self.service.destinations;
        let ipv6 = self.services.destinations.iter().flatten().any(|d| d.endpoint.address.is_ipv6());
        self.service.slots = slots(self.service.scheduler, ipv6, list, |id| self.services.destination(id));
        let weights = || list.iter().filter_map(|&id| Some(self.services.destination(id)?.weight));
        let (gcd, max_weight) = (weights().fold(0, gcd).max(1), weights().max().unwrap_or(0));
        let event = Event { service: ServiceId(0), kind, gcd, max_weight, counting: Counting::Never };
        self.state.apply_event(self.service.scheduler, &event);
    }

    pub fn pick(&mut self, client: Endpoint, virtual_address: IpAddr) -> Option<u32> {
        let context = PickContext {
            service: &self.service,
            services: &self.services,
            loads: &self.loads,
            client,
            virtual_address,
            settings: &self.settings,
            now: self.now,
        };
        self.state.pick(&context).map(|id| id.0)
    }

    /// Opens a connection that is active at once.
    pub fn open(&mut self, client: Endpoint, virtual_address: IpAddr) -> Option<u32> {
        let chosen = self.pick(client, virtual_address)?;
        self.loads.by_id[chosen as usize].active += 1;
        Some(chosen)
    }

    pub fn wait(&mut self, millis: u64) {
        self.now = Tick(self.now.0 + millis);
        self.state.maintain(self.now, &self.settings);
    }
}
