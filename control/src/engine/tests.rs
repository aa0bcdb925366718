//! Tests of requests, without workers.

mod bed;
mod difference;
mod state_file;

use serde_json::{Value, json};

use pollux_dataplane::io::mem::Frame;
use pollux_dataplane::worker::binding::NamespaceId;

use super::*;
use crate::api::view::ServiceList;
use crate::engine::compile::Compiler;
use crate::engine::namespace_operations::NamespaceWorkers;
use crate::kernel::namespace::{KernelMirror, KernelNamespaceError};
use crate::kernel::namespace::{KernelNamespaceOperations, KernelRings};
use crate::kernel::netns::NetnsError;
use crate::model::edit::Errno;
use crate::model::{Binding, Namespace};

mod live;
mod namespaces;

pub(super) struct NoPorts;

impl Ports for NoPorts {
    fn views(&self) -> Vec<PortView> {
        Vec::new()
    }

    fn names(&self) -> Vec<String> {
        vec!["client".to_owned(), "server".to_owned()]
    }

    fn links_up(&self) -> Vec<bool> {
        vec![true; 2]
    }

    fn follow(&mut self, _: usize, _: &TwinState) {}
}

/// A kernel without twins, which refuses a namespace called `bad` and namespaces with two bindings.
pub(super) struct NoKernel;

fn refusal() -> KernelNamespaceError {
    NetnsError::Ip { words: "netns add bad".to_owned(), why: "no".to_owned() }.into()
}

impl<P> KernelNamespaceOperations<P> for NoKernel {
    fn add(
        &mut self,
        _: NamespaceId,
        namespace: &Namespace,
        _: KernelRings<P>,
    ) -> Result<Option<KernelMirror>, KernelNamespaceError> {
        if namespace.name == "bad" { Err(refusal()) } else { Ok(None) }
    }

    fn prepare_bindings(
        &mut self,
        _: NamespaceId,
        bindings: &[Binding],
    ) -> Result<Option<KernelMirror>, KernelNamespaceError> {
        if bindings.len() == 2 { Err(refusal()) } else { Ok(None) }
    }

    fn cancel_bindings(&mut self, _: NamespaceId) {}

    fn commit_bindings(&mut self) {}

    fn remove(&mut self, _: NamespaceId) {}
}

pub(crate) fn engine() -> Engine {
    engine_of(&crate::model::Start::default())
}

pub(crate) fn engine_of(start: &crate::model::Start) -> Engine {
    let compiler = Compiler::new(start, ["client".to_owned(), "server".to_owned()]);
    let default_namespace = NamespaceEngine::new(compiler, Workers::new(Vec::new()), None, Instant::now());
    let namespaces: NamespaceWorkers<Frame> = NamespaceWorkers::new(Vec::new(), 2, Box::new(NoKernel));
    Engine::new(default_namespace, Box::new(NoPorts), Box::new(namespaces), None)
}

pub(super) fn ask(engine: &mut Engine, method: &str, params: Value) -> Result<Value, Failure> {
    let request = serde_json::from_value(json!({ "method": method, "params": params })).unwrap();
    engine.handle(request).map(|reply| json!(reply))
}

pub(super) fn ask_in(
    engine: &mut Engine,
    namespace: &str,
    method: &str,
    params: Value,
) -> Result<Value, Failure> {
    let request = serde_json::from_value(json!({ "method": method, "params": params })).unwrap();
    engine.handle_in(Some(namespace), request).map(|reply| json!(reply))
}

#[track_caller]
pub(super) fn done(engine: &mut Engine, method: &str, params: Value) {
    assert_eq!(ask(engine, method, params), Ok(json!({})));
}

fn sticky() -> Value {
    json!({ "fwmark": 7, "family": "ipv6", "scheduler": "mh", "persistence": { "timeout": 60 },
        "destinations": [{ "address": "2001:db8::1", "l4_port": 0, "method": "nat", "upper_threshold": 9 }] })
}

