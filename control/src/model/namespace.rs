//! Namespaces: independent balancers in one daemon, like IPVS in several network namespaces of Linux.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Config, FwmarkRule, Service, Services, Settings, Start};
use crate::model::network::NetworkState;

/// Name of the default namespace, which always exists. It has every port and VLAN that is bound to no other namespace;
/// its content is at the top level of the configuration.
pub const DEFAULT: &str = "default";

/// A namespace: separate services, settings, connections and counters for the traffic of the ports and VLANs bound to
/// it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Namespace {
    /// Name of the namespace: 1 to 31 letters, digits, `-`, `_` or `.`.
    pub name: String,
    /// Ports and VLANs whose traffic belongs to the namespace.
    #[serde(default)]
    pub bindings: Vec<Binding>,
    /// Linux network namespace for its TAP twins, as named by `ip netns`; default the namespace's own name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub netns: Option<String>,
    /// Sizes fixed when the namespace is created.
    #[serde(default)]
    pub start: NamespaceStart,
    /// Timeouts and switches; they affect packets that arrive after a change.
    #[serde(default)]
    pub settings: Settings,
    /// Rules that set the firewall mark of packets, for services that match on a fwmark.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fwmarks: Vec<FwmarkRule>,
    /// Virtual services with their destinations, in the order they are added.
    #[serde(default)]
    #[schemars(with = "Vec<Service>")]
    pub services: Services,
    /// Static network configuration: links, addresses, routes and neighbours given by hand. It overrides everything
    /// mirrored from the kernel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<NetworkState>,
}

/// A port, or one VLAN of it. Without `vlan` it covers the port's untagged frames and all VLANs not bound elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Binding {
    /// Name or number of the DPDK port.
    pub port: String,
    /// VLAN ID, 1 to 4094.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vlan: Option<u16>,
}

/// Sizes of a namespace, with smaller defaults than those of the daemon.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NamespaceStart {
    /// IPv4 connections, total over all workers, 0 to 2^30.
    pub connections_ipv4: u32,
    /// IPv6 connections, total over all workers, 0 to 2^30.
    pub connections_ipv6: u32,
    /// Maximum number of services, at least 1.
    pub services: u32,
    /// Maximum number of destinations, at least 1, including removed ones that still have connections.
    pub destinations: u32,
    /// Persistence templates, total over all workers, 1 to 2^28.
    pub templates: u32,
    /// Creates TAP twins in the namespace's Linux network namespace and mirrors the addresses, routes and neighbours
    /// found there. Has no effect if the daemon's own `start.kernel` is false.
    pub kernel: bool,
}

impl Default for NamespaceStart {
    fn default() -> NamespaceStart {
        NamespaceStart {
            connections_ipv4: 1 << 16,
            connections_ipv6: 1 << 14,
            services: 1 << 10,
            destinations: 1 << 13,
            templates: 1 << 13,
            kernel: true,
        }
    }
}

impl From<&NamespaceStart> for Start {
    fn from(start: &NamespaceStart) -> Start {
        Start {
            connections_ipv4: start.connections_ipv4,
            connections_ipv6: start.connections_ipv6,
            services: start.services,
            destinations: start.destinations,
            templates: start.templates,
            kernel: start.kernel,
            // All other fields apply to the daemon only.
            ..Start::default()
        }
    }
}

impl From<&Start> for NamespaceStart {
    fn from(start: &Start) -> NamespaceStart {
        NamespaceStart {
            connections_ipv4: start.connections_ipv4,
            connections_ipv6: start.connections_ipv6,
            services: start.services,
            destinations: start.destinations,
            templates: start.templates,
            kernel: start.kernel,
        }
    }
}

impl Namespace {
    /// Returns the namespace's content as a complete configuration.
    pub fn content(&self) -> Config {
        Config {
            start: Start::from(&self.start),
            settings: self.settings.clone(),
            fwmarks: self.fwmarks.clone(),
            services: self.services.clone(),
            network: self.network.clone(),
            ..Config::default()
        }
    }

    /// Returns a copy of the namespace with its content replaced.
    #[must_use]
    pub fn with_content(&self, content: &Config) -> Namespace {
        Namespace {
            name: self.name.clone(),
            bindings: self.bindings.clone(),
            netns: self.netns.clone(),
            start: NamespaceStart::from(&content.start),
            settings: content.settings.clone(),
            fwmarks: content.fwmarks.clone(),
            services: content.services.clone(),
            network: content.network.clone(),
        }
    }

    /// Returns the name of the Linux network namespace for the TAP twins.
    pub fn netns(&self) -> &str {
        self.netns.as_deref().unwrap_or(&self.name)
    }
}

impl fmt::Display for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.vlan {
            None => f.write_str(&self.port),
            Some(vlan) => write!(f, "{} VLAN {vlan}", self.port),
        }
    }
}

/// Returns the namespace to which this port, or this VLAN of it, is bound; `None` is the default namespace.
pub fn owner<'a>(namespaces: &'a [Namespace], port: &str, vlan: Option<u16>) -> Option<&'a str> {
    let bound = |vlan: Option<u16>| {
        let matches = move |binding: &Binding| binding.port == port && binding.vlan == vlan;
        namespaces.iter().find(|namespace| namespace.bindings.iter().any(matches))
    };
    let found = bound(vlan).or_else(|| vlan.and_then(|_| bound(None)));
    found.map(|namespace| namespace.name.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn namespace(name: &str, bindings: &[(&str, Option<u16>)]) -> Namespace {
        let binding = |&(port, vlan): &(&str, Option<u16>)| Binding { port: port.to_owned(), vlan };
        Namespace {
            name: name.to_owned(),
            bindings: bindings.iter().map(binding).collect(),
            ..Namespace::default()
        }
    }

    #[test]
    fn an_unbound_vlan_belongs_to_the_ports_namespace() {
        let all = [namespace("blue", &[("a", Some(7))]), namespace("green", &[("a", None), ("b", Some(7))])];
        let rows = [
            ("a", Some(7), Some("blue")),
            ("a", Some(8), Some("green")),
            ("a", None, Some("green")),
            ("b", Some(7), Some("green")),
            ("b", None, None),
            ("c", Some(7), None),
        ];
        for (port, vlan, expected) in rows {
            assert_eq!(owner(&all, port, vlan), expected, "{port} {vlan:?}");
        }
    }

    #[test]
    fn content_survives_a_round_trip() {
        let text = "name = 'blue'\nnetns = 'b'\n[start]\nservices = 5\n[settings]\ntcp_timeout = 9\n\
            [[services]]\nfwmark = 7\n[[bindings]]\nport = 'net_tap0'\nvlan = 100\n";
        let blue: Namespace = toml::from_str(text).unwrap();
        assert_eq!(blue.content().start.services, 5);
        assert_eq!(blue.with_content(&blue.content()), blue);
        assert_eq!(toml::from_str::<Namespace>(&toml::to_string(&blue).unwrap()).unwrap(), blue);
        assert!(toml::from_str::<Namespace>("name = 'blue'\nports = []\n").is_err());
    }
}
