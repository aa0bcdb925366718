//! DPDK ports: names, twins and packet sizes.

use std::collections::HashMap;

use crate::model::Port;
use crate::model::input_error::InputErrors;

/// Range of MTUs, in bytes: the minimum of IPv4 (RFC 791), and what fits in a jumbo frame.
const MTU: std::ops::RangeInclusive<u32> = 68..=9600;

pub(super) fn ports(ports: &[Port], errors: &mut InputErrors) {
    let mut names = HashMap::new();
    let mut twins = HashMap::new();
    for (index, port) in ports.iter().enumerate() {
        let location = format!("ports[{index}]");
        name(&location, &port.name, errors);
        if let Some(first) = names.insert(port.name.as_str(), index) {
            errors.add(
                format!("{location}.name"),
                format!("{:?} is already the name of ports[{first}]", port.name),
                "list each port once",
            );
        }
        if let Some(twin) = port.twin.as_deref() {
            interface(&format!("{location}.twin"), twin, errors);
            if let Some(first) = twins.insert(twin, index) {
                errors.add(
                    format!("{location}.twin"),
                    format!("{twin:?} is already the twin of ports[{first}]"),
                    "give each port its own twin name",
                );
            }
        }
        mtu(&format!("{location}.mtu"), port.mtu, errors);
    }
}

/// DPDK stores device names in 64 bytes.
fn name(location: &str, name: &str, errors: &mut InputErrors) {
    let invalid =
        name.is_empty() || name.len() > 63 || name.chars().any(|c| c.is_whitespace() || c.is_control());
    if invalid {
        errors.add(
            format!("{location}.name"),
            format!("{name:?} is not a valid DPDK device name"),
            "use a PCI address such as 0000:3b:00.0, or the name of a --vdev such as net_tap0",
        );
    }
}

/// Returns true if the kernel accepts the name for an interface, also for a TAP interface, where `%` stands for a number.
pub fn is_interface_name(name: &str) -> bool {
    let bad = |c: char| matches!(c, '/' | ':' | '%') || c.is_whitespace() || c.is_control();
    (1..=15).contains(&name.len()) && name != "." && name != ".." && !name.contains(bad)
}

/// Checks that the kernel accepts `name` for an interface.
pub(super) fn interface(location: &str, name: &str, errors: &mut InputErrors) {
    if !is_interface_name(name) {
        errors.add(
            location,
            format!("{name:?} is not a valid interface name"),
            "use 1 to 15 letters, digits, '-', '_' or '.'",
        );
    }
}

pub(super) fn mtu(location: &str, mtu: u32, errors: &mut InputErrors) {
    errors.range(location, mtu, "bytes", MTU, "use the MTU of the network, usually 1500");
}