#[test]
fn a_service_is_listed_with_all_its_fields() {
    let mut engine = engine();
    done(&mut engine, "service.add", json!({ "service": sticky() }));
    let list = ask(&mut engine, "service.list", json!({})).unwrap();
    let service = &list["services"][0];
    for (field, value) in [
        ("fwmark", json!(7)),
        ("family", json!("ipv6")),
        ("persistence", json!({ "timeout": 60 })),
        ("ops", json!(false)),
    ] {
        assert_eq!(service[field], value, "{field}");
    }
    let destination = &service["destinations"][0];
    assert_eq!((&destination["upper_threshold"], &destination["overloaded"]), (&json!(9), &json!(false)));
    assert_eq!(serde_json::from_value::<ServiceList>(list.clone()).map(|list| json!(list)).unwrap(), list);
}

#[test]
fn sysctls_are_read_back_as_rewritten() {
    let mut engine = engine();
    done(
        &mut engine,
        "sysctl.set",
        json!({ "values": { "net.ipv4.vs.drop_entry": "2", "sloppy_tcp": "5" } }),
    );
    let read = ask(&mut engine, "sysctl.get", json!({ "names": ["drop_entry", "sloppy_tcp"] })).unwrap();
    assert_eq!(read, json!({ "values": { "drop_entry": "1", "sloppy_tcp": "5" } }));
    let config = ask(&mut engine, "config.get", json!({})).unwrap();
    assert_eq!(config["settings"]["drop_entry"], json!(1));
    let refused = ask(&mut engine, "sysctl.set", json!({ "values": { "secure_tcp": "9" } })).unwrap_err();
    assert_eq!((refused.code(), refused.data().errno), (-32602, Some(Errno::EInval)));
    let unknown = ask(&mut engine, "sysctl.get", json!({ "names": ["nosuch"] })).unwrap_err();
    assert_eq!(unknown.data().errno, Some(Errno::ENoEnt));
    let applied = ask(&mut engine, "config.apply", json!({ "config": config })).unwrap();
    assert_eq!(applied["settings"], json!([]), "what is read can be applied and changes nothing");
}

#[test]
fn only_existing_services_can_be_zeroed() {
    let mut engine = engine();
    done(&mut engine, "stats.zero", json!({}));
    let unknown = ask(&mut engine, "stats.zero", json!({ "service": { "fwmark": 7 } })).unwrap_err();
    assert_eq!(unknown.data().errno, Some(Errno::ESrch));
    done(&mut engine, "service.add", json!({ "service": { "fwmark": 7 } }));
    done(&mut engine, "stats.zero", json!({ "service": { "fwmark": 7 } }));
}

#[test]
fn fwmark_rules_name_existing_ports() {
    let mut engine = engine();
    done(&mut engine, "fwmarks.set", json!({ "fwmarks": [{ "fwmark": 7, "port": "client" }] }));
    let refused =
        ask(&mut engine, "fwmarks.set", json!({ "fwmarks": [{ "fwmark": 7, "port": "eth9" }] })).unwrap_err();
    assert_eq!(refused.code(), -32602);
    assert_eq!(refused.data().errors[0].location, "fwmarks[0].port");
    let config = ask(&mut engine, "config.get", json!({})).unwrap();
    assert_eq!(config["fwmarks"], json!([{ "fwmark": 7, "port": "client" }]));
}

#[test]
fn pages_end_after_the_templates() {
    let mut engine = engine();
    for cursor in [json!(null), json!("0-0"), json!("7-99999999999999")] {
        let page = ask(&mut engine, "connection.list", json!({ "cursor": cursor })).unwrap();
        assert_eq!(page, json!({ "connections": [] }), "{cursor}");
    }
    assert!(ask(&mut engine, "connection.list", json!({ "cursor": "x" })).is_err());
}

fn tcp(l4_port: u16) -> Value {
    json!({ "protocol": "tcp", "address": "10.9.9.1", "l4_port": l4_port })
}

fn server(number: u8) -> Value {
    json!({ "address": format!("10.0.2.{number}"), "l4_port": 80, "method": "nat" })
}

