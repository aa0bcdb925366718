//! Latency with an open-loop generator, with an idle and with a busy control plane.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use pollux_control::api::request::{Apply, ConnectionQuery, Reply, Request};
use pollux_control::model::{Config, Service, ServiceKey};
use serde_json::{Value, json};

use super::generator::baseline;
use super::histogram::{Histogram, Summary};
use super::packet_builder::{Kind, PacketBuilder};
use super::rig::Rig;
use super::script::{Flows, Pace, Script, Source};
use super::throughput::{Case, Run, window};
use crate::kinds::{Family, Method, Pattern};
use pollux_tests::bed::command::{Error, Result};

/// NAT flows, with packets in both directions.
const FLOWS: u32 = 1_000_000;
/// Connections that expire at the same time.
const IDLE: u32 = 1_000_000;
/// Services that are applied.
const SERVICES: u32 = 10_000;
/// Seconds until an idle connection expires. At a tenth of full speed, every flow gets a packet within that time.
const TIMEOUT: u64 = 5;
/// Warm-up after a change of load, not measured.
const SETTLE: Duration = Duration::from_millis(300);

/// Result for one situation.
pub struct Row {
    name: String,
    load: u32,
    mpps: f64,
    delays: Summary,
    lost: u64,
    note: String,
}

/// Results for all situations, and full speed.
pub struct Report {
    /// Full speed in Mpps.
    pub full: f64,
    /// Results by situation.
    pub rows: Vec<Row>,
}

struct Bench<'a> {
    run: &'a Run,
    case: Case,
    orders: [Arc<[u32]>; 2],
    full: f64,
    rig: Rig,
}

/// Measures full speed, then latency at lower loads.
///
/// # Errors
/// If a flow gets no connection or the engine rejects a request.
pub fn measure(run: &Run) -> Result<Report> {
    let case = Case { family: Family::Ipv4, method: Method::Nat, flows: FLOWS, pattern: Pattern::Uniform };
    let (orders, settings) = (case.orders(), format!("udp_timeout = {TIMEOUT}"));
    let rig = case.rig(run.cpus, FLOWS + IDLE, &settings)?;
    let mut bench = Bench { run, case, orders, full: 0.0, rig };
    bench.full = bench.full_speed();
    let nothing = bench.nothing(50)?;
    let mut rows = vec![nothing];
    for load in [10, 50, 90] {
        rows.push(bench.quiet(load));
    }
    rows.push(bench.during("applying 10,000 services", apply)?);
    rows.push(bench.during("listing 1,000,000 connections", list)?);
    rows.push(bench.expiring()?);
    Ok(Report { full: bench.full, rows })
}

impl Bench<'_> {
    fn script(&self, pace: Pace) -> Script {
        let mut script = self.case.script(&self.orders);
        script.pace = pace;
        script.delays = Some(Box::default());
        script
    }

    /// Both sides together send this share of full speed.
    fn pace(&self, load: u32) -> Pace {
        Pace::Every((2e6 / (self.full * f64::from(load) / 100.0)) as u64)
    }

    fn full_speed(&mut self) -> f64 {
        self.rig.play(self.script(Pace::Full));
        self.rig.rest(SETTLE);
        let (packets, took) = window(&mut self.rig, self.run.window);
        self.rig.stop();
        packets as f64 / took.as_secs_f64() / 1e6
    }

    /// The baseline worker with the same schedule: the latency of the machine itself.
    fn nothing(&self, load: u32) -> Result<Row> {
        let script = self.script(self.pace(load));
        let (script, took) = baseline(script, self.run.cpus[1], self.run.window)?;
        Ok(row("baseline, no balancer".to_owned(), load, &script, took, String::new()))
    }

    fn quiet(&mut self, load: u32) -> Row {
        self.begin(load);
        self.rig.rest(self.run.window);
        self.end("idle control plane".to_owned(), load, self.run.window, String::new())
    }

    fn begin(&mut self, load: u32) {
        self.rig.play(self.script(self.pace(load)));
        self.rig.rest(SETTLE);
        self.rig.look(|script| script.delays = Some(Box::default()));
    }

    fn end(&mut self, name: String, load: u32, took: Duration, note: String) -> Row {
        let script = self.rig.stop();
        row(name, load, &script, took + SETTLE, note)
    }

    /// Latency at half speed while the control plane repeats an operation.
    fn during(&mut self, name: &str, work: fn(&mut Rig) -> Result<String>) -> Result<Row> {
        self.begin(50);
        let (began, mut note) = (Instant::now(), String::new());
        while note.is_empty() || began.elapsed() < self.run.window {
            note = work(&mut self.rig)?;
        }
        let took = began.elapsed();
        Ok(self.end(name.to_owned(), 50, took, note))
    }

    /// Latency at half speed while a million connections, opened together, expire.
    fn expiring(&mut self) -> Result<Row> {
        let idle = Flows::Fresh { first: 1 << 24, span: IDLE };
        let idle = Source::new(PacketBuilder::new(Family::Ipv4, Kind::Request), idle).times(IDLE.into());
        let before = self.rig.connections();
        self.rig.play_out(Script::new(vec![idle], Vec::new()))?;
        let opened = self.rig.connections() - before;
        self.begin(50);
        let began = Instant::now();
        while self.rig.connections() > before + opened / 100 && began.elapsed().as_secs() < 6 * TIMEOUT {
            self.rig.rest(Duration::from_millis(100));
        }
        let (took, left) = (began.elapsed(), self.rig.connections());
        let note = format!("{opened} connections opened, {left} left after {:.1} s", took.as_secs_f64());
        Ok(self.end("expiring 1,000,000 connections".to_owned(), 50, took, note))
    }
}

