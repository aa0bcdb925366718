//! What tells two configurations apart: the answer to `apply`, and to `apply --dry-run` before anything happens.

use std::collections::BTreeSet;
use std::fmt;

use hashbrown::HashMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::{Config, Destination, DestinationKey, Namespace, Service, ServiceKey};

/// What an `apply` changes, or changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Applied {
    /// Only asked, not done.
    pub dry_run: bool,
    /// Services that are new.
    pub added: Vec<ServiceKey>,
    /// Services that go.
    pub removed: Vec<ServiceKey>,
    /// Services that stay and change.
    pub changed: Vec<ServiceChange>,
    /// Settings that change: `tcp_timeout: 900 -> 600`.
    pub settings: Vec<String>,
    /// Whether the rules that mark packets change.
    pub fwmarks: bool,
    /// Whether static facts change.
    pub network: bool,
    /// What changes of namespaces.
    #[serde(skip_serializing_if = "NamespaceChanges::is_empty")]
    pub namespaces: NamespaceChanges,
    /// What is written down now but works only after a restart: `start.services: 16384 -> 65536`.
    pub needs_restart: Vec<String>,
}

/// What changes in one service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ServiceChange {
    /// The service.
    pub service: ServiceKey,
    /// Its own fields: `scheduler: wlc -> rr`.
    pub fields: Vec<String>,
    /// Destinations that are new.
    pub added: Vec<DestinationKey>,
    /// Destinations that go.
    pub removed: Vec<DestinationKey>,
    /// Destinations that stay and change.
    pub changed: Vec<DestinationChange>,
}

/// What changes in one destination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DestinationChange {
    /// The destination.
    pub destination: DestinationKey,
    /// Its fields: `weight: 1 -> 0`.
    pub fields: Vec<String>,
}

/// What changes of namespaces beside the default one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct NamespaceChanges {
    /// Namespaces that are new.
    pub added: Vec<String>,
    /// Namespaces that go, with all that is in them.
    pub removed: Vec<String>,
    /// Namespaces that stay and change.
    pub changed: Vec<NamespaceChange>,
}

/// What changes in one namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NamespaceChange {
    /// The namespace.
    pub namespace: String,
    /// What is bound to it.
    pub fields: Vec<String>,
    /// Its content.
    pub content: Applied,
}

impl NamespaceChanges {
    /// Whether none changes.
    pub fn is_empty(&self) -> bool {
        *self == NamespaceChanges::default()
    }
}

impl Applied {
    /// Whether both configurations say the same.
    pub fn is_empty(&self) -> bool {
        *self == Applied { dry_run: self.dry_run, ..Applied::default() }
    }
}

/// What has to happen to get from one configuration to another.
pub fn diff(old: &Config, new: &Config) -> Applied {
    let before: HashMap<ServiceKey, &Service> = old.services.iter().map(|s| (s.key(), s)).collect();
    let after: HashMap<ServiceKey, &Service> = new.services.iter().map(|s| (s.key(), s)).collect();
    let kept = new.services.iter().filter_map(|s| Some((*before.get(&s.key())?, s)));
    let mut needs_restart = fields("start.", &old.start, &new.start);
    if old.ports != new.ports {
        needs_restart.push("ports".to_owned());
    }
    Applied {
        dry_run: false,
        added: new.services.iter().map(Service::key).filter(|key| !before.contains_key(key)).collect(),
        removed: old.services.iter().map(Service::key).filter(|key| !after.contains_key(key)).collect(),
        changed: kept.filter_map(|(old, new)| service(old, new)).collect(),
        settings: fields("", &old.settings, &new.settings),
        fwmarks: old.fwmarks != new.fwmarks,
        network: old.network != new.network,
        namespaces: namespaces(&old.namespaces, &new.namespaces),
        needs_restart,
    }
}

fn namespaces(old: &[Namespace], new: &[Namespace]) -> NamespaceChanges {
    let names = |of: &[Namespace], not: &[Namespace]| {
        let missing = |n: &&Namespace| not.iter().all(|other| other.name != n.name);
        of.iter().filter(missing).map(|n| n.name.clone()).collect()
    };
    let kept = new.iter().filter_map(|new| Some((old.iter().find(|old| old.name == new.name)?, new)));
    let changed = kept.filter(|(old, new)| old != new).map(|(old, new)| {
        // What is in it is told by itself.
        let bare = |n: &Namespace| n.with_content(&Config::default());
        NamespaceChange {
            namespace: new.name.clone(),
            fields: fields("", &bare(old), &bare(new)),
            content: diff(&old.content(), &new.content()),
        }
    });
    NamespaceChanges { added: names(new, old), removed: names(old, new), changed: changed.collect() }
}

