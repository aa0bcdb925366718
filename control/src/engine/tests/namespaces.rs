//! Tests of requests about namespaces, without workers.

use serde_json::{Value, json};

use super::{ask, ask_in, done, engine};
use crate::api::error::Failure;
use crate::engine::Engine;
use crate::model::edit::Errno;

fn blue() -> Value {
    json!({ "namespace": { "name": "blue", "bindings": [{ "port": "1", "vlan": 100 }] } })
}

fn vip(destination: &str) -> Value {
    json!({ "service": { "protocol": "tcp", "address": "10.9.9.1", "l4_port": 80,
        "destinations": [{ "address": destination, "l4_port": 80, "method": "nat" }] } })
}

fn errors(outcome: Result<Value, Failure>) -> Vec<String> {
    outcome
        .unwrap_err()
        .data()
        .errors
        .iter()
        .map(|error| format!("{} {}", error.location, error.error))
        .collect()
}

fn services(engine: &mut Engine, namespace: &str) -> Value {
    ask_in(engine, namespace, "service.list", json!({})).unwrap()["services"].clone()
}

#[test]
fn the_same_address_is_a_separate_service_in_each_namespace() {
    let mut engine = engine();
    done(&mut engine, "namespace.add", blue());
    done(&mut engine, "service.add", vip("10.0.2.11"));
    assert_eq!(ask_in(&mut engine, "blue", "service.add", vip("10.0.2.12")), Ok(json!({})));
    for (namespace, destination) in [("default", "10.0.2.11"), ("blue", "10.0.2.12")] {
        let list = services(&mut engine, namespace);
        assert_eq!(
            (&list[0]["destinations"][0]["address"], list.as_array().map(Vec::len)),
            (&json!(destination), Some(1))
        );
    }
    assert_eq!(ask_in(&mut engine, "blue", "settings.set", json!({ "tcp_timeout": 9 })), Ok(json!({})));
    assert_eq!(ask_in(&mut engine, "blue", "service.flush", json!({})), Ok(json!({})));
    assert_eq!(
        (services(&mut engine, "blue"), services(&mut engine, "default")[0]["l4_port"].clone()),
        (json!([]), json!(80))
    );
    let timeout = |engine: &mut Engine, namespace| {
        ask_in(engine, namespace, "config.get", json!({})).unwrap()["settings"]["tcp_timeout"].clone()
    };
    assert_eq!((timeout(&mut engine, "default"), timeout(&mut engine, "blue")), (json!(900), json!(9)));
}

#[test]
fn a_namespace_added_again_is_empty() {
    let mut engine = engine();
    for _ in 0..2 {
        done(&mut engine, "namespace.add", blue());
        assert_eq!(services(&mut engine, "blue"), json!([]));
        assert_eq!(ask_in(&mut engine, "blue", "service.add", vip("10.0.2.12")), Ok(json!({})));
        done(&mut engine, "namespace.remove", json!({ "name": "blue" }));
    }
    assert_eq!(ask(&mut engine, "config.get", json!({})).unwrap().get("namespaces"), None);
}

#[test]
fn bindings_are_listed_by_port_name() {
    let mut engine = engine();
    done(&mut engine, "namespace.add", blue());
    let list = ask(&mut engine, "namespace.list", json!({})).unwrap()["namespaces"].clone();
    assert_eq!((&list[0]["name"], &list[0]["bindings"]), (&json!("default"), &json!([])));
    assert_eq!(list[1]["bindings"], json!([{ "port": "server", "vlan": 100 }]));
}

