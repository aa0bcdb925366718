//! Namespaces: names, bindings and content.

use std::collections::{HashMap, HashSet};

use super::{content, start};
use crate::model::input_error::InputErrors;
use crate::model::{Binding, Config, Namespace, namespace};

/// Maximum number of namespaces in addition to the default one.
pub const MAX_NAMESPACES: usize = pollux_dataplane::worker::binding::MAX_NAMESPACES;

pub(super) fn namespaces(config: &Config, errors: &mut InputErrors) {
    let all = &config.namespaces;
    if all.len() > MAX_NAMESPACES {
        errors.add(
            "namespaces",
            format!("{} namespaces are too many, the maximum is {MAX_NAMESPACES}", all.len()),
            "remove some, or run a second polluxd",
        );
    }
    let (mut names, mut netns, mut taken) = (HashMap::new(), HashMap::new(), HashMap::new());
    for (index, new) in all.iter().enumerate() {
        let location = format!("namespaces[{index}]");
        name(&format!("{location}.name"), &new.name, errors);
        if let Some(first) = names.insert(new.name.as_str(), index) {
            errors.add(
                format!("{location}.name"),
                format!("{:?} is already the name of namespaces[{first}]", new.name),
                "give each namespace its own name",
            );
        } else if let Some(first) = new.start.kernel.then(|| netns.insert(new.netns(), index)).flatten() {
            errors.add(
                format!("{location}.netns"),
                format!("{:?} is already the network namespace of namespaces[{first}]", new.netns()),
                "give each namespace its own netns, or set start.kernel to false",
            );
        }
        if let Some(given) = &new.netns {
            netns_name(&format!("{location}.netns"), given, errors);
        }
        bindings(&location, new, &mut taken, errors);
        namespace_content(&location, all, new, errors);
    }
    links(all, None, config, errors);
}

fn name(location: &str, name: &str, errors: &mut InputErrors) {
    if name == namespace::DEFAULT {
        errors.add(
            location,
            "\"default\" is reserved for the default namespace",
            "use another name, or put its services at the top level of the configuration",
        );
    } else if !is_name(name) {
        errors.add(location, format!("{name:?} is not a valid namespace name"), NAME_HINT);
    }
}

fn netns_name(location: &str, name: &str, errors: &mut InputErrors) {
    if !is_name(name) {
        errors.add(location, format!("{name:?} is not a valid name of a network namespace"), NAME_HINT);
    }
}

const NAME_HINT: &str = "use 1 to 31 letters, digits, '-', '_' or '.', and begin with a letter, digit or '_'";

/// Returns true for a valid name, which is also a file name in `/run/netns`.
fn is_name(name: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    (1..=31).contains(&name.len()) && name.chars().all(good) && !name.starts_with(['.', '-'])
}

fn bindings<'a>(
    location: &str,
    new: &'a Namespace,
    taken: &mut HashMap<(&'a str, Option<u16>), &'a str>,
    errors: &mut InputErrors,
) {
    for (index, binding) in new.bindings.iter().enumerate() {
        let location = format!("{location}.bindings[{index}]");
        if let Some(vlan) = binding.vlan {
            let hint = "use a VLAN ID in this range, or leave it out for the whole port";
            errors.range(format!("{location}.vlan"), vlan, "", 1..=4094, hint);
        }
        if let Some(owner) = taken.insert((&binding.port, binding.vlan), &new.name) {
            errors.add(
                &location,
                format!("{binding} is already bound to namespace {owner:?}"),
                "bind each port, or VLAN of a port, to one namespace only",
            );
        }
    }
}

/// Checks the content of a namespace on its own.
fn namespace_content(location: &str, all: &[Namespace], new: &Namespace, errors: &mut InputErrors) {
    let (config, mut own) = (new.content(), InputErrors::default());
    start(&config.start, &mut own);
    content(&config, &mut own);
    links(all, Some(&new.name), &config, &mut own);
    for error in own.0 {
        errors.add(format!("{location}.{}", error.location), error.error, error.hint);
    }
}

/// Checks that links of the static network configuration are on ports and VLANs of their own namespace.
fn links(all: &[Namespace], this: Option<&str>, config: &Config, errors: &mut InputErrors) {
    // A port may be bound by its number; only the daemon knows its name and repeats this check.
    let numbers: HashSet<&str> = all.iter().flat_map(|n| &n.bindings).map(|b| b.port.as_str()).collect();
    if numbers.iter().any(|port| port.bytes().all(|byte| byte.is_ascii_digit())) {
        return;
    }
    for (index, link) in config.network.iter().flat_map(|network_state| &network_state.links).enumerate() {
        let owner = namespace::owner(all, &link.port, link.vlan);
        if owner != this {
            let binding = Binding { port: link.port.clone(), vlan: link.vlan };
            let whose = owner.unwrap_or(namespace::DEFAULT);
            errors.add(
                format!("network.links[{index}]"),
                format!("{binding} belongs to namespace {whose:?}"),
                "move the link to that namespace, or bind its port and VLAN to this one",
            );
        }
    }
}
