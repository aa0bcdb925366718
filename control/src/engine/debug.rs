//! Debug events: what is asked about them, what configuration has to tell, and workers' records on their way out.

use std::sync::Arc;

use hashbrown::HashSet;
use pollux_dataplane::config::{Event, EventKind};
use pollux_dataplane::service::DestinationId;
use pollux_dataplane::trace_site;

use super::NamespaceEngine;
use crate::api::error::Failure;
use crate::api::request::{DebugQuery, Reply};
use crate::api::view::{DebugSet, DebugSites};
use crate::debug::{Debug, query, sites};
use crate::engine::workers::Workers;
use crate::model::input_error::InputErrors;
use crate::model::modules;
use crate::model::{Config, Service, Services, Settings};
use crate::say;

/// Records taken from a worker at once; as many as its ring holds.
const AT_ONCE: usize = 2048;

impl NamespaceEngine {
    /// Takes over what was switched on before there was a daemon to switch.
    pub fn use_debug(&mut self, debug: Debug) {
        self.debug = debug;
        self.compiler.use_switches(self.debug.switches());
    }

    /// Where events go.
    pub fn debug(&mut self) -> &mut Debug {
        &mut self.debug
    }

    pub(super) fn debug_sites(&self, wanted: &DebugQuery) -> Result<Reply, Failure> {
        let filter = query::parse_filter(&wanted.query).map_err(refused)?;
        Ok(Reply::DebugSites(DebugSites { level: self.debug.level(), sites: self.debug.list(&filter) }))
    }

    /// Answered when every worker tells what is on, and nothing else.
    pub(super) fn debug_set(&mut self, wanted: &DebugQuery) -> Result<Reply, Failure> {
        let queries = query::parse(&wanted.query).map_err(refused)?;
        let matched = self.debug.set(&queries) as u64;
        let snapshot = self.compiler.switch_debug(self.debug.switches());
        self.workers.install(&snapshot, &[])?;
        Ok(Reply::DebugSet(DebugSet { matched }))
    }

    /// Puts into words what workers told since the last look.
    pub(super) fn hear_workers(&mut self) {
        let (workers, debug) = (&self.workers, &mut self.debug);
        for (number, worker) in (0..).zip(workers.all()) {
            for record in std::iter::from_fn(|| worker.rings.events.pop()).take(AT_ONCE) {
                debug.record(number, &record);
            }
        }
        debug.report_lost(workers.all().iter().map(|worker| worker.stats.counters.events_lost.get()).sum());
    }

    /// What a new configuration has changed, in the log's words. `before` is what ran until now.
    pub(super) fn tell_changes(&mut self, before: &Config, trash: &HashSet<DestinationId>, events: &[Event]) {
        self.tell_settings(&before.settings);
        self.tell_services(before);
        for event in events {
            match event.kind {
                EventKind::Added(id) => self.tell_added(id, trash.contains(&id)),
                EventKind::Removed(id, _) => self.tell_removed(id),
                EventKind::Edited { destination, .. } => self.tell_edited(destination),
                EventKind::Reset => {}
            }
        }
    }

    fn tell_settings(&mut self, old: &Settings) {
        let new = &self.compiler.config().settings;
        for (module, on) in old
            .disabled_modules
            .difference(&new.disabled_modules)
            .map(|module| (module, true))
            .chain(new.disabled_modules.difference(&old.disabled_modules).map(|module| (module, false)))
        {
            match modules::registration(module, on) {
                Some(text) => say!(Info, "IPVS: {text}"),
                None => say!(
                    Info,
                    "IPVS: Registered protocols ({})",
                    modules::registered_protocols(&new.disabled_modules)
                ),
            }
        }
        let timeouts = |of: &Settings| [of.tcp_timeout, of.tcp_fin_timeout, of.udp_timeout];
        let (was, now) = (timeouts(old), timeouts(new));
        if was != now {
            self.debug.event(trace_site!(sites, Timeouts), || now.map(|secs| secs.to_string()));
        }
        let (was, now) = (self.told_defence, self.compiler.defence());
        if was != now {
            self.told_defence = now;
            self.debug.event(trace_site!(sites, DefenceChanged), || {
                [now.drop_entry.to_string(), now.drop_rate.to_string(), now.secure_tcp.to_string()]
            });
        }
    }

    fn tell_services(&mut self, before: &Config) {
        let (old, new) = Services::difference(&before.services, &self.compiler.config().services);
        let keys = |of: &[Arc<Service>]| of.iter().map(|service| service.key()).collect::<HashSet<_>>();
        let (there, stay) = (keys(old), keys(new));
        for service in new.iter().filter(|service| !there.contains(&service.key())) {
            self.debug.event(trace_site!(sites, ServiceAdded), || {
                [service.key().to_string(), service.scheduler.name().to_owned()]
            });
        }
        for key in old.iter().map(|service| service.key()).filter(|key| !stay.contains(key)) {
            self.debug.event(trace_site!(sites, ServiceRemoved), || [key.to_string()]);
        }
    }

    fn tell_added(&mut self, id: DestinationId, from_trash: bool) {
        let Some(&(service, destination)) = self.compiler.destination_key(id) else { return };
        let workers = &self.workers;
        if from_trash {
            self.debug.event(trace_site!(sites, FromTrash), || {
                [destination.to_string(), connections(workers, id).to_string()]
            });
        }
        self.debug
            .event(trace_site!(sites, DestinationAdded), || [destination.to_string(), service.to_string()]);
    }

    fn tell_edited(&mut self, id: DestinationId) {
        let Some(&(service, destination)) = self.compiler.destination_key(id) else { return };
        self.debug
            .event(trace_site!(sites, DestinationEdited), || [destination.to_string(), service.to_string()]);
    }

    fn tell_removed(&mut self, id: DestinationId) {
        let Some(&(_, destination)) = self.compiler.destination_key(id) else { return };
        let workers = &self.workers;
        self.debug.event(trace_site!(sites, ToTrash), || {
            [destination.to_string(), connections(workers, id).to_string()]
        });
    }
}

/// What a destination still has.
fn connections(workers: &Workers, id: DestinationId) -> u32 {
    let load = workers.load(id);
    load.active.wrapping_add(load.inactive)
}

fn refused(error: query::QueryError) -> Failure {
    let mut errors = InputErrors::default();
    errors.add("query", error.error, error.hint);
    Failure::InputErrors(errors)
}
