//! The differences between two configurations: the reply to `config.apply`, also in a dry run.

use std::collections::BTreeSet;
use std::fmt;
use std::hash::Hash;

use hashbrown::{HashMap, HashSet};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::{Config, Destination, DestinationKey, Namespace, Service, ServiceKey};

/// Changes that `config.apply` made, or would make.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Applied {
    /// True if the changes were only computed, not made.
    pub dry_run: bool,
    /// Services added.
    pub added: Vec<ServiceKey>,
    /// Services removed.
    pub removed: Vec<ServiceKey>,
    /// Services changed.
    pub changed: Vec<ServiceChange>,
    /// Settings changed, with old and new value: `tcp_timeout: 900 -> 600`.
    pub settings: Vec<String>,
    /// True if the firewall mark rules change.
    pub fwmarks: bool,
    /// True if the static network configuration changes.
    pub network: bool,
    /// Changes to namespaces.
    #[serde(skip_serializing_if = "NamespaceChanges::is_empty")]
    pub namespaces: NamespaceChanges,
    /// Fields that are stored but take effect only at the next start: `start.services: 16384 -> 65536`.
    pub needs_restart: Vec<String>,
}

/// Changes to one service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ServiceChange {
    /// Key of the service.
    pub service: ServiceKey,
    /// Fields changed, with old and new value: `scheduler: wlc -> rr`.
    pub fields: Vec<String>,
    /// Destinations added.
    pub added: Vec<DestinationKey>,
    /// Destinations removed.
    pub removed: Vec<DestinationKey>,
    /// Destinations changed.
    pub changed: Vec<DestinationChange>,
}

/// Changes to one destination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DestinationChange {
    /// Key of the destination.
    pub destination: DestinationKey,
    /// Fields changed, with old and new value: `weight: 1 -> 0`.
    pub fields: Vec<String>,
}

/// Changes to namespaces other than the default one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct NamespaceChanges {
    /// Namespaces added.
    pub added: Vec<String>,
    /// Namespaces removed, with all their content.
    pub removed: Vec<String>,
    /// Namespaces changed.
    pub changed: Vec<NamespaceChange>,
}

/// Changes to one namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NamespaceChange {
    /// Name of the namespace.
    pub namespace: String,
    /// Bindings and other fields changed, with old and new value.
    pub fields: Vec<String>,
    /// Changes to its content.
    pub content: Applied,
}

impl NamespaceChanges {
    /// Returns true if nothing changes.
    pub fn is_empty(&self) -> bool {
        *self == NamespaceChanges::default()
    }
}

impl Applied {
    /// Returns true if nothing changes.
    pub fn is_empty(&self) -> bool {
        *self == Applied { dry_run: self.dry_run, ..Applied::default() }
    }
}

/// The objects of two lists, matched by their keys, each kind in the order of its list.
struct Matched<'a, K, T> {
    added: Vec<K>,
    removed: Vec<K>,
    /// Old and new form, in the new order.
    kept: Vec<(&'a T, &'a T)>,
}

fn matched<'a, K: Eq + Hash, T>(
    old: impl Iterator<Item = &'a T> + Clone,
    new: impl Iterator<Item = &'a T> + Clone,
    key: impl Fn(&T) -> K,
) -> Matched<'a, K, T> {
    let before: HashMap<K, &T> = old.clone().map(|item| (key(item), item)).collect();
    let after: HashSet<K> = new.clone().map(&key).collect();
    Matched {
        added: new.clone().map(&key).filter(|key| !before.contains_key(key)).collect(),
        removed: old.map(&key).filter(|key| !after.contains(key)).collect(),
        kept: new.filter_map(|item| Some((*before.get(&key(item))?, item))).collect(),
    }
}

/// Returns the changes from one configuration to another.
pub fn diff(old: &Config, new: &Config) -> Applied {
    let services = matched(old.services.iter(), new.services.iter(), |service: &Service| service.key);
    let mut needs_restart = fields("start.", &old.start, &new.start);
    if old.ports != new.ports {
        needs_restart.push("ports".to_owned());
    }
    Applied {
        dry_run: false,
        added: services.added,
        removed: services.removed,
        changed: services.kept.into_iter().filter_map(|(old, new)| service(old, new)).collect(),
        settings: fields("", &old.settings, &new.settings),
        fwmarks: old.fwmarks != new.fwmarks,
        network: old.network != new.network,
        namespaces: namespaces(&old.namespaces, &new.namespaces),
        needs_restart,
    }
}

fn namespaces(old: &[Namespace], new: &[Namespace]) -> NamespaceChanges {
    let Matched { added, removed, kept } =
        matched(old.iter(), new.iter(), |namespace| namespace.name.clone());
    let changed = kept.into_iter().filter(|(old, new)| old != new).map(|(old, new)| {
        // The content is compared separately.
        let bare = |n: &Namespace| n.with_content(&Config::default());
        NamespaceChange {
            namespace: new.name.clone(),
            fields: fields("", &bare(old), &bare(new)),
            content: diff(&old.content(), &new.content()),
        }
    });
    NamespaceChanges { added, removed, changed: changed.collect() }
}

