//! A namespace other than the default one, as seen by the engine.

use crossbeam::channel::Receiver;
use pollux_dataplane::worker::binding::NamespaceId;

use super::NamespaceEngine;
use super::link_filter::LinkFilter;
use crate::api::error::Failure;
use crate::api::view::NamespaceView;
use crate::kernel::namespace::KernelMirror;
use crate::log;
use crate::model::input_error::InputErrors;
use crate::model::network::NetworkState;
use crate::model::{Binding, Namespace};

/// A namespace other than the default one.
pub(super) struct NamedNamespace {
    pub(super) id: NamespaceId,
    pub(super) name: String,
    pub(super) bindings: Vec<Binding>,
    pub(super) netns: Option<String>,
    pub(super) engine: NamespaceEngine,
    /// Network states reported by the kernel, if the namespace has twins.
    pub(super) network_updates: Option<Receiver<NetworkState>>,
}

impl NamedNamespace {
    /// Follows a new mirror, if there is one.
    pub(super) fn set_mirror(&mut self, mirror: Option<KernelMirror>) {
        if let Some((mirror, network_updates)) = mirror {
            self.engine.mirror = Some(mirror);
            self.engine.carriers.clear();
            self.network_updates = Some(network_updates);
            self.update_network();
        }
    }

    /// Installs the latest network state reported by the kernel, if any.
    pub(super) fn update_network(&mut self) {
        let updates = self.network_updates.as_ref();
        let Some(network_state) = updates.and_then(|updates| updates.try_recv().ok()) else { return };
        if let Err(why) = self.engine.set_network(network_state) {
            log!(Warn, "namespace {}: the kernel's network state was not installed: {why}", self.name);
        }
    }

    /// Checks that the namespace can be changed to `new` without being removed and added again.
    pub(super) fn check_change(&self, new: &Namespace) -> Result<(), Failure> {
        let mut errors = InputErrors::default();
        let mut fixed = |location: &str, old: &str, new: &str| {
            if old != new {
                let error = format!("{new} differs from {old}, which cannot be changed");
                errors.add(location, error, "remove the namespace and add it again");
            }
        };
        let old = self.namespace();
        fixed("netns", old.netns(), new.netns());
        fixed("start.kernel", &old.start.kernel.to_string(), &new.start.kernel.to_string());
        Ok(errors.into_result()?)
    }

    /// Returns the namespace as in the configuration.
    pub(super) fn namespace(&self) -> Namespace {
        let (name, bindings, netns) = (self.name.clone(), self.bindings.clone(), self.netns.clone());
        Namespace { name, bindings, netns, ..Namespace::default() }.with_content(self.engine.config())
    }

    /// Returns the filter for links of this namespace; `all` are the bindings of all namespaces.
    pub(super) fn link_filter(&self, all: &[Namespace]) -> LinkFilter {
        LinkFilter::new(Some(&self.name), all)
    }

    /// Returns its entry in `namespace.list`.
    pub(super) fn view(&self) -> NamespaceView {
        NamespaceView {
            bindings: self.bindings.clone(),
            netns: self.network_updates.as_ref().map(|_| self.namespace().netns().to_owned()),
            ..view(&self.name, &self.engine)
        }
    }
}

/// Returns the entry of a namespace in `namespace.list`, without bindings.
pub(super) fn view(name: &str, engine: &NamespaceEngine) -> NamespaceView {
    let services = &engine.config().services;
    NamespaceView {
        name: name.to_owned(),
        bindings: Vec::new(),
        netns: None,
        services: services.len() as u64,
        destinations: services.iter().map(|service| service.destinations.len() as u64).sum(),
        connections: engine
            .counter(|counters| counters.connections_ipv4.get() + counters.connections_ipv6.get()),
        connection_capacity: engine.capacity(),
        table_bytes: engine.counter(|counters| counters.table_bytes.get()),
    }
}
