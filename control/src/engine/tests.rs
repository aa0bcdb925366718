//! Requests and what they lead to, with no worker to wait for.

use serde_json::{Value, json};

use pollux_dataplane::io::mem::Frame;
use pollux_dataplane::worker::binding::NamespaceId;

use super::*;
use crate::compile::Compiler;
use crate::edit::Errno;
use crate::house::{Carries, KernelRings, Tenants};
use crate::kernel::netns::NetnsError;
use crate::kernel::realm::{Heard, RealmError};
use crate::model::{Binding, Namespace};
use crate::view::ServiceList;

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
}

/// Nobody carries frames to the kernel, which has its own mind about what is called `bad` or has two bindings.
pub(super) struct NoKernel;

fn refuses() -> RealmError {
    NetnsError::Ip { words: "netns add bad".to_owned(), why: "no".to_owned() }.into()
}

impl<P> Carries<P> for NoKernel {
    fn join(
        &mut self,
        _: NamespaceId,
        of: &Namespace,
        _: KernelRings<P>,
    ) -> Result<Option<Heard>, RealmError> {
        if of.name == "bad" { Err(refuses()) } else { Ok(None) }
    }

    fn rebind(&mut self, _: NamespaceId, bindings: &[Binding]) -> Result<Option<Heard>, RealmError> {
        if bindings.len() == 2 { Err(refuses()) } else { Ok(None) }
    }

    fn stay(&mut self, _: NamespaceId) {}

    fn bound(&mut self) {}

    fn leave(&mut self, _: NamespaceId) {}
}

pub(super) fn engine() -> Engine {
    let ports = ["client".to_owned(), "server".to_owned()];
    let compiler = Compiler::new(&crate::model::Start::default(), ports);
    let home = Instance::new(compiler, Workers::new(Vec::new()), None, Instant::now());
    let house: Tenants<Frame> = Tenants::new(Vec::new(), 2, Box::new(NoKernel));
    Engine::new(home, Box::new(NoPorts), Box::new(house), None)
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
    json!({ "mark": 7, "family": "ipv6", "scheduler": "mh", "persistence": { "timeout": 60 },
        "destinations": [{ "address": "2001:db8::1", "l4_port": 0, "method": "nat", "upper_threshold": 9 }] })
}

#[test]
fn a_service_is_listed_with_all_that_was_said_of_it() {
    let mut engine = engine();
    done(&mut engine, "service.add", json!({ "service": sticky() }));
    let list = ask(&mut engine, "service.list", json!({})).unwrap();
    let service = &list["services"][0];
    for (field, value) in [
        ("mark", json!(7)),
        ("family", json!("ipv6")),
        ("persistence", json!({ "timeout": 60 })),
        ("one_packet", json!(false)),
    ] {
        assert_eq!(service[field], value, "{field}");
    }
    let destination = &service["destinations"][0];
    assert_eq!((&destination["upper_threshold"], &destination["overloaded"]), (&json!(9), &json!(false)));
    assert_eq!(serde_json::from_value::<ServiceList>(list.clone()).map(|list| json!(list)).unwrap(), list);
}

#[test]
fn variables_are_read_back_as_they_are_rewritten() {
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
fn counters_are_zeroed_of_what_is_there() {
    let mut engine = engine();
    done(&mut engine, "stats.zero", json!({}));
    let unknown = ask(&mut engine, "stats.zero", json!({ "service": { "mark": 7 } })).unwrap_err();
    assert_eq!(unknown.data().errno, Some(Errno::ESrch));
    done(&mut engine, "service.add", json!({ "service": { "mark": 7 } }));
    done(&mut engine, "stats.zero", json!({ "service": { "mark": 7 } }));
}

#[test]
fn rules_name_ports_that_are_there() {
    let mut engine = engine();
    done(&mut engine, "marks.set", json!({ "marks": [{ "mark": 7, "port": "client" }] }));
    let refused =
        ask(&mut engine, "marks.set", json!({ "marks": [{ "mark": 7, "port": "eth9" }] })).unwrap_err();
    assert_eq!(refused.code(), -32602);
    assert_eq!(refused.data().faults[0].place, "marks[0].port");
    let config = ask(&mut engine, "config.get", json!({})).unwrap();
    assert_eq!(config["marks"], json!([{ "mark": 7, "port": "client" }]));
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