fn service(old: &Service, new: &Service) -> Option<ServiceChange> {
    if std::ptr::eq(old, new) || old == new {
        return None;
    }
    let before: HashMap<DestinationKey, &Destination> =
        old.destinations.iter().map(|d| (d.key(), d)).collect();
    let after: HashMap<DestinationKey, &Destination> =
        new.destinations.iter().map(|d| (d.key(), d)).collect();
    let bare = |service: &Service| Service { destinations: Vec::new(), ..service.clone() };
    let mut own = fields("", &bare(old), &bare(new));
    let kept_before = old.destinations.iter().map(Destination::key).filter(|key| after.contains_key(key));
    let kept_after = new.destinations.iter().map(Destination::key).filter(|key| before.contains_key(key));
    if !kept_before.eq(kept_after) {
        own.push("order of destinations".to_owned());
    }
    let kept = new.destinations.iter().filter_map(|d| Some((*before.get(&d.key())?, d)));
    Some(ServiceChange {
        service: new.key(),
        fields: own,
        added: new.destinations.iter().map(Destination::key).filter(|k| !before.contains_key(k)).collect(),
        removed: old.destinations.iter().map(Destination::key).filter(|k| !after.contains_key(k)).collect(),
        changed: kept
            .filter(|(old, new)| old != new)
            .map(|(old, new)| DestinationChange { destination: new.key(), fields: destination(old, new) })
            .collect(),
    })
}

/// Most often weights change, and of many destinations at once: those need no JSON.
fn destination(old: &Destination, new: &Destination) -> Vec<String> {
    if *new == (Destination { weight: new.weight, ..old.clone() }) {
        return vec![format!("weight: {} -> {}", old.weight, new.weight)];
    }
    fields("", old, new)
}

/// The fields that differ, found through their JSON so that a new field can never be forgotten here.
fn fields<T: Serialize>(prefix: &str, old: &T, new: &T) -> Vec<String> {
    let (Ok(old), Ok(new)) = (serde_json::to_value(old), serde_json::to_value(new)) else {
        return Vec::new();
    };
    // What has its default may be absent on one side.
    let names: BTreeSet<&String> = [&old, &new]
        .into_iter()
        .filter_map(|side| side.as_object())
        .flat_map(|fields| fields.keys())
        .collect();
    names
        .into_iter()
        .filter(|name| old.get(*name) != new.get(*name))
        .map(|name| format!("{prefix}{name}: {} -> {}", bare(old.get(name)), bare(new.get(name))))
        .collect()
}

/// A JSON value as a person writes it: words without quotes.
fn bare(value: Option<&serde_json::Value>) -> String {
    value.map_or_else(
        || "default".to_owned(),
        |value| value.as_str().map_or_else(|| value.to_string(), str::to_owned),
    )
}

/// For people: `+` comes, `-` goes, `~` changes.
impl fmt::Display for Applied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return writeln!(f, "nothing changes");
        }
        self.removed.iter().try_for_each(|key| writeln!(f, "- service {key}"))?;
        self.added.iter().try_for_each(|key| writeln!(f, "+ service {key}"))?;
        self.changed.iter().try_for_each(|change| change.fmt(f))?;
        self.settings.iter().try_for_each(|line| writeln!(f, "~ settings {line}"))?;
        if self.fwmarks {
            writeln!(f, "~ fwmarks")?;
        }
        if self.network {
            writeln!(f, "~ network")?;
        }
        self.namespaces.fmt(f)?;
        self.needs_restart.iter().try_for_each(|line| writeln!(f, "! needs a restart: {line}"))
    }
}

impl fmt::Display for NamespaceChanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.removed.iter().try_for_each(|name| writeln!(f, "- namespace {name}"))?;
        self.added.iter().try_for_each(|name| writeln!(f, "+ namespace {name}"))?;
        for change in &self.changed {
            writeln!(f, "~ namespace {} {}", change.namespace, change.fields.join(", "))?;
            let content = if change.content.is_empty() { String::new() } else { change.content.to_string() };
            content.lines().try_for_each(|line| writeln!(f, "  {line}"))?;
        }
        Ok(())
    }
}

