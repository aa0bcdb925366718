//! Compares the counters of `pollux` with those of a packet capture.

use pollux_tests::bed::capture::Counts;
use pollux_tests::bed::command::{Error, Result};
use pollux_tests::bed::daemon::Daemon;
use pollux_tests::bed::wait;
use serde_json::{Value, json};

/// Returns the service with these fields from `pollux --json list`.
pub fn service(daemon: &Daemon, fields: &Value) -> Result<Value> {
    let list = daemon.json("list")?;
    let has = |service: &&Value| {
        fields.as_object().is_some_and(|fields| fields.iter().all(|(name, value)| service[name] == *value))
    };
    let found = list["services"].as_array().and_then(|services| services.iter().find(has)).cloned();
    found.ok_or_else(|| Error(format!("no service with {fields} in {list:#}")))
}

/// Waits until a service's counters equal those of the capture. Replies count only if they pass through the balancer.
pub fn agree(daemon: &Daemon, fields: &Value, wire: impl Fn() -> Counts, replies: bool) -> Result<()> {
    let mut last = (Value::Null, Value::Null);
    wait::until("pollux's counters equal those of the capture", || {
        let Counts { connections, in_packets, out_packets, in_bytes, out_bytes } = wire();
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
        Error(format!("{error}\npollux: {}\ncapture: {}\n{stats}", last.0, last.1))
    })
}

/// Returns all connections, or all templates.
pub fn connections(daemon: &Daemon, template: bool) -> Result<Vec<Value>> {
    let mut page = daemon.json("connections --all")?;
    let list = page["connections"].take().as_array().cloned().unwrap_or_default();
    let kept = list.into_iter().filter(|connection| connection["worker"].is_null() == template);
    Ok(kept.collect())
}
