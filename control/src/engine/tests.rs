//! Requests and what they lead to, with no worker to wait for.

mod bed;
mod difference;
mod keeping;

use serde_json::{Value, json};

use super::*;
use crate::edit::Errno;

struct NoPorts;

impl Ports for NoPorts {
    fn views(&self) -> Vec<PortView> {
        Vec::new()
    }
}

fn engine() -> Engine {
    let compiler = Compiler::new(&crate::model::Start::default(), ["client".to_owned()]);
    let workers = Workers::new(Vec::new());
    Engine::new(compiler, workers, Box::new(NoPorts), None, (None, Instant::now()))
}

fn ask(engine: &mut Engine, method: &str, params: Value) -> Result<Value, Failure> {
    let request = serde_json::from_value(json!({ "method": method, "params": params })).unwrap();
    engine.handle(request).map(|reply| json!(reply))
}

#[track_caller]
fn done(engine: &mut Engine, method: &str, params: Value) {
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