impl fmt::Display for ServiceChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "~ service {} {}", self.service, self.fields.join(", "))?;
        self.removed.iter().try_for_each(|key| writeln!(f, "  - destination {key}"))?;
        self.added.iter().try_for_each(|key| writeln!(f, "  + destination {key}"))?;
        self.changed
            .iter()
            .try_for_each(|d| writeln!(f, "  ~ destination {} {}", d.destination, d.fields.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = r#"
        [[services]]
        protocol = "tcp"
        address = "10.9.9.1"
        l4_port = 80
        destinations = [
            { address = "10.0.2.11", l4_port = 80, method = "nat" },
            { address = "10.0.2.12", l4_port = 80, method = "nat" },
        ]
        [[services]]
        protocol = "udp"
        address = "10.9.9.1"
        l4_port = 53
    "#;
    const NEW: &str = r#"
        [start]
        services = 5
        idle = "sleep"
        max_sleep_us = 100
        [[ports]]
        name = "net_tap0"
        [settings]
        tcp_timeout = 600
        [[services]]
        protocol = "tcp"
        address = "10.9.9.1"
        l4_port = 80
        scheduler = "rr"
        destinations = [
            { address = "10.0.2.12", l4_port = 80, method = "dr", weight = 0 },
            { address = "10.0.2.13", l4_port = 80, method = "nat" },
        ]
        [[services]]
        protocol = "tcp"
        address = "2001:db8::1"
        l4_port = 53
    "#;
    const SAID: &str = "\
- service udp 10.9.9.1:53
+ service tcp [2001:db8::1]:53
~ service tcp 10.9.9.1:80 scheduler: wlc -> rr
  - destination 10.0.2.11:80
  + destination 10.0.2.13:80
  ~ destination 10.0.2.12:80 method: nat -> dr, weight: 1 -> 0
~ settings tcp_timeout: 900 -> 600
! needs a restart: start.idle: busy -> sleep
! needs a restart: start.max_sleep_us: 500 -> 100
! needs a restart: start.services: 16384 -> 5
! needs a restart: ports
";

    #[test]
    fn every_kind_of_change_is_told() {
        let (old, new) = (toml::from_str(OLD).unwrap(), toml::from_str(NEW).unwrap());
        assert_eq!(diff(&old, &new).to_string(), SAID);
    }

    #[test]
    fn what_has_no_default_comes_and_goes() {
        let old: Config = toml::from_str(OLD).unwrap();
        let mut new = old.clone();
        new.services[1].persistence = Some(crate::model::Persistence::default());
        new.services[1].ops = true;
        new.services[0].destinations[0].upper_threshold = 9;
        new.fwmarks.push(crate::model::FwmarkRule { fwmark: 7, ..Default::default() });
        let there = diff(&old, &new);
        assert_eq!(
            there.changed[1].fields,
            ["ops: default -> true", "persistence: default -> {\"timeout\":360}"]
        );
        assert_eq!(there.changed[0].changed[0].fields, ["upper_threshold: default -> 9"]);
        assert!(there.fwmarks && there.to_string().contains("~ fwmarks\n"));
        assert_eq!(diff(&new, &old).changed[1].fields[0], "ops: true -> default");
    }

    #[test]
    fn a_configuration_does_not_differ_from_itself() {
        let same: Config = toml::from_str(NEW).unwrap();
        assert!(diff(&same, &same).is_empty());
        assert_eq!(diff(&same, &same).to_string(), "nothing changes\n");
    }

    #[test]
    fn namespaces_come_go_and_change() {
        let old = "[[namespaces]]\nname = 'red'\n[[namespaces]]\nname = 'blue'\n\
            bindings = [{ port = 'net_tap0', vlan = 100 }]\n";
        let new = "[[namespaces]]\nname = 'green'\n[[namespaces]]\nname = 'blue'\n\
            [namespaces.settings]\ntcp_timeout = 9\n[[namespaces.services]]\nfwmark = 7\n";
        let (old, new): (Config, Config) = (toml::from_str(old).unwrap(), toml::from_str(new).unwrap());
        let said = "- namespace red\n+ namespace green\n\
            ~ namespace blue bindings: [{\"port\":\"net_tap0\",\"vlan\":100}] -> []\n  \
            + service fwmark 7\n  ~ settings tcp_timeout: 900 -> 9\n";
        assert_eq!(diff(&old, &new).to_string(), said);
        assert!(diff(&old, &old).is_empty() && diff(&new, &new).is_empty());
    }

    #[test]
    fn a_new_order_is_a_change() {
        let old: Config = toml::from_str(OLD).unwrap();
        let mut new = old.clone();
        new.services[0].destinations.reverse();
        assert_eq!(diff(&old, &new).changed[0].fields, ["order of destinations"]);
    }
}
