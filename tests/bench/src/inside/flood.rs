//! A SYN flood from many sources against a full table: do established connections still get through?

use std::time::Instant;

use serde_json::{Value, json};

use super::generator::Time;
use super::packet_builder::{Kind, PacketBuilder};
use super::rig::Rig;
use super::script::{Flows, Script, Source};
use super::throughput::Run;
use crate::kinds::{Family, Method};
use crate::random::{Random, shuffled};
use crate::world::{PORTS, Plan, config};
use pollux_tests::bed::command::{Error, Result};

/// Capacity of the connection table.
const ROOM: u32 = 1_000_000;
/// Established connections.
const GOOD: u32 = 100_000;
/// Number of source addresses of the flood.
const BAD: (u32, u32) = (1 << 24, 1 << 27);

/// Result of the flood.
pub struct Row {
    sent: u64,
    passed: u64,
    syns: u64,
    syns_passed: u64,
    seconds: f64,
    alone: f64,
    evicted: u64,
    connections: u64,
}

fn source(kind: Kind, flows: Flows) -> Source {
    Source::new(PacketBuilder::new(Family::Ipv4, kind), flows)
}

fn everyone() -> Flows {
    Flows::Fresh { first: 0, span: GOOD }
}

/// Floods for a window. Half of the clients' packets are SYNs; half belong to established connections, which get replies.
///
/// # Errors
/// If connections cannot be established before the flood.
pub fn measure(run: &Run) -> Result<Row> {
    let plan = Plan {
        family: Family::Ipv4,
        method: Method::Nat,
        protocol: "tcp",
        scheduler: "sh",
        ports: &PORTS[..2],
        inside: 1,
        key: None,
        connections: ROOM,
        buffers: 0,
        settings: "",
    };
    let mut rig = Rig::start(&config(&plan), run.cpus, Time::Wall(Instant::now()))?;
    establish(&mut rig)?;
    rig.play(background());
    let (packets, took) = super::throughput::window(&mut rig, run.window);
    let alone = packets as f64 / took.as_secs_f64() / 1e6;
    rig.stop();
    // Until the table is full and has begun to evict connections.
    let began = Instant::now();
    rig.play(flooded());
    while rig.stats.counters.evicted.get() == 0 {
        rig.rest(run.window / 10);
        if began.elapsed().as_secs() > 60 {
            return Err(Error(format!(
                "the flood does not fill the table: {} connections",
                rig.connections()
            )));
        }
    }
    rig.stop();
    let (began, evicted) = (Instant::now(), rig.stats.counters.evicted.get());
    rig.play(flooded());
    rig.rest(run.window);
    let script = rig.stop();
    let seconds = began.elapsed().as_secs_f64();
    let [good, bad] = &script.sides[0][..] else {
        return Err(Error("the flood's sources are missing".to_owned()));
    };
    let replies = &script.sides[1][0];
    Ok(Row {
        sent: good.sent + replies.sent,
        passed: good.passed + replies.passed,
        syns: bad.sent,
        syns_passed: bad.passed,
        seconds,
        alone,
        evicted: rig.stats.counters.evicted.get() - evicted,
        connections: rig.connections(),
    })
}

fn establish(rig: &mut Rig) -> Result<()> {
    let once = |kind| source(kind, everyone()).times(GOOD.into());
    rig.play_out(Script::new(vec![once(Kind::Syn)], Vec::new()))?;
    rig.play_out(Script::new(Vec::new(), vec![once(Kind::SynAck)]))?;
    rig.play_out(Script::new(vec![once(Kind::Ack)], Vec::new()))?;
    if rig.lost() > 0 || rig.connections() != u64::from(GOOD) {
        let (lost, known) = (rig.lost(), rig.connections());
        return Err(Error(format!(
            "{known} of {GOOD} connections are established; {lost} packets were lost"
        )));
    }
    Ok(())
}

fn listed(seed: u64) -> Flows {
    Flows::Listed(shuffled(GOOD, seed).into())
}

/// Established connections in both directions.
fn background() -> Script {
    Script::new(vec![source(Kind::Ack, listed(1))], vec![source(Kind::ServerAck, listed(2))])
}

fn flooded() -> Script {
    let mut script = background();
    let (first, span) = BAD;
    script.sides[0].push(source(Kind::Syn, Flows::Chance { first, span, random: Random::new(3) }));
    script
}

impl Row {
    /// Packets of established connections that were lost.
    pub fn lost(&self) -> u64 {
        self.sent - self.passed
    }

    /// Text to print.
    pub fn text(&self) -> String {
        format!(
            "SYN flood of {:.2} million per second against a full table of {ROOM}, {GOOD} connections established:\n\
             of {} packets of theirs {} were lost ({:.2} million a second got through; without the flood {:.2});\n\
             {} of {} SYNs were passed on, {} half-open connections evicted, {} connections at the end",
            self.syns as f64 / self.seconds / 1e6,
            self.sent,
            self.lost(),
            self.passed as f64 / self.seconds / 1e6,
            self.alone,
            self.syns_passed,
            self.syns,
            self.evicted,
            self.connections
        )
    }

    /// JSON for the result file.
    pub fn json(&self) -> Value {
        json!({
            "table": ROOM, "established": GOOD, "established_sent": self.sent, "established_lost": self.lost(),
            "syns": self.syns, "syns_passed": self.syns_passed, "seconds": self.seconds,
            "established_million_per_second_alone": self.alone, "evicted": self.evicted,
            "connections_after": self.connections,
        })
    }
}
