//! Which changes an interface needs, or why it is refused.

use super::InterfaceError;
use super::change::{self, Change};
use super::link::Link;
use super::request::{Mode, Request};
use super::route;
use super::system::System;
use crate::log;

/// Offloads by the name that `ethtool -k` prints and the one that `ethtool -K` takes. All modes: frames merged by the
/// device cannot be split again, and VLAN filters drop frames for VLANs of the twin.
const OFFLOADS: [(&str, &str); 2] = [("large-receive-offload", "lro"), ("rx-vlan-filter", "rx-vlan-filter")];
/// Those that only the kernel's own stack can cope with, or the redirection to a TAP.
const RAW_OFFLOADS: [(&str, &str); 3] =
    [("generic-receive-offload", "gro"), ("rx-gro-hw", "rx-gro-hw"), ("rx-gro-list", "rx-gro-list")];
/// An XDP program does not see a tag that the device took out of the frame.
const XDP_OFFLOAD: (&str, &str) = ("rx-vlan-offload", "rxvlan");

/// What is known about an interface before it is changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    /// The interface.
    pub link: Link,
    /// Sysctl `disable_ipv6`; `None` without IPv6.
    pub disable_ipv6: Option<String>,
    /// Sysctl `rp_filter`.
    pub rp_filter: Option<String>,
    /// Offloads that are on, by their names for `ethtool -K`.
    pub offloads: Vec<String>,
    /// Whether it has a qdisc for ingress filters.
    pub has_qdisc: bool,
    /// Whether it has ingress filters.
    pub has_filters: bool,
    /// Its routes.
    pub routes: Vec<Change>,
}

/// Finds the interface of a request, and checks that it may be used. `before` are changes that another process left
/// behind.
///
/// # Errors
/// If not.
pub fn find<'a>(
    request: &Request,
    links: &'a [Link],
    before: &[Change],
    take_over: bool,
) -> Result<&'a Link, InterfaceError> {
    let name = || request.name.clone();
    let Some(link) = links.iter().find(|link| link.name == request.name) else {
        let ether: Vec<&str> =
            links.iter().filter(|link| link.link_type == "ether").map(|link| link.name.as_str()).collect();
        let known = if ether.is_empty() { "no Ethernet interface".to_owned() } else { ether.join(", ") };
        return Err(InterfaceError::Unknown { name: name(), known });
    };
    if link.link_type != "ether" {
        return Err(InterfaceError::NotEthernet { name: name(), what: link.link_type.clone() });
    }
    if let Some(master) = &link.master {
        return Err(InterfaceError::Port { name: name(), master: master.clone() });
    }
    if !link.uppers.is_empty() {
        return Err(InterfaceError::Uppers { name: name(), uppers: link.uppers.join(", ") });
    }
    let left = before.iter().filter_map(|change| match change {
        Change::Address { prefix, .. } => Some(prefix.as_str()),
        _ => None,
    });
    let addresses: Vec<&str> =
        link.addresses.iter().map(|address| address.prefix.as_str()).chain(left).collect();
    if !take_over && !addresses.is_empty() {
        return Err(InterfaceError::Addresses { name: name(), addresses: addresses.join(", ") });
    }
    Ok(link)
}

/// The mode of a request, and why it was chosen if none was given.
pub fn mode(request: &Request) -> (Mode, &'static str) {
    match request.mode {
        Some(mode) => (mode, "as requested"),
        None => {
            (Mode::Tap, "the kernel completes checksums and splits merged frames, whatever the peer sends")
        }
    }
}

/// Looks at everything that may have to be changed.
///
/// # Errors
/// If a program is missing or fails.
pub fn observe(link: &Link, mode: Mode, system: &impl System) -> Result<Observed, InterfaceError> {
    let name = &link.name;
    let has_qdisc = mode == Mode::Tap && change::qdisc(name, system)?.is_some();
    Ok(Observed {
        link: link.clone(),
        disable_ipv6: system.sysctl(&disable_ipv6(name)),
        rp_filter: system.sysctl(&rp_filter(name)),
        offloads: offloads(name, mode, system)?,
        has_qdisc,
        has_filters: has_qdisc && change::has_filters(name, system)?,
        routes: if link.addresses.is_empty() { Vec::new() } else { route::all(name, system)? },
    })
}

fn is_xdp(mode: Mode) -> bool {
    matches!(mode, Mode::Xdp { .. })
}

/// Sysctl that switches IPv6 off on an interface.
pub fn disable_ipv6(name: &str) -> String {
    format!("net/ipv6/conf/{name}/disable_ipv6")
}

fn rp_filter(name: &str) -> String {
    format!("net/ipv4/conf/{name}/rp_filter")
}

