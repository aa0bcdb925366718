//! New connections per second in steady state: as many end as begin. The connections drive the worker's clock, one
//! millisecond per thousand, and live for a second of that clock. So a million are alive at any rate, and the rate is
//! the one that the worker can sustain.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::generator::{Time, baseline};
use super::packet_builder::{Kind, PacketBuilder};
use super::rig::Rig;
use super::script::{Flows, Script, Source};
use super::throughput::{Run, nanos};
use crate::kinds::{Family, Method};
use crate::report::Sample;
use crate::world::{PORTS, Plan, config};
use pollux_tests::bed::command::Result;

/// Connections in steady state.
const LIVE: u64 = 1_000_000;
/// Different clients, far more than there are connections.
const CLIENTS: u32 = 1 << 27;
/// Number of packets between a request and its reply.
const LAG: u64 = 10_000;

/// A kind of new connection.
#[derive(Clone, Copy)]
pub struct Case {
    /// Description.
    pub name: &'static str,
    method: Method,
    scheduler: &'static str,
    first: Kind,
    has_replies: bool,
}

/// All cases.
pub const CASES: [Case; 4] = [
    Case {
        name: "UDP, DR, wlc",
        method: Method::Dr,
        scheduler: "wlc",
        first: Kind::Request,
        has_replies: false,
    },
    Case {
        name: "UDP, NAT, rr",
        method: Method::Nat,
        scheduler: "rr",
        first: Kind::Request,
        has_replies: false,
    },
    Case {
        name: "UDP, NAT, sh, with replies",
        method: Method::Nat,
        scheduler: "sh",
        first: Kind::Request,
        has_replies: true,
    },
    Case {
        name: "TCP SYN, NAT, wlc",
        method: Method::Nat,
        scheduler: "wlc",
        first: Kind::Syn,
        has_replies: false,
    },
];

/// Result of a case.
pub struct Row {
    name: &'static str,
    rate: Sample,
    ns: Sample,
    generator: Sample,
    live: u64,
    most: u64,
    evicted: u64,
    lost: u64,
}

impl Case {
    fn script(&self, opened: &Arc<AtomicU64>) -> Script {
        let fresh = |kind| {
            Source::new(PacketBuilder::new(Family::Ipv4, kind), Flows::Fresh { first: 0, span: CLIENTS })
        };
        let replies = self.has_replies.then(|| fresh(Kind::Reply).after(LAG));
        let mut script = Script::new(vec![fresh(self.first)], replies.into_iter().collect());
        script.opened = Some(Arc::clone(opened));
        script
    }

    fn plan(&self) -> Plan<'static> {
        Plan {
            family: Family::Ipv4,
            method: self.method,
            protocol: if self.first == Kind::Syn { "tcp" } else { "udp" },
            scheduler: self.scheduler,
            ports: &PORTS[..2],
            inside: 1,
            key: None,
            connections: 2 * LIVE as u32,
            buffers: 0,
            settings: "udp_timeout = 1\ntimeouts = { \"tcp.SYN_RECV\" = 1 }",
        }
    }
}

/// Measures a case.
///
/// # Errors
/// If memory runs out.
pub fn measure(run: &Run, case: Case) -> Result<Row> {
    let opened = Arc::new(AtomicU64::new(0));
    let clock = Time::Packets { opened: Arc::clone(&opened), per_milli: LIVE / 1000 };
    let mut rig = Rig::start(&config(&case.plan()), run.cpus, clock)?;
    rig.play(case.script(&opened));
    let began = Instant::now();
    // In steady state every new connection takes the slot of one that has ended.
    while opened.load(Relaxed) < 3 * LIVE && began.elapsed() < Duration::from_secs(60) {
        rig.rest(Duration::from_millis(50));
    }
    let (mut rate, mut ns, mut generator, mut most) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for _ in 0..run.rounds {
        let (before, began) = (opened.load(Relaxed), Instant::now());
        while began.elapsed() < run.window {
            rig.rest(Duration::from_millis(20));
            most = most.max(rig.connections());
        }
        let (count, took) = (opened.load(Relaxed) - before, began.elapsed());
        rate.push(count as f64 / took.as_secs_f64() / 1e6);
        ns.push(nanos(count, took));
    }
    let (live, evicted) = (rig.connections(), rig.stats.counters.evicted.get());
    rig.stop();
    let lost = rig.lost();
    drop(rig);
    for _ in 0..run.rounds {
        let alone = Arc::new(AtomicU64::new(0));
        let (_, took) = baseline(case.script(&alone), run.cpus[1], run.window / 2)?;
        generator.push(nanos(alone.load(Relaxed), took));
    }
    let [rate, ns, generator] = [rate, ns, generator].map(Sample::new);
    Ok(Row { name: case.name, rate, ns, generator, live, most, evicted, lost })
}

impl Row {
    /// Returns the head of the table.
    pub fn head() -> String {
        format!(
            "{:24} {:>18} {:>22} {:>20} {:>9} {:>9} {:>9} {:>9}",
            "case",
            "million per second",
            "ns each",
            "of that generator",
            "live",
            "most",
            "evicted",
            "dropped"
        )
    }

    /// Returns a line of the table.
    pub fn line(&self) -> String {
        format!(
            "{:24} {:>18} {:>22} {:>20} {:>9} {:>9} {:>9} {:>9}",
            self.name,
            self.rate.fine(),
            self.ns.text(),
            self.generator.text(),
            self.live,
            self.most,
            self.evicted,
            self.lost
        )
    }

    /// JSON for the result file.
    pub fn json(&self) -> Value {
        json!({
            "case": self.name, "million_per_second": self.rate.json(), "ns_each": self.ns.json(),
            "generator_ns_each": self.generator.json(), "live": self.live, "most_live": self.most,
            "evicted": self.evicted, "dropped": self.lost,
        })
    }
}