#[test]
fn invalid_namespaces_are_refused_and_change_nothing() {
    let mut engine = engine();
    done(&mut engine, "namespace.add", blue());
    let before = ask(&mut engine, "config.get", json!({})).unwrap();
    let rows = [
        (
            json!({ "name": "green", "bindings": [{ "port": "server", "vlan": 100 }] }),
            "namespace.bindings[0] server VLAN 100 is already bound to namespace \"blue\"",
        ),
        (
            json!({ "name": "green", "bindings": [{ "port": "0" }, { "port": "client" }] }),
            "namespace.bindings[1] client is already bound to namespace \"green\"",
        ),
        (
            json!({ "name": "green", "bindings": [{ "port": "eth9" }] }),
            "namespace.bindings[0].port there is no port eth9",
        ),
        (
            json!({ "name": "green", "bindings": [{ "port": "2" }] }),
            "namespace.bindings[0].port there is no port 2",
        ),
        (
            json!({ "name": "green", "bindings": [{ "port": "0", "vlan": 4095 }] }),
            "namespace.bindings[0].vlan 4095 is outside 1 to 4094",
        ),
        (json!({ "name": "default" }), "namespace.name \"default\" is reserved for the default namespace"),
        (json!({ "name": "a/b" }), "namespace.name \"a/b\" is not a valid namespace name"),
        (json!({ "name": "" }), "namespace.name \"\" is not a valid namespace name"),
        (
            json!({ "name": "green", "netns": "blue" }),
            "namespace.netns \"blue\" is already the network namespace of namespaces[0]",
        ),
        (
            json!({ "name": "green", "start": { "services": 0 } }),
            "namespace.start.services 0 leaves no room for services",
        ),
        (
            json!({ "name": "green", "settings": { "tcp_timeout": 0 } }),
            "namespace.settings.tcp_timeout 0 seconds is outside 1 to 4000000",
        ),
    ];
    for (namespace, message) in rows {
        let refused = errors(ask(&mut engine, "namespace.add", json!({ "namespace": namespace })));
        assert_eq!(refused.first().map(String::as_str), Some(message), "{namespace}");
    }
    let twice = ask(&mut engine, "namespace.add", blue()).unwrap_err();
    assert_eq!((twice.code(), twice.data().errno), (-32001, Some(Errno::EExist)));
    assert_eq!(ask(&mut engine, "config.get", json!({})).unwrap(), before);
}

#[test]
fn an_unknown_namespace_is_an_error() {
    let mut engine = engine();
    let asked = ask_in(&mut engine, "red", "service.list", json!({})).unwrap_err();
    assert_eq!(
        (asked.data().errno, asked.to_string()),
        (
            Some(Errno::ENoEnt),
            "there is no namespace red; list the namespaces with `pollux namespace list`".to_owned()
        )
    );
    let removed = ask(&mut engine, "namespace.remove", json!({ "name": "red" })).unwrap_err();
    assert_eq!(removed.data().errno, Some(Errno::ENoEnt));
    let message = errors(ask(&mut engine, "namespace.remove", json!({ "name": "default" })));
    assert_eq!(message, ["name the default namespace cannot be removed"]);
}

#[test]
fn requests_about_the_daemon_refuse_a_namespace() {
    let mut engine = engine();
    done(&mut engine, "namespace.add", blue());
    for (method, params) in [
        ("daemon.stop", json!({})),
        ("version.get", json!({})),
        ("namespace.list", json!({})),
        ("namespace.add", blue()),
        ("namespace.remove", json!({ "name": "blue" })),
    ] {
        let message = errors(ask_in(&mut engine, "blue", method, params));
        let expected = format!("namespace {method} applies to the whole daemon, not to one namespace");
        assert_eq!(message, [expected], "{method}");
    }
    assert!(!engine.is_stopping());
    assert!(ask_in(&mut engine, "default", "version.get", json!({})).is_ok());
}

fn two() -> Value {
    json!({ "namespaces": [
        { "name": "blue", "bindings": [{ "port": "client" }], "settings": { "udp_timeout": 7 },
          "services": [vip("10.0.2.12")["service"]], "fwmarks": [{ "fwmark": 7 }] },
        { "name": "green", "bindings": [{ "port": "server", "vlan": 5 }] },
    ] })
}

