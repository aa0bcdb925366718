//! New connections a second in steady state: as many end as begin. The worker's clock goes by the connections, a
//! millisecond for a thousand of them, and they live for a second; so there are a million at any rate, and no rate is
//! set to anything but what the worker can do.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::lab::{Time, baseline};
use super::maker::{Kind, Maker};
use super::rig::Rig;
use super::script::{Flows, Script, Source};
use super::throughput::{Run, nanos};
use crate::kinds::{Family, Method};
use crate::report::Sample;
use crate::world::{PORTS, Plan, config};
use pollux_tests::bed::command::Result;

/// Connections there are in steady state.
const LIVE: u64 = 1_000_000;
/// Different clients; far more than there are connections.
const CLIENTS: u32 = 1 << 27;
/// A reply comes so many packets after its request.
const LAG: u64 = 10_000;

/// What opens a connection.
#[derive(Clone, Copy)]
pub struct Case {
    /// In words.
    pub name: &'static str,
    method: Method,
    scheduler: &'static str,
    first: Kind,
    answered: bool,
}

/// The cases.
pub const CASES: [Case; 4] = [
    Case {
        name: "UDP, DR, wlc",
        method: Method::Dr,
        scheduler: "wlc",
        first: Kind::Request,
        answered: false,
    },
    Case {
        name: "UDP, NAT, rr",
        method: Method::Nat,
        scheduler: "rr",
        first: Kind::Request,
        answered: false,
    },
    Case {
        name: "UDP, NAT, sh, answered",
        method: Method::Nat,
        scheduler: "sh",
        first: Kind::Request,
        answered: true,
    },
    Case {
        name: "TCP SYN, NAT, wlc",
        method: Method::Nat,
        scheduler: "wlc",
        first: Kind::Syn,
        answered: false,
    },
];

/// A case as it was measured.
pub struct Row {
    name: &'static str,
    rate: Sample,
    ns: Sample,
    generator: Sample,
    live: u64,
    most: u64,
    given_up: u64,
    lost: u64,
}

impl Case {
    fn script(&self, opened: &Arc<AtomicU64>) -> Script {
        let fresh =
            |kind| Source::new(Maker::new(Family::Ipv4, kind), Flows::Fresh { first: 0, span: CLIENTS });
        let replies = self.answered.then(|| fresh(Kind::Reply).after(LAG));
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
/// When there is no memory.
pub fn measure(run: &Run, case: Case) -> Result<Row> {
    let opened = Arc::new(AtomicU64::new(0));
    let clock = Time::Packets { opened: Arc::clone(&opened), per_milli: LIVE / 1000 };
    let mut rig = Rig::start(&config(&case.plan()), run.cpus, clock)?;
    rig.play(case.script(&opened));
    let began = Instant::now();
    // In steady state every connection is made in the place of one that has ended.
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
    let (live, given_up) = (rig.connections(), rig.stats.counters.evicted.get());
    rig.stop();
    let lost = rig.lost();
    drop(rig);
    for _ in 0..run.rounds {
        let alone = Arc::new(AtomicU64::new(0));
        let (_, took) = baseline(case.script(&alone), run.cpus[1], run.window / 2)?;
        generator.push(nanos(alone.load(Relaxed), took));
    }
    let [rate, ns, generator] = [rate, ns, generator].map(Sample::new);
    Ok(Row { name: case.name, rate, ns, generator, live, most, given_up, lost })
}

impl Row {
    /// The head of the table.
    pub fn head() -> String {
        format!(
            "{:24} {:>18} {:>22} {:>20} {:>9} {:>9} {:>9} {:>9}",
            "opened by",
            "million a second",
            "ns each",
            "of them generator",
            "live",
            "most",
            "given up",
            "dropped"
        )
    }

    /// A line of the table.
    pub fn line(&self) -> String {
        format!(
            "{:24} {:>18} {:>22} {:>20} {:>9} {:>9} {:>9} {:>9}",
            self.name,
            self.rate.fine(),
            self.ns.text(),
            self.generator.text(),
            self.live,
            self.most,
            self.given_up,
            self.lost
        )
    }

    /// For the file.
    pub fn json(&self) -> Value {
        json!({
            "opened_by": self.name, "million_a_second": self.rate.json(), "ns_each": self.ns.json(),
            "generator_ns_each": self.generator.json(), "live": self.live, "most_live": self.most,
            "evicted": self.given_up, "dropped": self.lost,
        })
    }
}