/// Offloads that are on and must be off.
fn offloads(name: &str, mode: Mode, system: &impl System) -> Result<Vec<String>, InterfaceError> {
    let listed = match (system.run("ethtool", &["-k", name]), mode) {
        (Ok(listed), _) => listed,
        (Err(error), Mode::Tap) => {
            log!(
                Warn,
                "interface {name}: its offloads are unknown; LRO and VLAN filters must be off: {error}"
            );
            String::new()
        }
        (Err(error), _) => return Err(error),
    };
    let raw = if mode == Mode::Tap { &[][..] } else { &RAW_OFFLOADS };
    let xdp = is_xdp(mode).then_some(&XDP_OFFLOAD);
    // "large-receive-offload: off [fixed]"
    let is_on = |offload: &str| {
        let line = listed.lines().find_map(|line| line.trim().strip_prefix(offload)?.strip_prefix(": "));
        line.is_some_and(|state| state.starts_with("on") && !state.contains("[fixed]"))
    };
    let wanted = OFFLOADS.iter().chain(raw).chain(xdp);
    Ok(wanted.filter(|(printed, _)| is_on(printed)).map(|(_, name)| (*name).to_owned()).collect())
}

/// The changes that an interface needs, in order. Those of `before` that are needed again stay as they are, because they
/// know the value before the first change.
///
/// # Errors
/// If it has tc filters or an XDP program of somebody else.
pub fn changes(
    observed: &Observed,
    mode: Mode,
    tap: &str,
    before: &[Change],
) -> Result<Vec<Change>, InterfaceError> {
    let Observed { link, .. } = observed;
    let redirected = before.iter().any(|change| matches!(change, Change::Redirect { .. }));
    if observed.has_filters && !redirected {
        return Err(InterfaceError::Filters { name: link.name.clone() });
    }
    let attached = before.iter().any(|change| matches!(change, Change::Program {}));
    if is_xdp(mode) && link.has_program && !attached {
        return Err(InterfaceError::Program { name: link.name.clone() });
    }
    let mut changes: Vec<Change> = observed.routes.clone();
    changes.extend(link.addresses.iter().map(|address| Change::Address {
        prefix: address.prefix.clone(),
        words: address.words.clone(),
        dynamic: address.dynamic,
    }));
    let mut set = |key: String, before: &Option<String>| {
        if let Some(before) = before.clone().filter(|before| before != "1") {
            changes.push(Change::Sysctl { key, before, during: "1".to_owned() });
        }
    };
    set(disable_ipv6(&link.name), &observed.disable_ipv6);
    if mode != Mode::Tap {
        // No route leads back through this interface, so a strict filter drops all its IPv4 packets.
        set(rp_filter(&link.name), &observed.rp_filter);
    }
    changes.extend(observed.offloads.iter().map(|name| Change::Offload { name: name.clone() }));
    let flags = [
        (mode != Mode::Tap && link.arp, Change::NoArp {}),
        (!link.all_multicast, Change::AllMulticast {}),
        (!link.up, Change::Up {}),
        (is_xdp(mode), Change::Program {}),
        (mode == Mode::Tap, Change::Redirect { to: tap.to_owned(), own_qdisc: !observed.has_qdisc }),
    ];
    changes.extend(flags.into_iter().filter(|(wanted, _)| *wanted).map(|(_, change)| change));
    Ok(merge(changes, before, mode))
}

/// Merges what is needed now with what was changed before.
fn merge(now: Vec<Change>, before: &[Change], mode: Mode) -> Vec<Change> {
    let needed = |change: &&Change| match change {
        Change::Redirect { .. } => mode == Mode::Tap,
        Change::NoArp {} => mode != Mode::Tap,
        // It is made when the twin needs it.
        Change::Promiscuous {} => false,
        Change::Program {} => is_xdp(mode),
        Change::Sysctl { key, .. } => mode != Mode::Tap || !key.ends_with("rp_filter"),
        Change::Offload { name } => {
            let raw = RAW_OFFLOADS.iter().any(|(_, raw)| raw == name);
            !(raw && mode == Mode::Tap || name == XDP_OFFLOAD.1 && !is_xdp(mode))
        }
        _ => true,
    };
    let mut merged: Vec<Change> = before.iter().filter(needed).cloned().collect();
    for change in now {
        match merged.iter_mut().find(|old| old.is_about(&change)) {
            // The qdisc is still ours if it was.
            Some(Change::Redirect { to, .. }) => {
                if let Change::Redirect { to: now, .. } = change {
                    *to = now;
                }
            }
            Some(_) => {}
            None => merged.push(change),
        }
    }
    merged.sort_by_key(Change::order);
    merged
}