#[test]
fn an_apply_replaces_all_namespaces_or_none() {
    let mut engine = engine();
    done(&mut engine, "namespace.add", blue());
    let dry = ask(&mut engine, "config.apply", json!({ "config": two(), "dry_run": true })).unwrap();
    assert_eq!(dry["namespaces"]["added"], json!(["green"]));
    assert_eq!(dry["namespaces"]["changed"][0]["content"]["settings"], json!(["udp_timeout: 300 -> 7"]));
    assert_eq!(services(&mut engine, "blue"), json!([]));
    let applied = ask(&mut engine, "config.apply", json!({ "config": two() })).unwrap();
    assert_eq!((&applied["namespaces"], &applied["dry_run"]), (&dry["namespaces"], &json!(false)));
    assert_eq!(services(&mut engine, "blue")[0]["address"], json!("10.9.9.1"));
    let config = ask(&mut engine, "config.get", json!({})).unwrap();
    let again = ask(&mut engine, "config.apply", json!({ "config": config })).unwrap();
    assert_eq!(again.get("namespaces"), None, "what is read can be applied and changes nothing: {again}");
    let mut wrong = config.clone();
    wrong["namespaces"][1]["services"] = json!([vip("224.0.0.1")["service"]]);
    wrong["namespaces"][0]["settings"]["udp_timeout"] = json!(8);
    let message = errors(ask(&mut engine, "config.apply", json!({ "config": wrong })));
    assert!(message[0].starts_with("namespaces[1].services[0].destinations[0]"), "{message:?}");
    assert_eq!(ask(&mut engine, "config.get", json!({})).unwrap(), config);
    let none = ask(&mut engine, "config.apply", json!({ "config": {} })).unwrap();
    assert_eq!(none["namespaces"]["removed"], json!(["blue", "green"]));
    assert!(ask_in(&mut engine, "blue", "service.list", json!({})).is_err());
}

#[test]
fn a_configuration_can_be_applied_to_one_namespace() {
    let mut engine = engine();
    done(&mut engine, "namespace.add", blue());
    done(&mut engine, "service.add", vip("10.0.2.11"));
    let config = json!({ "settings": { "tcp_timeout": 9 }, "services": [vip("10.0.2.12")["service"]] });
    let applied = ask_in(&mut engine, "blue", "config.apply", json!({ "config": config })).unwrap();
    assert_eq!(
        (applied["added"].as_array().map(Vec::len), &applied["settings"]),
        (Some(1), &json!(["tcp_timeout: 900 -> 9"]))
    );
    assert_eq!(services(&mut engine, "default")[0]["destinations"][0]["address"], json!("10.0.2.11"));
    let own = ask_in(&mut engine, "blue", "config.get", json!({})).unwrap();
    let again = ask_in(&mut engine, "blue", "config.apply", json!({ "config": own })).unwrap();
    assert_eq!(
        (&again["added"], &again["settings"], &again["needs_restart"]),
        (&json!([]), &json!([]), &json!([]))
    );
    for (config, place) in [
        (json!({ "ports": [{ "name": "client" }] }), "ports a namespace cannot configure ports"),
        (two(), "namespaces a namespace cannot contain namespaces"),
        (
            json!({ "settings": { "tcp_timeout": 0 } }),
            "settings.tcp_timeout 0 seconds is outside 1 to 4000000",
        ),
    ] {
        let message = errors(ask_in(&mut engine, "blue", "config.apply", json!({ "config": config })));
        assert_eq!(message[0], place);
    }
}

#[test]
fn links_must_be_on_bound_ports() {
    let mut engine = engine();
    let link = |port: &str, vlan: Value| json!({ "links": [{ "name": "l", "port": port, "vlan": vlan, "mac": "02:00:00:00:00:01", "mtu": 1500 }] });
    let own = json!({ "name": "blue", "bindings": [{ "port": "client", "vlan": 5 }], "network": link("client", json!(5)) });
    done(&mut engine, "namespace.add", json!({ "namespace": own }));
    let foreign =
        json!({ "name": "green", "bindings": [{ "port": "server" }], "network": link("client", json!(5)) });
    let message = errors(ask(&mut engine, "namespace.add", json!({ "namespace": foreign })));
    assert_eq!(message, ["namespace.network.links[0] client VLAN 5 belongs to namespace \"blue\""]);
    let config = json!({ "network": link("client", json!(null)), "namespaces": [{ "name": "blue", "bindings": [{ "port": "0" }] }] });
    let message = errors(ask(&mut engine, "config.apply", json!({ "config": config })));
    assert_eq!(message, ["network.links[0] client belongs to namespace \"blue\""]);
}

