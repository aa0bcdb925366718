//! One change to an interface, and how it is undone.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::InterfaceError;
use super::system::System;

/// The filter that takes all frames, with a fixed handle, so that it replaces itself. `u32` is in every distribution's
/// kernel, unlike `matchall` and `flower`.
const FILTER: &str =
    "pref 1 handle 800::800 protocol all u32 match u32 0 0 action mirred egress redirect dev";
/// Qdiscs that can have ingress filters.
const QDISCS: [&str; 2] = ["clsact", "ingress"];

/// A change. It contains what is needed to undo it, even by another process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Change {
    /// The interface was down and is brought up.
    Up {},
    /// It receives all multicast frames, such as neighbour solicitations for addresses of the twin.
    AllMulticast {},
    /// It receives frames for all hardware addresses, since its twin has others.
    Promiscuous {},
    /// It no longer answers ARP.
    NoArp {},
    /// A sysctl is set.
    Sysctl {
        /// Such as `net/ipv6/conf/eth1/disable_ipv6`.
        key: String,
        /// Its value before.
        before: String,
        /// Its value meanwhile.
        during: String,
    },
    /// An offload is switched off.
    Offload {
        /// Its name for `ethtool -K`.
        name: String,
    },
    /// All frames it receives are redirected to a TAP.
    Redirect {
        /// Name of the TAP.
        to: String,
        /// Whether the qdisc for it is ours, too.
        own_qdisc: bool,
    },
    /// DPDK attaches an XDP program, and detaches it unless it is killed.
    Program {},
    /// An address moves to the twin.
    Address {
        /// `192.0.2.5/24`, or the local end of a point-to-point address.
        prefix: String,
        /// Other words for `ip address add`.
        words: Vec<String>,
        /// Whether the kernel made it from a router's advertisement, as it will again.
        dynamic: bool,
    },
    /// A route moves to the twin.
    Route {
        /// `-4` or `-6`.
        family: String,
        /// Words for `ip route add`.
        words: Vec<String>,
    },
}

impl Change {
    /// Whether both change the same thing.
    pub fn is_about(&self, other: &Change) -> bool {
        match (self, other) {
            (Change::Sysctl { key: one, .. }, Change::Sysctl { key: other, .. })
            | (Change::Offload { name: one }, Change::Offload { name: other })
            | (Change::Address { prefix: one, .. }, Change::Address { prefix: other, .. }) => one == other,
            (Change::Route { .. }, Change::Route { .. }) => self == other,
            _ => std::mem::discriminant(self) == std::mem::discriminant(other),
        }
    }

    /// The order in which changes are made; they are undone in the opposite order. Routes need addresses, and addresses
    /// of IPv6 need IPv6.
    pub fn order(&self) -> u8 {
        match self {
            Change::Route { .. } => 0,
            Change::Address { .. } => 1,
            Change::Sysctl { .. } => 2,
            Change::Offload { .. } => 3,
            Change::NoArp {} => 4,
            Change::AllMulticast {} => 5,
            Change::Promiscuous {} => 5,
            Change::Up {} => 6,
            Change::Redirect { .. } => 7,
            Change::Program {} => 8,
        }
    }

