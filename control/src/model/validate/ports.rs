//! DPDK ports: names, twins and packet sizes.

use std::collections::HashMap;

use crate::model::Port;
use crate::model::input_error::InputErrors;

/// The packet sizes we can carry: IPv4 asks for 68 at least, and a jumbo frame holds 9600 and its headers.
const MTU: std::ops::RangeInclusive<u32> = 68..=9600;

pub(super) fn ports(ports: &[Port], errors: &mut InputErrors) {
    let mut names = HashMap::new();
    let mut twins = HashMap::new();
    for (index, port) in ports.iter().enumerate() {
        let place = format!("ports[{index}]");
        name(&place, &port.name, errors);
        if let Some(first) = names.insert(port.name.as_str(), index) {
            errors.add(
                format!("{place}.name"),
                format!("{:?} is the port of ports[{first}] again", port.name),
                "list each port once",
            );
        }
        if let Some(twin) = port.twin.as_deref() {
            interface(&format!("{place}.twin"), twin, errors);
            if let Some(first) = twins.insert(twin, index) {
                errors.add(
                    format!("{place}.twin"),
                    format!("{twin:?} is the twin of ports[{first}] already"),
                    "give each port a twin of its own",
                );
            }
        }
        mtu(&format!("{place}.mtu"), port.mtu, errors);
    }
}

/// DPDK keeps names in 64 bytes.
fn name(place: &str, name: &str, errors: &mut InputErrors) {
    let odd = name.is_empty() || name.len() > 63 || name.chars().any(|c| c.is_whitespace() || c.is_control());
    if odd {
        errors.add(
            format!("{place}.name"),
            format!("{name:?} is not the name of a DPDK device"),
            "use a PCI address such as 0000:3b:00.0, or the name of a --vdev such as net_tap0",
        );
    }
}

/// What the kernel takes as the name of an interface.
pub(super) fn interface(place: &str, name: &str, errors: &mut InputErrors) {
    let bad = |c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control();
    if name.is_empty() || name.len() > 15 || name == "." || name == ".." || name.contains(bad) {
        errors.add(
            place,
            format!("{name:?} cannot be the name of an interface"),
            "use 1 to 15 letters, digits, '-', '_' or '.'",
        );
    }
}

pub(super) fn mtu(place: &str, mtu: u32, errors: &mut InputErrors) {
    if !MTU.contains(&mtu) {
        errors.add(
            place,
            format!("{mtu} bytes is outside {} to {}", MTU.start(), MTU.end()),
            "use the network's packet size, most often 1500",
        );
    }
}