#[test]
fn the_network_namespace_cannot_be_changed() {
    let mut engine = engine();
    done(&mut engine, "namespace.add", blue());
    let config =
        json!({ "namespaces": [{ "name": "blue", "netns": "other", "start": { "kernel": false } }] });
    let message = errors(ask(&mut engine, "config.apply", json!({ "config": config })));
    let expected = [
        "namespaces[0].netns other differs from blue, which cannot be changed",
        "namespaces[0].start.kernel false differs from true, which cannot be changed",
    ];
    assert_eq!(message, expected);
    let same = json!({ "namespaces": [{ "name": "blue", "netns": "blue" }] });
    ask(&mut engine, "config.apply", json!({ "config": same })).unwrap();
}

#[test]
fn an_apply_without_sizes_keeps_those_of_the_namespace() {
    let mut engine = engine();
    let start = json!({ "connections_ipv4": 4096, "services": 7 });
    done(&mut engine, "namespace.add", json!({ "namespace": { "name": "blue", "start": start } }));
    let config = json!({ "services": [vip("10.0.2.12")["service"]] });
    let applied = ask_in(&mut engine, "blue", "config.apply", json!({ "config": config })).unwrap();
    assert_eq!(applied["needs_restart"], json!([]));
    let start = ask_in(&mut engine, "blue", "config.get", json!({})).unwrap()["start"].clone();
    assert_eq!((&start["connections_ipv4"], &start["services"]), (&json!(4096), &json!(7)));
}

#[test]
fn an_unknown_port_is_an_input_error_with_its_location() {
    let mut engine = engine();
    done(&mut engine, "namespace.add", blue());
    let links = json!([
        { "name": "a", "port": "server", "mac": "02:00:00:00:00:01", "mtu": 1500 },
        { "name": "b", "port": "eth9", "mac": "02:00:00:00:00:02", "mtu": 1500 },
    ]);
    let fwmarks = json!([{ "port": "eth9", "fwmark": 7 }]);
    let own = json!({ "name": "blue", "bindings": [{ "port": "1", "vlan": 100 }], "fwmarks": fwmarks });
    let rows = [
        (json!({ "network": { "links": links } }), "network.links[1].port"),
        (json!({ "namespaces": [own] }), "namespaces[0].fwmarks[0].port"),
    ];
    for (config, location) in rows {
        let refused = ask(&mut engine, "config.apply", json!({ "config": config })).unwrap_err();
        let expected = format!("{location}: there is no port \"eth9\"; use one of client, server");
        assert_eq!(refused.code(), -32602);
        assert!(refused.to_string().starts_with(&expected), "{refused}");
    }
    let config = json!({ "fwmarks": fwmarks });
    let message = errors(ask_in(&mut engine, "blue", "config.apply", json!({ "config": config })));
    assert_eq!(message, ["fwmarks[0].port there is no port \"eth9\""]);
}

#[test]
fn a_refusal_of_the_kernel_changes_nothing() {
    let mut engine = engine();
    done(&mut engine, "namespace.add", blue());
    let before = ask(&mut engine, "config.get", json!({})).unwrap();
    let green = json!({ "name": "green", "bindings": [{ "port": "server" }] });
    let blue = |bindings: Value| json!({ "name": "blue", "bindings": bindings, "settings": { "tcp_timeout": 9 }, "services": [vip("10.0.2.12")["service"]] });
    let one = json!([{ "port": "server", "vlan": 100 }]);
    let two = json!([{ "port": "client" }, { "port": "server", "vlan": 7 }]);
    for namespaces in [json!([blue(one), green, { "name": "bad" }]), json!([green, blue(two)])] {
        let config = json!({ "settings": { "tcp_timeout": 9 }, "namespaces": namespaces });
        let refused = ask(&mut engine, "config.apply", json!({ "config": config })).unwrap_err();
        assert_eq!(refused.code(), -32001, "{refused}");
        assert!(!refused.to_string().contains("polluxd failed"), "{refused}");
        assert_eq!(ask(&mut engine, "config.get", json!({})).unwrap(), before);
        assert!(ask_in(&mut engine, "green", "service.list", json!({})).is_err());
    }
}
