//! The modules of the balancer, by their names in Linux, and the effect of switching them off.
//!
//! Packets of a disabled protocol pass to the kernel, as if the protocol was not built in. A disabled scheduler or engine
//! cannot be used by a service. A module in use cannot be switched off.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use pollux_dataplane::service;
use pollux_dataplane::wire::protocol;

use crate::model::input_error::InputErrors;
use crate::model::{Config, Engine, Protocol, Service, ServiceKey};

/// The balancer itself.
pub const CORE: &str = "ip_vs";
/// The persistence engine for SIP.
pub const SIP: &str = "ip_vs_pe_sip";

/// Protocols: module, number, and the name the kernel logs. In the order in which the kernel registers them.
const PROTOCOLS: [(&str, u8, &str); 5] = [
    ("ip_vs_tcp", protocol::TCP, "TCP"),
    ("ip_vs_udp", protocol::UDP, "UDP"),
    ("ip_vs_sctp", protocol::SCTP, "SCTP"),
    ("ip_vs_ah", protocol::AH, "AH"),
    ("ip_vs_esp", protocol::ESP, "ESP"),
];

/// Names of the modules that can be switched off.
pub fn switchable() -> impl Iterator<Item = &'static str> {
    protocols().chain(schedulers()).chain([SIP])
}

/// The modules of protocols.
pub fn protocols() -> impl Iterator<Item = &'static str> {
    PROTOCOLS.into_iter().map(|(module, ..)| module)
}

/// The modules of schedulers.
pub fn schedulers() -> impl Iterator<Item = &'static str> {
    service::Scheduler::ALL.into_iter().filter_map(service::Scheduler::module)
}

/// Protocol numbers of the disabled protocols.
pub fn protocols_off(disabled: &BTreeSet<String>) -> Vec<u8> {
    let off = PROTOCOLS.iter().filter(|(module, ..)| disabled.contains(*module));
    off.map(|(_, number, _)| *number).collect()
}

/// Names of the enabled protocols, as the kernel logs them.
pub fn registered_protocols(disabled: &BTreeSet<String>) -> String {
    let on = PROTOCOLS.iter().filter(|(module, ..)| !disabled.contains(*module));
    on.map(|(_, _, name)| *name).collect::<Vec<_>>().join(", ")
}

/// The kernel's log line for loading or unloading a module, such as `[rr] scheduler registered.`; `None` for a protocol.
pub fn registration(module: &str, on: bool) -> Option<String> {
    let what = if on { "registered" } else { "unregistered" };
    if module == SIP {
        return Some(format!("[sip] pe {what}."));
    }
    let scheduler = service::Scheduler::ALL.into_iter().find(|known| known.module() == Some(module))?;
    Some(format!("[{}] scheduler {what}.", scheduler.name()))
}

/// The modules a service needs, each with the field that selects it.
fn needs(service: &Service) -> impl Iterator<Item = (&'static str, &'static str)> {
    let protocol = match service.key {
        ServiceKey::Address { protocol: Protocol::Tcp, .. } => Some(("protocol", "ip_vs_tcp")),
        ServiceKey::Address { protocol: Protocol::Udp, .. } => Some(("protocol", "ip_vs_udp")),
        ServiceKey::Address { protocol: Protocol::Sctp, .. } => Some(("protocol", "ip_vs_sctp")),
        // It takes packets of all enabled protocols.
        ServiceKey::Fwmark { .. } => None,
    };
    let scheduler = service::Scheduler::from(service.scheduler).module().map(|module| ("scheduler", module));
    let engine = service.persistence.as_ref().and_then(|persistence| persistence.engine);
    let engine = engine.map(|Engine::Sip| ("persistence.engine", SIP));
    protocol.into_iter().chain(scheduler).chain(engine)
}

/// Checks that the modules a service needs are on.
pub fn service(location: &str, service: &Service, disabled: &BTreeSet<String>, errors: &mut InputErrors) {
    for (field, module) in needs(service).filter(|(_, module)| disabled.contains(*module)) {
        let kind = field.rsplit('.').next().unwrap_or(field);
        errors.add(
            format!("{location}.{field}"),
            format!("{module} is switched off"),
            format!("switch it on with `pollux modules enable {module}`, or use another {kind}"),
        );
    }
}

/// Checks the names of disabled modules.
pub fn names(location: &str, disabled: &BTreeSet<String>, errors: &mut InputErrors) {
    for name in disabled.iter().filter(|name| !switchable().any(|known| known == name.as_str())) {
        errors.add(
            location,
            format!("{name:?} is not a module that can be switched off"),
            format!("use one of {}", switchable().collect::<Vec<_>>().join(", ")),
        );
    }
}

/// Checks that no service needs the modules to be disabled.
pub fn unused(location: &str, config: &Config, disabled: &BTreeSet<String>, errors: &mut InputErrors) {
    for module in disabled {
        let users: Vec<String> = users(config, module).map(|key| key.to_string()).collect();
        if !users.is_empty() {
            errors.add(
                location,
                format!("{module} is used by {}", users.join(", ")),
                "remove or change these services first, or leave the module on",
            );
        }
    }
}

/// The services that use a module.
pub fn users<'a>(config: &'a Config, module: &'a str) -> impl Iterator<Item = ServiceKey> + 'a {
    let uses = move |service: &&Service| needs(service).any(|(_, needed)| needed == module);
    config.services.iter().filter(uses).map(|service| service.key)
}
