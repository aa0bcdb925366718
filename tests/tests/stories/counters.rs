//! What `pollux` counts of a service against what a story counted itself.

use pollux_tests::bed::command::{Result, Trouble};
use pollux_tests::bed::daemon::Daemon;
use pollux_tests::bed::wait;
use pollux_tests::bed::witness::Wire;
use serde_json::{Value, json};

/// The service that has these fields, as `pollux --json list` shows it.
pub fn service(daemon: &Daemon, fields: &Value) -> Result<Value> {
    let list = daemon.json("list")?;
    let has = |service: &&Value| {
        fields.as_object().is_some_and(|fields| fields.iter().all(|(name, value)| service[name] == *value))
    };
    let found = list["services"].as_array().and_then(|services| services.iter().find(has)).cloned();
    found.ok_or_else(|| Trouble(format!("no service with {fields} in {list:#}")))
}

/// Waits until a service's counters are what the wire saw; replies count where they pass the balancer.
pub fn agree(daemon: &Daemon, fields: &Value, wire: impl Fn() -> Wire, replies: bool) -> Result<()> {
    let mut last = (Value::Null, Value::Null);
    wait::until("pollux counts what the client's wire saw", || {
        let Wire { connections, in_packets, out_packets, in_bytes, out_bytes } = wire();
        let [out_packets, out_bytes] = [out_packets, out_bytes].map(|count| if replies { count } else { 0 });
        let seen = json!({
            "connections": connections,
            "in_packets": in_packets,
            "out_packets": out_packets,
            "in_bytes": in_bytes,
            "out_bytes": out_bytes,
        });
        let counted = service(daemon, fields)?["live"].take();
        let same = counted == seen && in_packets > 0;
        last = (counted, seen);
        Ok(same.then_some(()))
    })
    .map_err(|error| {
        let stats = daemon.pollux("stats").unwrap_or_default();
        Trouble(format!("{error}\npollux: {}\nthe wire: {}\n{stats}", last.0, last.1))
    })
}

/// Connections, or templates, of those that have these fields.
pub fn connections(daemon: &Daemon, template: bool) -> Result<Vec<Value>> {
    let mut page = daemon.json("connections --all")?;
    let list = page["connections"].take().as_array().cloned().unwrap_or_default();
    let kept = list.into_iter().filter(|connection| connection["worker"].is_null() == template);
    Ok(kept.collect())
}