fn service(old: &Service, new: &Service) -> Option<ServiceChange> {
    if std::ptr::eq(old, new) || old == new {
        return None;
    }
    let Matched { added, removed, kept } =
        matched(old.destinations.iter(), new.destinations.iter(), Destination::key);
    let bare = |service: &Service| Service { destinations: Vec::new(), ..service.clone() };
    let mut own = fields("", &bare(old), &bare(new));
    // `old` refers into one slice, so references in the old order ascend in memory.
    if !kept.is_sorted_by_key(|(old, _)| std::ptr::from_ref::<Destination>(old)) {
        own.push("order of destinations".to_owned());
    }
    let changed = kept
        .into_iter()
        .filter(|(old, new)| old != new)
        .map(|(old, new)| DestinationChange { destination: new.key(), fields: destination(old, new) });
    Some(ServiceChange { service: new.key, fields: own, added, removed, changed: changed.collect() })
}

/// Compares two destinations. Weights change most often, and many at once: they are compared without JSON.
fn destination(old: &Destination, new: &Destination) -> Vec<String> {
    if *new == (Destination { weight: new.weight, ..old.clone() }) {
        return vec![format!("weight: {} -> {}", old.weight, new.weight)];
    }
    fields("", old, new)
}

/// Returns the fields that differ. Comparing the JSON form covers fields that are added later.
fn fields<T: Serialize>(prefix: &str, old: &T, new: &T) -> Vec<String> {
    let (Ok(old), Ok(new)) = (serde_json::to_value(old), serde_json::to_value(new)) else {
        return Vec::new();
    };
    // A field at its default may be absent on one side.
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

/// Formats a JSON value, strings without quotes.
fn bare(value: Option<&serde_json::Value>) -> String {
    value.map_or_else(
        || "default".to_owned(),
        |value| value.as_str().map_or_else(|| value.to_string(), str::to_owned),
    )
}

/// Prints `+` for added, `-` for removed and `~` for changed objects.
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
            writeln!(f, "~ namespace {}{}", change.namespace, listed(&change.fields))?;
            let content = if change.content.is_empty() { String::new() } else { change.content.to_string() };
            content.lines().try_for_each(|line| writeln!(f, "  {line}"))?;
        }
        Ok(())
    }
}

impl fmt::Display for ServiceChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "~ service {}{}", self.service, listed(&self.fields))?;
        self.removed.iter().try_for_each(|key| writeln!(f, "  - destination {key}"))?;
        self.added.iter().try_for_each(|key| writeln!(f, "  + destination {key}"))?;
        self.changed
            .iter()
            .try_for_each(|d| writeln!(f, "  ~ destination {}{}", d.destination, listed(&d.fields)))
    }
}

/// The fields after a blank, or nothing.
fn listed(fields: &[String]) -> String {
    if fields.is_empty() { String::new() } else { format!(" {}", fields.join(", ")) }
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
    const EXPECTED: &str = "\
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
    fn every_kind_of_change_is_listed() {
        let (old, new) = (toml::from_str(OLD).unwrap(), toml::from_str(NEW).unwrap());
        assert_eq!(diff(&old, &new).to_string(), EXPECTED);
    }

    #[test]
    fn fields_at_their_default_are_shown_as_default() {
        let old: Config = toml::from_str(OLD).unwrap();
        let mut new = old.clone();
        new.services[1].persistence = Some(crate::model::Persistence::default());
        new.services[1].ops = true;
        new.services[0].destinations[0].upper_threshold = 9;
        new.fwmarks.push(crate::model::FwmarkRule { fwmark: 7, ..Default::default() });
        let changes = diff(&old, &new);
        assert_eq!(
            changes.changed[1].fields,
            ["ops: default -> true", "persistence: default -> {\"timeout\":360}"]
        );
        assert_eq!(changes.changed[0].changed[0].fields, ["upper_threshold: default -> 9"]);
        assert!(changes.fwmarks && changes.to_string().contains("~ fwmarks\n"));
        assert_eq!(diff(&new, &old).changed[1].fields[0], "ops: true -> default");
    }

    #[test]
    fn lines_do_not_end_with_a_blank() {
        let old: Config = toml::from_str(OLD).unwrap();
        let mut new = old.clone();
        new.services[0].destinations.pop();
        let expected = "~ service tcp 10.9.9.1:80\n  - destination 10.0.2.12:80\n";
        assert_eq!(diff(&old, &new).to_string(), expected);
    }

    #[test]
    fn a_configuration_does_not_differ_from_itself() {
        let same: Config = toml::from_str(NEW).unwrap();
        assert!(diff(&same, &same).is_empty());
        assert_eq!(diff(&same, &same).to_string(), "nothing changes\n");
    }

    #[test]
    fn namespaces_are_added_removed_and_changed() {
        let old = "[[namespaces]]\nname = 'red'\n[[namespaces]]\nname = 'blue'\n\
            bindings = [{ port = 'net_tap0', vlan = 100 }]\n";
        let new = "[[namespaces]]\nname = 'green'\n[[namespaces]]\nname = 'blue'\n\
            [namespaces.settings]\ntcp_timeout = 9\n[[namespaces.services]]\nfwmark = 7\n";
        let (old, new): (Config, Config) = (toml::from_str(old).unwrap(), toml::from_str(new).unwrap());
        let expected = "- namespace red\n+ namespace green\n\
            ~ namespace blue bindings: [{\"port\":\"net_tap0\",\"vlan\":100}] -> []\n  \
            + service fwmark 7\n  ~ settings tcp_timeout: 900 -> 9\n";
        assert_eq!(diff(&old, &new).to_string(), expected);
        assert!(diff(&old, &old).is_empty() && diff(&new, &new).is_empty());
    }

    #[test]
    fn a_different_order_is_a_change() {
        let old: Config = toml::from_str(OLD).unwrap();
        let mut new = old.clone();
        new.services[0].destinations.reverse();
        assert_eq!(diff(&old, &new).changed[0].fields, ["order of destinations"]);
    }
}