#[test]
fn batch_edits_are_performed_in_order_with_separate_results() {
    let mut engine = engine();
    let key = |number| json!({ "address": format!("10.0.2.{number}"), "l4_port": 80 });
    let edits = json!([
        { "method": "service.add", "params": { "service": tcp(80) } },
        { "method": "destination.add", "params": { "service": tcp(80), "destination": server(1) } },
        { "method": "destination.add", "params": { "service": tcp(80), "destination": server(1) } },
        { "method": "destination.add", "params": { "service": tcp(81), "destination": server(1) } },
        { "method": "stats.zero", "params": { "service": tcp(81) } },
        { "method": "destination.remove", "params": { "service": tcp(80), "destination": key(2) } },
        { "method": "destination.edit", "params": { "service": tcp(80), "destination": key(1), "weight": 7 } },
        { "method": "settings.set", "params": { "udp_timeout": 5 } },
        { "method": "service.remove", "params": { "service": tcp(80) } },
        { "method": "service.add", "params": { "service": tcp(80) } },
        { "method": "destination.add", "params": { "service": tcp(80), "destination": server(3) } },
    ]);
    let edited = ask(&mut engine, "config.edit", json!({ "edits": edits })).unwrap();
    assert_eq!(edited["done"], json!(7));
    let refused: Vec<_> = edited["refused"]
        .as_array()
        .unwrap()
        .iter()
        .map(|refused| json!([refused["at"], refused["data"]["errno"]]))
        .collect();
    assert_eq!(json!(refused), json!([[2, "EEXIST"], [3, "ESRCH"], [4, "ESRCH"], [5, "ENOENT"]]));
    let config = ask(&mut engine, "config.get", json!({})).unwrap();
    let there = config["services"][0]["destinations"].as_array().unwrap();
    assert_eq!((there.len(), &there[0]["address"]), (1, &json!("10.0.2.3")));
    assert_eq!(config["settings"]["udp_timeout"], json!(5));
    let brief = ask(&mut engine, "service.list", json!({ "brief": true })).unwrap();
    assert_eq!(
        brief["services"][0]["destinations"][0],
        json!({ "address": "10.0.2.3", "l4_port": 80, "method": "nat", "weight": 1 })
    );
    assert_eq!(
        ask(&mut engine, "config.edit", json!({ "edits": [] })).unwrap(),
        json!({ "done": 0, "refused": [] })
    );
}

#[test]
fn a_service_added_again_in_the_same_request_begins_at_zero() {
    let mut engine = engine();
    done(&mut engine, "service.add", json!({ "service": tcp(80) }));
    let before = engine.default_namespace.compiler.service_id(&serde_json::from_value(tcp(80)).unwrap());
    let edits = json!([
        { "method": "service.add", "params": { "service": tcp(81) } },
        { "method": "service.remove", "params": { "service": tcp(80) } },
        { "method": "service.add", "params": { "service": tcp(80) } },
        { "method": "destination.add", "params": { "service": tcp(80), "destination": server(1) } },
    ]);
    ask(&mut engine, "config.edit", json!({ "edits": edits })).unwrap();
    let snapshot = engine.default_namespace.compiler.snapshot().clone();
    let id = engine.default_namespace.compiler.service_id(&serde_json::from_value(tcp(80)).unwrap());
    assert_eq!(id, before, "its id was freed");
    assert_eq!(snapshot.services.service(id.unwrap()).unwrap().destinations.len(), 1);
}