    /// Makes the change, even if it has been made already.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn make(&self, link: &str, system: &impl System) -> Result<(), InterfaceError> {
        match self {
            Change::Redirect { to, .. } => redirect(link, to, system),
            Change::Sysctl { key, during, .. } => system.set_sysctl(key, during),
            Change::Offload { name } => system.run("ethtool", &["-K", link, name, "off"]).map(drop),
            Change::Up {} => set(link, &["up"], system),
            // That of a killed daemon is in the way.
            Change::Program {} => set(link, &["xdp", "off"], system),
            Change::AllMulticast {} => set(link, &["allmulticast", "on"], system),
            Change::Promiscuous {} => set(link, &["promisc", "on"], system),
            Change::NoArp {} => set(link, &["arp", "off"], system),
            Change::Address { prefix, .. } => {
                let address = prefix.split('/').next().unwrap_or_default();
                system.run("ip", &["address", "flush", "dev", link, "to", address]).map(drop)
            }
            Change::Route { family, words } => {
                let to = words.first().map_or("default", String::as_str);
                system
                    .run("ip", &[family, "route", "flush", "table", "all", "exact", to, "dev", link])
                    .map(drop)
            }
        }
    }

    /// Undoes the change, even if it has not been made.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn undo(&self, link: &str, system: &impl System) -> Result<(), InterfaceError> {
        match self {
            Change::Redirect { own_qdisc: true, .. }
                if qdisc(link, system)?.as_deref() == Some(QDISCS[0]) =>
            {
                // Its filters go with it.
                system.run("tc", &["qdisc", "delete", "dev", link, QDISCS[0]]).map(drop)
            }
            Change::Redirect { own_qdisc: false, .. } if has_filters(link, system)? => {
                system.run("tc", &["filter", "delete", "dev", link, "ingress", "pref", "1"]).map(drop)
            }
            Change::Redirect { .. } => Ok(()),
            Change::Sysctl { key, before, .. } => system.set_sysctl(key, before),
            Change::Offload { name } => system.run("ethtool", &["-K", link, name, "on"]).map(drop),
            Change::Up {} => set(link, &["down"], system),
            Change::Program {} => set(link, &["xdp", "off"], system),
            Change::AllMulticast {} => set(link, &["allmulticast", "off"], system),
            Change::Promiscuous {} => set(link, &["promisc", "off"], system),
            Change::NoArp {} => set(link, &["arp", "on"], system),
            Change::Address { dynamic: true, .. } => Ok(()),
            Change::Address { .. } | Change::Route { .. } => self.add_to(link, system),
        }
    }

    /// Adds an address or a route to an interface, unless it is there already.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn add_to(&self, link: &str, system: &impl System) -> Result<(), InterfaceError> {
        let (head, words): (&[&str], &[String]) = match self {
            Change::Address { prefix, words, dynamic: false } => (&["address", "replace", prefix], words),
            Change::Route { family, words } => (&[family, "route", "replace"], words),
            _ => return Ok(()),
        };
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        system.run("ip", &[head, &words, &["dev", link]].concat()).map(drop)
    }

    /// Describes the change for the log, once it is made.
    pub fn made(&self) -> String {
        self.text(false)
    }

    /// Describes the change for the log, once it is undone.
    pub fn undone(&self) -> String {
        self.text(true)
    }

    fn text(&self, undone: bool) -> String {
        let (what, before, during): (&dyn fmt::Display, &str, &str) = match self {
            Change::Redirect { to, .. } => {
                let not = if undone { "no longer " } else { "" };
                return format!("received frames are {not}redirected to {to}");
            }
            Change::Address { prefix, .. } => (&format!("address {prefix}"), "here", "at the twin"),
            Change::Route { words, .. } => (&format!("route {}", words.join(" ")), "here", "at the twin"),
            Change::Sysctl { key, before, during } => (&key.replace('/', "."), before, during),
            Change::Offload { name } => (name, "on", "off"),
            Change::Up {} => (&"link", "down", "up"),
            Change::Program {} => (&"XDP program", "none", "DPDK's"),
            Change::AllMulticast {} => (&"allmulticast", "off", "on"),
            Change::Promiscuous {} => (&"promisc", "off", "on"),
            Change::NoArp {} => (&"arp", "on", "off"),
        };
        let (from, to) = if undone { (during, before) } else { (before, during) };
        format!("{what}: {from} -> {to}")
    }
}

fn set(link: &str, words: &[&str], system: &impl System) -> Result<(), InterfaceError> {
    system.run("ip", &[&["link", "set", "dev", link], words].concat()).map(drop)
}

/// Redirects all frames that an interface receives, so that the host's own stack sees none, to be sent by another.
///
/// # Errors
/// If the system refuses.
pub fn redirect(from: &str, to: &str, system: &impl System) -> Result<(), InterfaceError> {
    if qdisc(from, system)?.is_none() {
        system.run("tc", &["qdisc", "add", "dev", from, QDISCS[0]])?;
    }
    let words = ["filter", "replace", "dev", from, "ingress"];
    let words: Vec<&str> = words.into_iter().chain(FILTER.split(' ')).chain([to]).collect();
    system.run("tc", &words).map(drop)
}

/// The qdisc of an interface that can have ingress filters.
///
/// # Errors
/// If `tc` fails.
pub fn qdisc(link: &str, system: &impl System) -> Result<Option<String>, InterfaceError> {
    let listed = list(&["-json", "qdisc", "show", "dev", link], system)?;
    let kinds = listed.iter().filter_map(|qdisc| qdisc["kind"].as_str());
    Ok(kinds.filter(|kind| QDISCS.contains(kind)).map(str::to_owned).next())
}

/// Whether an interface has ingress filters.
///
/// # Errors
/// If `tc` fails.
pub fn has_filters(link: &str, system: &impl System) -> Result<bool, InterfaceError> {
    Ok(!list(&["-json", "filter", "show", "dev", link, "ingress"], system)?.is_empty())
}

fn list(words: &[&str], system: &impl System) -> Result<Vec<Value>, InterfaceError> {
    let text = system.run("tc", words)?;
    let failed = |error: serde_json::Error| InterfaceError::Output {
        command: format!("tc {}", words.join(" ")),
        why: error.to_string(),
    };
    serde_json::from_str(if text.trim().is_empty() { "[]" } else { &text }).map_err(failed)
}
