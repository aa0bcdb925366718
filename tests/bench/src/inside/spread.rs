//! How evenly each scheduler distributes flows over servers, and the hash over workers.

use std::time::{Duration, Instant};

use pollux_control::engine::compile::Compiler;
use pollux_control::model::Config;
use pollux_control::model::parse;
use pollux_dataplane::flow::Seed;
use pollux_dataplane::parse::{Parsed, parse as parse_packet};
use pollux_dataplane::steer::Steering;
use serde_json::{Value, json};

use super::generator::Time;
use super::packet_builder::{Kind, PacketBuilder};
use super::rig::{Cpus, Rig};
use super::script::{Flows, Script, Source};
use crate::frame;
use crate::kinds::{Family, Method};
use crate::world::{PORTS, Plan, SERVERS, config};
use pollux_tests::bed::command::{Error, Result};

/// Number of flows.
const FLOWS: u32 = 100_000;

/// Result: how evenly flows were distributed.
pub struct Row {
    over: String,
    counts: Vec<u64>,
}

/// Distributes flows over servers and over workers.
///
/// # Errors
/// If a rig does not start.
pub fn measure(cpus: Cpus) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for scheduler in ["rr", "wrr", "lc", "wlc", "twos", "sh", "mh"] {
        rows.push(over_servers(cpus, scheduler)?);
    }
    for workers in [2, 4, 8, 16] {
        rows.push(over_workers(workers)?);
    }
    Ok(rows)
}

fn plan(scheduler: &str) -> Plan<'_> {
    Plan {
        family: Family::Ipv4,
        method: Method::Nat,
        protocol: "udp",
        scheduler,
        ports: &PORTS[..2],
        inside: 1,
        key: None,
        connections: FLOWS + FLOWS / 10 + 1000,
        buffers: 0,
        settings: "",
    }
}

fn over_servers(cpus: Cpus, scheduler: &str) -> Result<Row> {
    let mut rig = Rig::start(&config(&plan(scheduler)), cpus, Time::Wall(Instant::now()))?;
    let source =
        Source::new(PacketBuilder::new(Family::Ipv4, Kind::Request), Flows::Fresh { first: 0, span: FLOWS });
    rig.play_out(Script::new(vec![source.times(FLOWS.into())], Vec::new()))?;
    let counters = &rig.stats.destinations[..usize::from(SERVERS)];
    let counts = counters.iter().map(|counters| counters.connections.get()).collect();
    Ok(Row { over: format!("{SERVERS} servers by {scheduler}"), counts })
}

/// Applies the workers' common steering rule packet by packet.
fn over_workers(workers: u16) -> Result<Row> {
    let config: Config = parse::toml(&config(&plan("rr"))).map_err(|wrong| Error(wrong.to_string()))?;
    let mut compiler = Compiler::new(&config.start, PORTS[..2].iter().map(|port| port.name.to_owned()));
    let failed = |why: &dyn std::fmt::Display| Error(why.to_string());
    if let Some(network_state) = &config.network {
        compiler.set_network(network_state).map_err(|why| failed(&why))?;
    }
    let (snapshot, _) = compiler.configure(&config, Duration::ZERO).map_err(|why| failed(&why))?;
    let steering = Steering { workers, seed: Seed::random(), rss_keys: None };
    let (mut counts, mut parsed) = (vec![0; usize::from(workers)], Parsed::NOTHING);
    for flow in 0..FLOWS {
        let frame = frame::request(Family::Ipv4, flow, 60);
        if parse_packet(&frame, &mut parsed).is_err() {
            return Err(Error(format!("the packet of flow {flow} cannot be read")));
        }
        let owner = steering.owner(&parsed, 0, &snapshot);
        let owner = owner.ok_or_else(|| Error(format!("no worker owns flow {flow}")))?;
        counts[usize::from(owner.0)] += 1;
    }
    Ok(Row { over: format!("{workers} workers"), counts })
}

impl Row {
    /// Minimum and maximum, relative to the mean.
    fn ends(&self) -> (f64, f64) {
        let mean = self.counts.iter().sum::<u64>() as f64 / self.counts.len().max(1) as f64;
        let part = |count: Option<&u64>| count.map_or(0.0, |&count| count as f64 / mean.max(1.0));
        (part(self.counts.iter().min()), part(self.counts.iter().max()))
    }

    /// Returns a line of the table.
    pub fn line(&self) -> String {
        let (least, most) = self.ends();
        format!("{FLOWS} flows over {:22} least {least:.3} of the mean, most {most:.3}", self.over)
    }

    /// JSON for the result file.
    pub fn json(&self) -> Value {
        let (least, most) = self.ends();
        json!({ "case": self.over, "flows": FLOWS, "counts": self.counts, "min_of_mean": least, "max_of_mean": most })
    }
}
