//! Debug events of a namespace: requests about them, events of configuration changes, and the workers' records.

use std::sync::Arc;

use hashbrown::HashSet;
use pollux_dataplane::config::{Event, EventKind};
use pollux_dataplane::service::DestinationId;
use pollux_dataplane::trace_site;

use super::NamespaceEngine;
use crate::api::error::Failure;
use crate::api::request::{DebugQuery, Reply};
use crate::api::view::{DebugSet, DebugSites};
use crate::debug::{DebugLog, query, sites};
use crate::engine::workers::Workers;
use crate::log;
use crate::model::input_error::InputErrors;
use crate::model::modules;
use crate::model::{Config, Service, Services, Settings};

/// Maximum number of records taken from a worker at once: the size of its ring.
const AT_ONCE: usize = 2048;

impl NamespaceEngine {
    /// Takes over the debug sites that were enabled before the namespace existed.
    pub fn use_debug(&mut self, debug: DebugLog) {
        self.debug = debug;
        self.compiler.use_switches(self.debug.switches());
    }

    /// Returns the debug events.
    pub fn debug(&mut self) -> &mut DebugLog {
        &mut self.debug
    }

    pub(super) fn debug_sites(&self, wanted: &DebugQuery) -> Result<Reply, Failure> {
        let filter = query::parse_filter(&wanted.query).map_err(refused)?;
        Ok(Reply::DebugSites(DebugSites { level: self.debug.level(), sites: self.debug.list(&filter) }))
    }

    /// Switches sites; replies when every worker has adopted the change.
    pub(super) fn debug_set(&mut self, wanted: &DebugQuery) -> Result<Reply, Failure> {
        let queries = query::parse(&wanted.query).map_err(refused)?;
        let matched = self.debug.set(&queries) as u64;
        let snapshot = self.compiler.switch_debug(self.debug.switches());
        self.workers.install(&snapshot, &[])?;
        Ok(Reply::DebugSet(DebugSet { matched }))
    }

    /// Logs the events that workers recorded since the last call.
    pub(super) fn log_worker_events(&mut self) {
        let (workers, debug) = (&self.workers, &mut self.debug);
        for (number, worker) in (0..).zip(workers.all()) {
            for record in std::iter::from_fn(|| worker.rings.events.pop()).take(AT_ONCE) {
                debug.record(number, &record);
            }
        }
        debug.report_lost(workers.all().iter().map(|worker| worker.stats.counters.events_lost.get()).sum());
    }

    /// Logs the changes of a new configuration as debug events. `before` is the previous configuration.
    pub(super) fn trace_changes(
        &mut self,
        before: &Config,
        trash: &HashSet<DestinationId>,
        events: &[Event],
    ) {
        self.trace_settings(&before.settings);
        self.trace_services(before);
        for event in events {
            match event.kind {
                EventKind::Added(id) => self.trace_added(id, trash.contains(&id)),
                EventKind::Removed(id, _) => self.trace_removed(id),
                EventKind::Edited { destination, .. } => self.trace_edited(destination),
                EventKind::Reset => {}
            }
        }
    }

    fn trace_settings(&mut self, old: &Settings) {
        let new = &self.compiler.config().settings;
        for (module, on) in old
            .disabled_modules
            .difference(&new.disabled_modules)
            .map(|module| (module, true))
            .chain(new.disabled_modules.difference(&old.disabled_modules).map(|module| (module, false)))
        {
            match modules::registration(module, on) {
                Some(text) => log!(Info, "IPVS: {text}"),
                None => log!(
                    Info,
                    "IPVS: Registered protocols ({})",
                    modules::registered_protocols(&new.disabled_modules)
                ),
            }
        }
        let timeouts =
            |settings: &Settings| [settings.tcp_timeout, settings.tcp_fin_timeout, settings.udp_timeout];
        let (was, now) = (timeouts(old), timeouts(new));
        if was != now {
            self.debug.event(trace_site!(sites, Timeouts), || now.map(|secs| secs.to_string()));
        }
        let (was, now) = (self.traced_defence, self.compiler.defence());
        if was != now {
            self.traced_defence = now;
            self.debug.event(trace_site!(sites, DefenceChanged), || {
                [now.drop_entry.to_string(), now.drop_rate.to_string(), now.secure_tcp.to_string()]
            });
        }
    }

    fn trace_services(&mut self, before: &Config) {
        let (old, new) = Services::difference(&before.services, &self.compiler.config().services);
        let keys =
            |services: &[Arc<Service>]| services.iter().map(|service| service.key).collect::<HashSet<_>>();
        let (before, after) = (keys(old), keys(new));
        for service in new.iter().filter(|service| !before.contains(&service.key)) {
            self.debug.event(trace_site!(sites, ServiceAdded), || {
                [service.key.to_string(), service.scheduler.name().to_owned()]
            });
        }
        for key in old.iter().map(|service| service.key).filter(|key| !after.contains(key)) {
            self.debug.event(trace_site!(sites, ServiceRemoved), || [key.to_string()]);
        }
    }

    fn trace_added(&mut self, id: DestinationId, from_trash: bool) {
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

    fn trace_edited(&mut self, id: DestinationId) {
        let Some(&(service, destination)) = self.compiler.destination_key(id) else { return };
        self.debug
            .event(trace_site!(sites, DestinationEdited), || [destination.to_string(), service.to_string()]);
    }

    fn trace_removed(&mut self, id: DestinationId) {
        let Some(&(_, destination)) = self.compiler.destination_key(id) else { return };
        let workers = &self.workers;
        self.debug.event(trace_site!(sites, ToTrash), || {
            [destination.to_string(), connections(workers, id).to_string()]
        });
    }
}

/// Returns the number of connections of a destination.
fn connections(workers: &Workers, id: DestinationId) -> u32 {
    let load = workers.load(id);
    load.active.wrapping_add(load.inactive)
}

fn refused(error: query::QueryError) -> Failure {
    InputErrors::one("query", error.error, error.hint).into()
}
