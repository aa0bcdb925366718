//! Namespaces: what an IPVS instance in a network namespace of its own is to Linux.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Config, FwmarkRule, Service, Services, Settings, Start};
use crate::model::network_config::NetworkConfig;

/// The namespace that is always there. It has what is bound to no other, and stands at the top of the configuration.
pub const DEFAULT: &str = "default";

/// A namespace: services, settings, connections and counters of its own, for the traffic of the ports and VLANs that
/// are bound to it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Namespace {
    /// Its name.
    pub name: String,
    /// Ports and VLANs whose traffic is its own.
    #[serde(default)]
    pub bindings: Vec<Binding>,
    /// The kernel's network namespace for its twins, by the name `ip netns` knows; its own name when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub netns: Option<String>,
    /// Sizes fixed when it is made.
    #[serde(default)]
    pub start: NamespaceStart,
    /// Time-outs and switches that take effect for later packets.
    #[serde(default)]
    pub settings: Settings,
    /// Rules that mark packets, for services that are named by a mark.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fwmarks: Vec<FwmarkRule>,
    /// Virtual services with their destinations, in the order they are added.
    #[serde(default)]
    #[schemars(with = "Vec<Service>")]
    pub services: Services,
    /// Addresses, routes and neighbours given by hand instead of read from the kernel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<NetworkConfig>,
}

/// A port, or one VLAN of it. Without a VLAN it is the port's untagged frames and those of VLANs that are not bound.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Binding {
    /// The DPDK port's name, or its number.
    pub port: String,
    /// The tag of its frames, 1 to 4094.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vlan: Option<u16>,
}

/// Sizes of a namespace: as those of the daemon, with smaller defaults.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NamespaceStart {
    /// IPv4 connections that all workers together can hold.
    pub connections_ipv4: u32,
    /// IPv6 connections that all workers together can hold.
    pub connections_ipv6: u32,
    /// Services that can exist at once.
    pub services: u32,
    /// Destinations that can exist at once, removed ones that still have connections included.
    pub destinations: u32,
    /// Persistence templates that can exist at once.
    pub templates: u32,
    /// Mirror addresses, routes and neighbours from a network namespace of the kernel, with twins in it; when the daemon
    /// does so for its ports.
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
            // What is left is the daemon's.
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
    /// What is in it, as the configuration of a daemon that had nothing else.
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

    /// The same namespace with other content.
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

    /// The kernel's network namespace for its twins.
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

/// The namespace that has this port, or this VLAN of it; `None` is the default one.
pub fn owner<'a>(namespaces: &'a [Namespace], port: &str, vlan: Option<u16>) -> Option<&'a str> {
    let bound = |vlan: Option<u16>| {
        let is_it = move |binding: &Binding| binding.port == port && binding.vlan == vlan;
        namespaces.iter().find(|namespace| namespace.bindings.iter().any(is_it))
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
    fn a_vlan_is_the_ports_unless_it_is_bound() {
        let all = [namespace("blue", &[("a", Some(7))]), namespace("green", &[("a", None), ("b", Some(7))])];
        let rows = [
            ("a", Some(7), Some("blue")),
            ("a", Some(8), Some("green")),
            ("a", None, Some("green")),
            ("b", Some(7), Some("green")),
            ("b", None, None),
            ("c", Some(7), None),
        ];
        for (port, vlan, whose) in rows {
            assert_eq!(owner(&all, port, vlan), whose, "{port} {vlan:?}");
        }
    }

    #[test]
    fn content_goes_out_and_in_again() {
        let text = "name = 'blue'\nnetns = 'b'\n[start]\nservices = 5\n[settings]\ntcp_timeout = 9\n\
            [[services]]\nfwmark = 7\n[[bindings]]\nport = 'net_tap0'\nvlan = 100\n";
        let blue: Namespace = toml::from_str(text).unwrap();
        assert_eq!(blue.content().start.services, 5);
        assert_eq!(blue.with_content(&blue.content()), blue);
        assert_eq!(toml::from_str::<Namespace>(&toml::to_string(&blue).unwrap()).unwrap(), blue);
        assert!(toml::from_str::<Namespace>("name = 'blue'\nports = []\n").is_err());
    }
}
