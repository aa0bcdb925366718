//! Counters and the daemon's version as text.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::api::view::{PortView, StateView, Stats, StatsView, VersionView, WorkerView};
use crate::plural::count;

/// The counters of a worker that [`stats`] prints in a form of their own, or not at all.
const PRINTED: [&str; 12] = [
    "core",
    "received",
    "sent",
    "to_kernel",
    "from_kernel",
    "connections",
    "connection_capacity",
    "table_bytes",
    "idle_pauses",
    "sleeps",
    "sleep_us",
    "interrupt_wakeups",
];

/// Totals, the counters of each worker, one line per port, then the counters of the kernel's side. Counters have their
/// names of JSON; those that are zero are left out.
pub fn stats(view: &StatsView) -> String {
    let Stats { connections, in_packets, out_packets, in_bytes, out_bytes } = view.live;
    let connections = count(connections, "connection");
    let mut out = format!(
        "totals: {connections}, {in_packets} packets in, {out_packets} out, {in_bytes} bytes in, {out_bytes} out\n"
    );
    view.workers.iter().for_each(|view| worker(&mut out, view));
    view.ports.iter().for_each(|view| port(&mut out, view));
    counters(&mut out, "exception path: ", &view.exception_path);
    counters(&mut out, "mirror: ", &view.mirror);
    out.extend(view.state.as_ref().map(state));
    out
}

fn worker(out: &mut String, view: &WorkerView) {
    let WorkerView { core, received, sent, to_kernel, from_kernel, connections, connection_capacity, .. } =
        view;
    let _ = writeln!(
        out,
        "worker on core {core}: received {received}, sent {sent}, to_kernel {to_kernel}, from_kernel {from_kernel}, \
         connections {connections} of {connection_capacity}"
    );
    let fields = serde_json::to_value(view).unwrap_or_default();
    let others =
        fields.as_object().into_iter().flatten().filter(|(name, _)| !PRINTED.contains(&name.as_str()));
    let others = others.filter_map(|(name, value)| Some((name.clone(), value.as_u64()?)));
    counters(out, "  ", &others.collect());
    if view.idle_pauses + view.sleeps > 0 {
        let _ = writeln!(
            out,
            "  idle: {}, {} ({} ms in total), {}",
            count(view.idle_pauses, "pause"),
            count(view.sleeps, "sleep"),
            view.sleep_us / 1000,
            count(view.interrupt_wakeups, "interrupt wakeup"),
        );
    }
    for (name, reasons) in [
        ("  slow path: ", &view.slow_path),
        ("  ICMP errors sent: ", &view.icmp_sent),
        ("  dropped: ", &view.drops),
    ] {
        counters(out, name, reasons);
    }
}

fn port(out: &mut String, of: &PortView) {
    let twin = of.twin.as_ref().map_or_else(|| "no twin".to_owned(), |twin| format!("twin {twin}"));
    let link = match (of.link_up, of.speed) {
        (false, _) => "link down".to_owned(),
        (true, 0) => "link up".to_owned(),
        (true, speed) => format!("link up at {speed} Mbit/s"),
    };
    // Writing to a String cannot fail.
    let _ = writeln!(out, "port {} ({}): {}, {link}, {twin}", of.name, of.driver, of.mac);
    counters(out, "  ", &of.counters);
}

/// One line of the counters that are not zero, or none.
fn counters(out: &mut String, title: &str, counters: &BTreeMap<String, u64>) {
    let counted = counters.iter().filter(|(_, number)| **number > 0);
    let counted: Vec<String> = counted.map(|(name, number)| format!("{name} {number}")).collect();
    if !counted.is_empty() {
        let _ = writeln!(out, "{title}{}", counted.join(", "));
    }
}

/// Versions of the daemon and of DPDK, and the status of the state file.
pub fn version(view: &VersionView) -> String {
    let dpdk = view.dpdk.as_deref().unwrap_or("no DPDK");
    let state_line = view.state.as_ref().map(state).unwrap_or_default();
    format!("polluxd {}, {dpdk}\n{state_line}", view.version)
}

fn state(view: &StateView) -> String {
    let pending = if view.pending { ", a change is pending" } else { "" };
    let times = |number| count(number, "time");
    let failed = match &view.error {
        Some(error) => format!(", failed {}, last error: {error}", times(view.failed)),
        None if view.failed > 0 => format!(", failed {} earlier", times(view.failed)),
        None => String::new(),
    };
    format!("state {}: written {}{pending}{failed}\n", view.path.display(), times(view.written))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_counter_that_is_not_zero_is_shown() {
        let reasons =
            |words: &[(&str, u64)]| words.iter().map(|(word, n)| ((*word).to_owned(), *n)).collect();
        let worker = WorkerView {
            core: 1,
            received: 576,
            sent: 575,
            connections: 73,
            connection_capacity: 131_072,
            evicted: 2,
            handoff_sent: 3,
            sleeps: 1,
            sleep_us: 2500,
            slow_path: reasons(&[("not-plain", 38), ("state", 2), ("feature", 0)]),
            icmp_sent: reasons(&[("ttl-exceeded", 4)]),
            drops: reasons(&[("other-host", 5)]),
            ..WorkerView::default()
        };
        let port = PortView {
            name: "net_tap0".to_owned(),
            driver: "net_tap".to_owned(),
            mac: "02:00:00:00:00:01".parse().unwrap(),
            link_up: true,
            speed: 10_000,
            twin: None,
            counters: reasons(&[("missed", 7), ("no_buffer", 0)]),
        };
        let state = StateView { path: "s.json".into(), written: 1, ..StateView::default() };
        let live = Stats { connections: 1, in_packets: 2, ..Stats::default() };
        let view = StatsView {
            live,
            workers: vec![worker],
            ports: vec![port],
            exception_path: reasons(&[("to_kernel", 7), ("twins_lost", 0)]),
            mirror: reasons(&[("full_dumps", 1), ("published", 2)]),
            state: Some(state),
            ..StatsView::default()
        };
        assert_eq!(
            stats(&view),
            "totals: 1 connection, 2 packets in, 0 out, 0 bytes in, 0 out\n\
             worker on core 1: received 576, sent 575, to_kernel 0, from_kernel 0, connections 73 of 131072\n  \
             evicted 2, handoff_sent 3\n  \
             idle: 0 pauses, 1 sleep (2 ms in total), 0 interrupt wakeups\n  \
             slow path: not-plain 38, state 2\n  \
             ICMP errors sent: ttl-exceeded 4\n  \
             dropped: other-host 5\n\
             port net_tap0 (net_tap): 02:00:00:00:00:01, link up at 10000 Mbit/s, no twin\n  \
             missed 7\n\
             exception path: to_kernel 7\n\
             mirror: full_dumps 1, published 2\n\
             state s.json: written 1 time\n"
        );
    }
}