fn row(name: String, load: u32, script: &Script, took: Duration, note: String) -> Row {
    let (sent, passed) = script.counts();
    let delays = script.delays.as_deref().map_or_else(|| Histogram::default().summary(), Histogram::summary);
    Row { name, load, mpps: passed as f64 / took.as_secs_f64() / 1e6, delays, lost: sent - passed, note }
}

/// Applies a configuration with many services, then one without them.
fn apply(rig: &mut Rig) -> Result<String> {
    let few = rig.engine.config();
    let began = Instant::now();
    apply_one(rig, many(&few))?;
    let took = began.elapsed();
    apply_one(rig, few)?;
    Ok(format!("one apply takes {:.2} s", took.as_secs_f64()))
}

fn many(few: &Config) -> Config {
    let mut config = few.clone();
    let Some(ours) = few.services.iter().next() else { return config };
    for number in 0..SERVICES {
        let address: IpAddr = Ipv4Addr::from_bits(0x0a0a_0000 + number).into();
        let key = match ours.key {
            ServiceKey::Address { protocol, l4_port, .. } => {
                ServiceKey::Address { protocol, address, l4_port }
            }
            ServiceKey::Fwmark { family, .. } => ServiceKey::Fwmark { fwmark: 1 + number, family },
        };
        config.services.push(Service { key, ..ours.clone() });
    }
    config
}

fn apply_one(rig: &mut Rig, config: Config) -> Result<()> {
    let request = Request::ConfigApply(Apply { config, dry_run: false, digest: None });
    rig.engine.handle(request).map(drop).map_err(|why| Error(why.to_string()))
}

/// Lists all connections, page by page.
fn list(rig: &mut Rig) -> Result<String> {
    let (began, mut cursor, mut count) = (Instant::now(), None, 0);
    loop {
        let query = ConnectionQuery { limit: 10_000, cursor, ..ConnectionQuery::default() };
        match rig.engine.handle(Request::ConnectionList(query)).map_err(|why| Error(why.to_string()))? {
            Reply::Connections(page) => {
                count += page.connections.len();
                cursor = page.next;
            }
            _ => return Err(Error("the reply to connection.list has no connections".to_owned())),
        }
        rig.engine.tick();
        if cursor.is_none() {
            return Ok(format!("{count} connections listed in {:.2} s", began.elapsed().as_secs_f64()));
        }
    }
}

impl Row {
    /// Returns the head of the table.
    pub fn head() -> String {
        format!(
            "{:40} {:>5} {:>6} {:>8} {:>8} {:>8} {:>9} {:>9} {:>6} {:>6}",
            "latency in microseconds", "load", "Mpps", "min", "p50", "p99", "p99.9", "max", "ratio", "lost"
        )
    }

    /// Returns a line of the table.
    pub fn line(&self) -> String {
        let micro = |nanos: u64| nanos as f64 / 1000.0;
        let Summary { least, p50, p99, p999, most } = self.delays;
        let ratio = p999 as f64 / p50.max(1) as f64;
        let line = format!(
            "{:40} {:>3} % {:>6.2} {:>8.2} {:>8.2} {:>8.2} {:>9.2} {:>9.1} {ratio:>6.1} {:>6}",
            self.name,
            self.load,
            self.mpps,
            micro(least),
            micro(p50),
            micro(p99),
            micro(p999),
            micro(most),
            self.lost
        );
        if self.note.is_empty() { line } else { format!("{line}\n    {}", self.note) }
    }

    /// JSON for the result file.
    pub fn json(&self) -> Value {
        json!({
            "situation": self.name, "load_percent": self.load, "mpps": self.mpps,
            "nanoseconds": self.delays.json(), "lost": self.lost, "note": self.note,
        })
    }
}
