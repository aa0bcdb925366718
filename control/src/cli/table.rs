//! Counters and the daemon's version as text.

use std::fmt::Write;

use crate::api::view::{StateView, StatsView, VersionView};

/// Totals, then one line per worker with its idle times and drops, then one line per port.
pub fn stats(view: &StatsView) -> String {
    let mut out = format!(
        "totals: {} connections, {} packets in, {} out, {} bytes in, {} out\n",
        view.totals.connections,
        view.totals.in_packets,
        view.totals.out_packets,
        view.totals.in_bytes,
        view.totals.out_bytes,
    );
    // Writing to a String cannot fail.
    for w in &view.workers {
        let _ = writeln!(
            out,
            "worker on core {}: received {} sent {} to kernel {} from kernel {} handed off {} connections {}/{}",
            w.core,
            w.received,
            w.sent,
            w.to_kernel,
            w.from_kernel,
            w.handoff_sent,
            w.connections,
            w.connection_capacity,
        );
        if w.idle_pauses + w.sleeps > 0 {
            let ms = w.sleep_us / 1000;
            let _ = writeln!(
                out,
                "  idle: {} pauses, {} sleeps ({ms} ms in total), {} interrupt wakeups",
                w.idle_pauses, w.sleeps, w.interrupt_wakeups
            );
        }
        for (reason, packets) in w.slow_path.iter().filter(|(_, packets)| **packets > 0) {
            let _ = writeln!(out, "  slow path {packets}: {reason}");
        }
        for (reason, packets) in w.drops.iter().filter(|(_, packets)| **packets > 0) {
            let _ = writeln!(out, "  dropped {packets}: {reason}");
        }
    }
    for p in &view.ports {
        let twin = p.twin.as_deref().unwrap_or("no");
        let link = if p.link { "up" } else { "down" };
        let _ = writeln!(out, "port {} ({}): {} link {link} twin {twin}", p.name, p.driver, p.mac);
    }
    out.extend(view.state.as_ref().map(state));
    out
}

/// Versions of the daemon and of DPDK, and the status of the state file.
pub fn version(view: &VersionView) -> String {
    let dpdk = view.dpdk.as_deref().unwrap_or("no DPDK");
    let state_line = view.state.as_ref().map(state).unwrap_or_default();
    format!("polluxd {}, {dpdk}\n{state_line}", view.version)
}

fn state(view: &StateView) -> String {
    let pending = if view.pending { ", a change is pending" } else { "" };
    let failed = match &view.error {
        Some(error) => format!(", failed {} times, last error: {error}", view.failed),
        None if view.failed > 0 => format!(", failed {} times earlier", view.failed),
        None => String::new(),
    };
    format!("state {}: written {} times{pending}{failed}\n", view.path.display(), view.written)
}