#[test]
fn debug_sites_are_switched_all_or_none_and_follow_debug_level() {
    let mut engine = engine();
    let on = |engine: &mut Engine, query: &str| {
        let found = ask(engine, "debug.sites", json!({ "query": query })).unwrap();
        let sites = found["sites"].as_array().unwrap();
        (sites.len(), sites.iter().filter(|site| site["on"] == json!(true)).count())
    };
    assert_eq!(on(&mut engine, "module ip_vs_tcp"), (1, 0));
    let matched = ask(&mut engine, "debug.set", json!({ "query": "module ip_vs_tcp +p" })).unwrap();
    assert_eq!(matched, json!({ "matched": 1 }));
    assert_eq!(on(&mut engine, "module ip_vs_tcp"), (1, 1));
    let switches = engine.default_namespace.compiler.snapshot().debug;
    assert!(switches.is_on(pollux_dataplane::trace::Kind::TcpState.first()));
    let refused = ask(&mut engine, "debug.set", json!({ "query": "=_; modul ip_vs +p" })).unwrap_err();
    assert!(refused.to_string().contains("\"modul\" is not a keyword"), "{refused}");
    assert_eq!(on(&mut engine, "module ip_vs_tcp"), (1, 1), "nothing has changed");
    done(&mut engine, "sysctl.set", json!({ "values": { "debug_level": "6" } }));
    assert_eq!(on(&mut engine, "module ip_vs_rr"), (3, 3));
    done(&mut engine, "settings.set", json!({ "debug_level": -1 }));
    assert_eq!(on(&mut engine, "module ip_vs_rr"), (3, 0));
}

#[test]
fn changes_of_the_configuration_are_logged_as_debug_events() {
    let mut engine = engine();
    let events = engine.debug().follow();
    done(&mut engine, "settings.set", json!({ "debug_level": 3, "tcp_timeout": 60 }));
    done(&mut engine, "service.add", json!({ "service": sticky() }));
    let destination = json!({ "service": { "fwmark": 7, "family": "ipv6" },
        "destination": { "address": "2001:db8::1", "l4_port": 0 } });
    done(&mut engine, "destination.remove", destination);
    let again = json!({ "service": { "fwmark": 7, "family": "ipv6" },
        "destination": { "address": "2001:db8::1", "l4_port": 0, "method": "nat" } });
    done(&mut engine, "destination.add", again);
    done(&mut engine, "service.remove", json!({ "service": { "fwmark": 7, "family": "ipv6" } }));
    let texts: Vec<String> = events.0.try_iter().map(|event| event.event.text.clone()).collect();
    assert_eq!(
        texts,
        [
            "IPVS: Setting timeout tcp:60 tcpfin:120 udp:300",
            "IPVS: added service fwmark 7 ipv6, scheduler mh",
            "IPVS: added destination [2001:db8::1]:0 to service fwmark 7 ipv6",
            "IPVS: Moving dest [2001:db8::1]:0 into trash, connections=0",
            "IPVS: Get destination [2001:db8::1]:0 from trash, connections=0",
            "IPVS: added destination [2001:db8::1]:0 to service fwmark 7 ipv6",
            "IPVS: edited destination [2001:db8::1]:0 of service fwmark 7 ipv6",
            "IPVS: removed service fwmark 7 ipv6",
            "IPVS: Moving dest [2001:db8::1]:0 into trash, connections=0",
        ]
    );
}

#[test]
fn a_disabled_module_cannot_be_used() {
    let mut engine = engine();
    done(&mut engine, "module.set", json!({ "disable": ["ip_vs_sctp"] }));
    assert!(engine.default_namespace.compiler.snapshot().settings.is_off(132));
    let sctp = json!({ "protocol": "sctp", "address": "10.9.9.1", "l4_port": 80 });
    let refused = ask(&mut engine, "service.add", json!({ "service": sctp })).unwrap_err();
    assert!(refused.to_string().contains("service.protocol: ip_vs_sctp is switched off"), "{refused}");
    done(&mut engine, "module.set", json!({ "enable": ["ip_vs_sctp"] }));
    done(&mut engine, "service.add", json!({ "service": sctp }));
    let refused =
        ask(&mut engine, "settings.set", json!({ "disabled_modules": ["ip_vs_sctp"] })).unwrap_err();
    assert!(refused.to_string().contains("ip_vs_sctp is used by sctp 10.9.9.1:80"), "{refused}");
    let list = ask(&mut engine, "module.list", json!({})).unwrap();
    assert_eq!(list["modules"][3]["name"], json!("ip_vs_sctp"));
    assert_eq!((&list["modules"][3]["uses"], &list["modules"][3]["enabled"]), (&json!(1), &json!(true)));
}
