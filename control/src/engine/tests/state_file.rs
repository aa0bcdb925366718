//! Every change is written to the state file; requests that only read are not.

use crossbeam::channel;

use super::*;
use crate::daemon::arguments::Options;
use crate::state::{file, startup};

/// Sends a request; `method` may begin with a namespace.
fn send(engine: &mut Engine, method: &str, params: Value) -> Result<Value, Failure> {
    let (to, reply) = channel::bounded(1);
    let (namespace, method) =
        method.split_once(' ').map_or((None, method), |(name, rest)| (Some(name), rest));
    let request = serde_json::from_value(json!({ "method": method, "params": params })).unwrap();
    engine.execute(namespace, request, to);
    reply.recv_timeout(Duration::from_secs(20)).unwrap().map(|done| json!(done))
}

#[test]
fn with_sync_every_change_is_on_disk_before_the_reply() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.json");
    let options = ["polluxd", "--state", path.to_str().unwrap()];
    let options: Options = clap::Parser::try_parse_from(options).unwrap();
    let startup = startup::load(options.sources()).unwrap();
    let mut engine = engine();
    engine.set_state_writer(Writer::start(startup.state_file.unwrap(), true).unwrap());
    let key = json!({ "fwmark": 7, "family": "ipv6" });
    let destination = json!({ "address": "2001:db8::1", "l4_port": 0 });
    let changes = [
        ("service.add", json!({ "service": sticky() })),
        ("service.edit", json!({ "service": key, "scheduler": "rr" })),
        ("destination.edit", json!({ "service": key, "destination": destination, "weight": 5 })),
        ("destination.remove", json!({ "service": key, "destination": destination })),
        ("settings.set", json!({ "tcp_timeout": 77, "timeouts": { "tcp.SYN_RECV": 5 } })),
        ("sysctl.set", json!({ "values": { "drop_entry": "3" } })),
        ("fwmarks.set", json!({ "fwmarks": [{ "fwmark": 7 }] })),
        (
            "config.apply",
            json!({ "config": { "settings": { "udp_timeout": 9 } }, "digest": "a-0123456789abcdef" }),
        ),
        ("service.flush", json!({})),
        (
            "namespace.add",
            json!({ "namespace": { "name": "blue", "bindings": [{ "port": "client", "vlan": 7 }] } }),
        ),
        ("blue service.add", json!({ "service": sticky() })),
        (
            "blue config.edit",
            json!({ "edits": [{ "method": "service.edit", "params": { "service": key, "scheduler": "sh" } }] }),
        ),
        ("blue config.apply", json!({ "config": {}, "digest": "b-0123456789abcdef" })),
    ];
    for (method, params) in changes {
        send(&mut engine, method, params).unwrap();
        let saved = file::read(&path).unwrap().unwrap();
        assert_eq!(saved.config, engine.config(), "{method}");
    }
    let saved = file::read(&path).unwrap().unwrap();
    assert_eq!(
        (saved.config.settings.udp_timeout, saved.applied),
        (9, Some("a-0123456789abcdef".to_owned()))
    );
    let before = engine.writer.as_ref().unwrap().view().written;
    for (method, params) in [
        ("config.get", json!({})),
        ("service.list", json!({ "brief": true })),
        ("config.apply", json!({ "config": {}, "dry_run": true })),
        ("stats.zero", json!({})),
    ] {
        send(&mut engine, method, params).unwrap();
    }
    assert!(send(&mut engine, "service.remove", json!({ "service": key })).is_err());
    let version = send(&mut engine, "version.get", json!({})).unwrap();
    assert_eq!(version["state"], json!({ "path": path, "written": before, "failed": 0, "pending": false }));
}
