//! The list of modules and the services that use them.

use clap::ValueEnum;

use crate::api::view::{ModuleKind, ModuleList, ModuleView};
use crate::model::{Config, Destination, Method, ServiceKey, TunnelKind, modules};

/// Names of the forwarding methods, with the tunnel types in place of `tunnel`. They are part of the core and cannot be
/// switched off.
fn methods() -> impl Iterator<Item = &'static str> {
    let tunnels = TunnelKind::value_variants().iter().map(|kind| kind.name());
    [Method::Nat, Method::Dr].map(Method::name).into_iter().chain(tunnels)
}

/// Lists all modules with their users. `tables` is the size of the connection tables in bytes.
pub fn list(config: &Config, tables: u64) -> ModuleList {
    let plain = |name: &str, kind| ModuleView {
        name: name.to_owned(),
        kind,
        enabled: !config.settings.disabled_modules.contains(name),
        bytes: None,
        uses: 0,
        used_by: Vec::new(),
    };
    let used = |name: &str, kind| {
        let used_by: Vec<ServiceKey> = modules::users(config, name).collect();
        ModuleView { uses: used_by.len() as u64, used_by, ..plain(name, kind) }
    };
    let all: Vec<ServiceKey> = config.services.iter().map(|service| service.key).collect();
    let core = ModuleView {
        bytes: Some(tables),
        uses: all.len() as u64,
        used_by: all,
        ..plain(modules::CORE, ModuleKind::Core)
    };
    let mut listed = vec![core];
    listed.extend(modules::protocols().map(|name| used(name, ModuleKind::Protocol)));
    listed.extend(modules::schedulers().map(|name| used(name, ModuleKind::Scheduler)));
    listed.push(used(modules::SIP, ModuleKind::Engine));
    listed.extend(methods().map(|name| {
        let (uses, used_by) = by_method(config, name);
        ModuleView { uses, used_by, ..plain(name, ModuleKind::Method) }
    }));
    ModuleList { modules: listed }
}

/// Counts the destinations with this method, and returns their services.
fn by_method(config: &Config, method: &str) -> (u64, Vec<ServiceKey>) {
    let name = |destination: &Destination| match destination.method {
        Method::Tunnel => destination.tunnel.kind().name(),
        method => method.name(),
    };
    let (mut uses, mut used_by) = (0, Vec::new());
    for service in &config.services {
        let count = service.destinations.iter().filter(|destination| name(destination) == method).count();
        uses += count as u64;
        if count > 0 {
            used_by.push(service.key);
        }
    }
    (uses, used_by)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::parse;

    #[test]
    fn modules_are_listed_with_their_users() {
        let text = r#"
            [[services]]
            protocol = "tcp"
            address = "10.9.9.1"
            l4_port = 80
            scheduler = "rr"
            destinations = [
                { address = "10.0.2.11", l4_port = 80, method = "nat" },
                { address = "10.0.2.12", l4_port = 80, method = "tunnel" },
            ]
            [[services]]
            fwmark = 7
            scheduler = "none"
        "#;
        let config = parse::toml(text).unwrap();
        let list = list(&config, 4096).modules;
        let module = |name: &str| list.iter().find(|known| known.name == name).unwrap();
        assert_eq!((module("ip_vs").uses, module("ip_vs").bytes), (2, Some(4096)));
        assert_eq!(module("ip_vs_tcp").used_by, [config.services[0].key]);
        assert_eq!((module("ip_vs_rr").uses, module("ip_vs_wlc").uses, module("ip_vs_sctp").uses), (1, 0, 0));
        assert_eq!((module("nat").uses, module("ipip").uses, module("dr").uses), (1, 1, 0));
        assert!(list.iter().all(|module| module.enabled));
        assert_eq!(list.len(), 1 + 5 + 14 + 1 + 5);
    }
}
