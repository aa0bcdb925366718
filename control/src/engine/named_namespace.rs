//! A namespace beside the default one, as the engine keeps it.

use crossbeam::channel::Receiver;
use pollux_dataplane::worker::binding::NamespaceId;

use super::NamespaceEngine;
use super::link_filter::LinkFilter;
use crate::api::error::Failure;
use crate::api::view::NamespaceView;
use crate::kernel::namespace::Heard;
use crate::model::input_error::InputErrors;
use crate::model::network_config::NetworkConfig;
use crate::model::{Binding, Namespace};
use crate::say;

/// A namespace beside the default one.
pub(super) struct NamedNamespace {
    pub(super) id: NamespaceId,
    pub(super) name: String,
    pub(super) bindings: Vec<Binding>,
    pub(super) netns: Option<String>,
    pub(super) instance: NamespaceEngine,
    /// What its kernel says.
    pub(super) heard: Option<Receiver<NetworkConfig>>,
}

impl NamedNamespace {
    /// Listens to its kernel from now on, if there is a new one to listen to.
    pub(super) fn hear(&mut self, heard: Option<Heard>) {
        if let Some((mirror, network_config)) = heard {
            self.instance.mirror = Some(mirror);
            self.heard = Some(network_config);
            self.learn();
        }
    }

    /// Takes over what its kernel has said.
    pub(super) fn learn(&mut self) {
        let Some(network_config) = self.heard.as_ref().and_then(|heard| heard.try_recv().ok()) else {
            return;
        };
        if let Err(why) = self.instance.learn(network_config) {
            say!(Warn, "what the kernel says of namespace {} cannot be used: {why}", self.name);
        }
    }

    /// Whether it can become what is wanted without being made anew.
    pub(super) fn stays(&self, new: &Namespace) -> Result<(), Failure> {
        let mut errors = InputErrors::default();
        if self.netns != new.netns || self.instance.config().start.kernel != new.start.kernel {
            errors.add(
                format!("namespaces.{}.netns", self.name),
                "a namespace keeps its network namespace",
                "remove the namespace, and add it again",
            );
        }
        Ok(errors.into_result()?)
    }

    /// As the configuration has it.
    pub(super) fn namespace(&self) -> Namespace {
        let (name, bindings, netns) = (self.name.clone(), self.bindings.clone(), self.netns.clone());
        Namespace { name, bindings, netns, ..Namespace::default() }.with_content(self.instance.config())
    }

    /// What is its own among what is bound to `all`.
    pub(super) fn link_filter(&self, all: &[Namespace]) -> LinkFilter {
        LinkFilter::new(Some(&self.name), all)
    }

    /// What is shown of it.
    pub(super) fn view(&self) -> NamespaceView {
        NamespaceView {
            bindings: self.bindings.clone(),
            netns: self.heard.as_ref().map(|_| self.namespace().netns().to_owned()),
            ..view(&self.name, &self.instance)
        }
    }
}

/// What is shown of a namespace that nothing need be bound to.
pub(super) fn view(name: &str, instance: &NamespaceEngine) -> NamespaceView {
    let services = &instance.config().services;
    NamespaceView {
        name: name.to_owned(),
        bindings: Vec::new(),
        netns: None,
        services: services.len() as u64,
        destinations: services.iter().map(|service| service.destinations.len() as u64).sum(),
        connections: instance.counter(|g| g.connections_ipv4.get() + g.connections_ipv6.get()),
        connection_capacity: instance.capacity(),
        table_bytes: instance.counter(|g| g.table_bytes.get()),
    }
}
