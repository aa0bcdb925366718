//! Nanoseconds per packet at full speed, above a worker that only swaps MAC addresses.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::generator::{Time, baseline};
use super::packet_builder::{Kind, PacketBuilder};
use super::rig::{Cpus, Rig};
use super::script::{Flows, Script, Source};
use crate::kinds::{Family, Method, Pattern, Size, word};
use crate::matrix::{self, Choice};
use crate::random::{Random, shuffled, zipf};
use crate::report::Sample;
use crate::world::{PORTS, Plan, config};
use pollux_tests::bed::command::{Error, Result};

/// Length of the list of flows; a longer one would only use memory.
const ORDER: usize = 1 << 24;

/// Returns the settings of measurements inside the process.
#[derive(Clone, Copy)]
pub struct Run {
    /// Rounds.
    pub rounds: usize,
    /// Duration of each measurement.
    pub window: Duration,
    /// CPU of the control thread, CPU of the worker.
    pub cpus: Cpus,
}

/// A case.
#[derive(Clone, Copy)]
pub struct Case {
    /// Addresses.
    pub family: Family,
    /// Forwarding method. With NAT, half of the packets are replies.
    pub method: Method,
    /// Flows.
    pub flows: u32,
    /// Distribution of packets over flows.
    pub pattern: Pattern,
}

/// Result of a case.
pub struct Row {
    case: Case,
    ours: Sample,
    nothing: Sample,
    above: Sample,
    bytes: f64,
}

impl Case {
    /// Returns a script of endless UDP packets of these flows, and replies.
    pub fn script(&self, orders: &[Arc<[u32]>; 2]) -> Script {
        let source = |kind, order: &Arc<[u32]>| {
            Source::new(PacketBuilder::new(self.family, kind), Flows::Listed(Arc::clone(order)))
        };
        let replies = self.method.is_mixed().then(|| source(Kind::Reply, &orders[1]));
        Script::new(vec![source(Kind::Request, &orders[0])], replies.into_iter().collect())
    }

    /// Returns the order of each side's packets. With the uniform pattern, every flow gets one packet before any gets two.
    pub fn orders(&self) -> [Arc<[u32]>; 2] {
        let order = |side: u64| -> Vec<u32> {
            match self.pattern {
                Pattern::Zipf => zipf(self.flows, ORDER.min(4 * self.flows as usize), 1 + side),
                Pattern::Uniform => {
                    let mut order = shuffled(self.flows, 1);
                    // The same order with an offset, so that a reply does not follow its request directly.
                    order.rotate_left(side as usize * Random::new(5).below(self.flows) as usize);
                    order
                }
            }
        };
        [order(0).into(), order(1).into()]
    }

    /// Returns a rig in which every flow has a connection.
    ///
    /// # Errors
    /// If memory runs out or a flow gets no connection.
    pub fn rig(&self, cpus: Cpus, room: u32, settings: &str) -> Result<Rig> {
        let plan = Plan {
            family: self.family,
            method: self.method,
            protocol: "udp",
            scheduler: "sh",
            ports: &PORTS[..2],
            inside: 1,
            key: None,
            connections: room + room / 10 + 1000,
            buffers: 0,
            settings,
        };
        let mut rig = Rig::start(&config(&plan), cpus, Time::Wall(Instant::now()))?;
        self.open(&mut rig)?;
        Ok(rig)
    }

    /// Sends one packet of every flow.
    ///
    /// # Errors
    /// If a flow has no connection afterwards.
    pub fn open(&self, rig: &mut Rig) -> Result<()> {
        let all = Flows::Fresh { first: 0, span: self.flows };
        let once = Source::new(PacketBuilder::new(self.family, Kind::Request), all).times(self.flows.into());
        rig.play_out(Script::new(vec![once], Vec::new()))?;
        match rig.connections() {
            known if known == u64::from(self.flows) => Ok(()),
            known => Err(Error(format!(
                "{known} of {} flows have a connection; is the table too small?",
                self.flows
            ))),
        }
    }
}

