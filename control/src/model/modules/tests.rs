//! Tests of switching modules off.

use super::*;
use crate::model::edit::{self, Edit, EditError, ModuleSet, ServiceAdd};
use crate::model::validate::validate;
use crate::model::{Scheduler, parse};

fn config() -> Config {
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
    parse::toml(text).unwrap()
}

fn set(config: &mut Config, disable: &[&str], enable: &[&str]) -> Result<(), String> {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    edit::set_modules(config, &ModuleSet { disable: owned(disable), enable: owned(enable) })
        .map_err(|error| error.to_string())
}

#[test]
fn modules_in_use_stay_on_and_changes_are_atomic() {
    let mut config = config();
    let refused = set(&mut config, &["ip_vs_sctp", "ip_vs_rr"], &[]).unwrap_err();
    assert!(refused.contains("ip_vs_rr is used by tcp 10.9.9.1:80"), "{refused}");
    assert!(config.settings.disabled_modules.is_empty());
    let refused = set(&mut config, &["ip_vs"], &[]).unwrap_err();
    assert!(
        refused.contains("\"ip_vs\" is not a module that can be switched off; use one of ip_vs_tcp"),
        "{refused}"
    );
    set(&mut config, &["ip_vs_sctp", "ip_vs_esp"], &[]).unwrap();
    assert_eq!(protocols_off(&config.settings.disabled_modules), [protocol::SCTP, protocol::ESP]);
    set(&mut config, &[], &["ip_vs_sctp"]).unwrap();
    assert_eq!(registered_protocols(&config.settings.disabled_modules), "TCP, UDP, SCTP, AH");
}

#[test]
fn a_service_with_a_disabled_module_is_refused() {
    let mut config = config();
    set(&mut config, &["ip_vs_udp", "ip_vs_wlc"], &[]).unwrap();
    let mut new = Service::new(ServiceKey::Address {
        protocol: Protocol::Udp,
        address: [10, 9, 9, 1].into(),
        l4_port: 53,
    });
    let add = Edit::ServiceAdd(ServiceAdd { service: new.clone() });
    let Err(EditError::Invalid(errors)) = edit::apply_edit(&mut config, add) else { panic!() };
    let locations: Vec<_> = errors.0.iter().map(|error| error.location.as_str()).collect();
    assert_eq!(locations, ["service.protocol", "service.scheduler"]);
    new.scheduler = Scheduler::Rr;
    config.services.push(new);
    let errors = validate(&config).unwrap_err();
    assert_eq!(errors.0[0].location, "services[2].protocol");
}

#[test]
fn registrations_have_the_kernels_text() {
    assert_eq!(registration("ip_vs_rr", true).unwrap(), "[rr] scheduler registered.");
    assert_eq!(registration("ip_vs_pe_sip", false).unwrap(), "[sip] pe unregistered.");
    assert_eq!(registration("ip_vs_tcp", true), None);
}
