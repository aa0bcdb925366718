//! Namespaces: names, what is bound to them, and what is in them.

use std::collections::{HashMap, HashSet};

use super::{content, start};
use crate::model::input_error::InputErrors;
use crate::model::{Config, Namespace, namespace};

/// Most namespaces beside the default one.
pub const MAX_NAMESPACES: usize = pollux_dataplane::worker::binding::MAX_NAMESPACES;

pub(super) fn namespaces(config: &Config, errors: &mut InputErrors) {
    let all = &config.namespaces;
    if all.len() > MAX_NAMESPACES {
        errors.add(
            "namespaces",
            format!("there are {} and {MAX_NAMESPACES} are the most", all.len()),
            "remove some, or share the work with another daemon",
        );
    }
    let (mut names, mut netns, mut taken) = (HashMap::new(), HashMap::new(), HashMap::new());
    for (index, new) in all.iter().enumerate() {
        let place = format!("namespaces[{index}]");
        name(&format!("{place}.name"), &new.name, errors);
        if let Some(first) = names.insert(new.name.as_str(), index) {
            errors.add(
                format!("{place}.name"),
                format!("{:?} is the name of namespaces[{first}] already", new.name),
                "give each namespace its own name",
            );
        } else if let Some(first) = new.start.kernel.then(|| netns.insert(new.netns(), index)).flatten() {
            errors.add(
                format!("{place}.netns"),
                format!("{:?} is the network namespace of namespaces[{first}] already", new.netns()),
                "give each namespace its own, or set start.kernel to false",
            );
        }
        if let Some(given) = &new.netns {
            netns_name(&format!("{place}.netns"), given, errors);
        }
        bindings(&place, new, &mut taken, errors);
        inside(&place, all, new, errors);
    }
    links(all, None, config, errors);
}

fn name(place: &str, name: &str, errors: &mut InputErrors) {
    if name == namespace::DEFAULT {
        errors.add(
            place,
            "\"default\" is the namespace that is always there",
            "use another name, or write its services at the top of the configuration",
        );
    } else if !is_name(name) {
        errors.add(
            place,
            format!("{name:?} cannot be a name"),
            "use 1 to 31 letters, digits, '-', '_' or '.'",
        );
    }
}

fn netns_name(place: &str, name: &str, errors: &mut InputErrors) {
    if !is_name(name) {
        errors.add(
            place,
            format!("{name:?} cannot be the name of a network namespace"),
            "use 1 to 31 letters, digits, '-', '_' or '.'",
        );
    }
}

/// What is a file in `/run/netns` too.
fn is_name(name: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    (1..=31).contains(&name.len()) && name.chars().all(good) && !name.starts_with(['.', '-'])
}

fn bindings<'a>(
    place: &str,
    new: &'a Namespace,
    taken: &mut HashMap<(&'a str, Option<u16>), &'a str>,
    errors: &mut InputErrors,
) {
    for (index, binding) in new.bindings.iter().enumerate() {
        let place = format!("{place}.bindings[{index}]");
        if let Some(vlan) = binding.vlan.filter(|vlan| !(1..=4094).contains(vlan)) {
            errors.add(
                format!("{place}.vlan"),
                format!("{vlan} is outside 1 to 4094"),
                "use the network's tag, or leave it out for the whole port",
            );
        }
        if let Some(owner) = taken.insert((&binding.port, binding.vlan), &new.name) {
            errors.add(
                &place,
                format!("{binding} is bound to namespace {owner:?} already"),
                "bind a port, or a VLAN of it, to one namespace only",
            );
        }
    }
}

/// What is in a namespace, as if it stood alone.
fn inside(place: &str, all: &[Namespace], new: &Namespace, errors: &mut InputErrors) {
    let (config, mut own) = (new.content(), InputErrors::default());
    start(&config.start, &mut own);
    content(&config, &mut own);
    links(all, Some(&new.name), &config, &mut own);
    for error in own.0 {
        errors.add(format!("{place}.{}", error.location), error.error, error.hint);
    }
}

/// Links of static facts are on what is bound to their namespace.
fn links(all: &[Namespace], me: Option<&str>, config: &Config, errors: &mut InputErrors) {
    // A port may be bound by its number; the daemon, which knows the names, checks again.
    let numbers: HashSet<&str> = all.iter().flat_map(|n| &n.bindings).map(|b| b.port.as_str()).collect();
    if numbers.iter().any(|port| port.bytes().all(|byte| byte.is_ascii_digit())) {
        return;
    }
    for (index, link) in config.network.iter().flat_map(|network_config| &network_config.links).enumerate() {
        let owner = namespace::owner(all, &link.port, link.vlan);
        if owner != me {
            let vlan = link.vlan.map(|vlan| format!(" VLAN {vlan}")).unwrap_or_default();
            let whose = owner.unwrap_or(namespace::DEFAULT);
            errors.add(
                format!("network.links[{index}]"),
                format!("{}{vlan} belongs to namespace {whose:?}", link.port),
                "bind it to the namespace whose link it is, or remove the link",
            );
        }
    }
}