/// Returns the chosen cases: a million flows, which is measured on ports too, and ten million.
pub fn cases(choice: &Choice) -> Vec<Case> {
    let mut cases = Vec::new();
    for flows in [1_000_000, 10_000_000] {
        for pattern in [Pattern::Uniform, Pattern::Zipf] {
            for method in [Method::Nat, Method::Dr, Method::Ipip] {
                cases.push(Case { family: Family::Ipv4, method, flows, pattern });
            }
        }
    }
    cases.retain(|case| choice.takes(case));
    cases
}

/// Packets of a script in a window, and the window's length.
pub fn window(rig: &mut Rig, window: Duration) -> (u64, Duration) {
    let ((before, _), began) = (rig.look(|script| script.counts()), Instant::now());
    rig.rest(window);
    let ((after, _), took) = (rig.look(|script| script.counts()), began.elapsed());
    (after - before, took)
}

/// Measures the worker and the baseline alternately.
///
/// # Errors
/// If a flow gets no connection or packets are lost.
pub fn measure(run: &Run, case: Case) -> Result<Row> {
    let orders = case.orders();
    let mut rig = case.rig(run.cpus, case.flows, "")?;
    let (mut ours, mut nothing) = (Vec::new(), Vec::new());
    for _ in 0..run.rounds {
        let (script, took) = baseline(case.script(&orders), run.cpus[1], run.window)?;
        nothing.push(nanos(script.counts().0, took));
        rig.play(case.script(&orders));
        // Warm-up for caches and the branch predictor.
        rig.rest(run.window / 4);
        let (packets, took) = window(&mut rig, run.window);
        ours.push(nanos(packets, took));
        let (sent, passed) = rig.stop().counts();
        if sent != passed || rig.lost() > 0 {
            return Err(Error(format!("of {sent} packets only {passed} left; {} were dropped", rig.lost())));
        }
    }
    let bytes = rig.stats.counters.table_bytes.get() as f64 / (f64::from(case.flows) * 1.1 + 1000.0);
    let above = Sample::new(ours.iter().zip(&nothing).map(|(ours, nothing)| ours - nothing).collect());
    Ok(Row { case, ours: Sample::new(ours), nothing: Sample::new(nothing), above, bytes })
}

/// Returns nanoseconds per packet.
pub fn nanos(packets: u64, took: Duration) -> f64 {
    took.as_nanos() as f64 / packets.max(1) as f64
}

impl Row {
    /// Returns the head of the table.
    pub fn head() -> String {
        format!(
            "{:4} {:>8} {:7} {:6} {:>20} {:>20} {:>20} {:>6} {:>5}",
            "ip", "flows", "pattern", "method", "total, ns", "generator, ns", "net, ns", "Mpps", "bytes"
        )
    }

    /// Returns a line of the table.
    pub fn line(&self) -> String {
        let Case { family, method, flows, pattern } = self.case;
        format!(
            "{:4} {flows:>8} {:7} {:6} {:>20} {:>20} {:>20} {:>6.2} {:>5.0}",
            word(family),
            word(pattern),
            word(method),
            self.ours.text(),
            self.nothing.text(),
            self.above.text(),
            1e3 / self.ours.median(),
            self.bytes
        )
    }

    /// Returns the cost of the same flows on ports, if that was measured too.
    pub fn beside<'a>(&self, mut matrix: impl Iterator<Item = &'a matrix::Row>) -> Option<String> {
        let Case { family, method, flows, pattern } = self.case;
        let same = |row: &&matrix::Row| {
            let traffic = row.traffic;
            (traffic.family, row.method, traffic.flows) == (family, method, flows)
                && (traffic.size, traffic.pattern) == (Size::Small, pattern)
        };
        let row = matrix.find(same)?;
        Some(format!(
            "on ports {:.1} ns above testpmd, here {:.1} above the generator",
            row.above.median(),
            self.above.median()
        ))
    }

    /// JSON for the result file.
    pub fn json(&self) -> Value {
        let Case { family, method, flows, pattern } = self.case;
        json!({
            "family": word(family), "method": word(method), "flows": flows, "pattern": word(pattern),
            "both_directions": method.is_mixed(), "ns_per_packet": self.ours.json(),
            "generator_ns_per_packet": self.nothing.json(), "ns_above_generator": self.above.json(),
            "bytes_per_connection": self.bytes,
        })
    }
}
