//! Two workers on two cores: the gain, and the cost of packets that arrive at the wrong worker.

mod arrive;

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam::utils::CachePadded;
use serde_json::{Value, json};

use self::arrive::{Arrive, Lists, owned};
use super::generator::{Time, baseline, pin};
use super::packet_builder::{Kind, PacketBuilder};
use super::rig::{Cpus, Rig};
use super::script::{Flows, Script, Source};
use super::throughput::Run;
use crate::kinds::{Family, Method, word};
use crate::report::Sample;
use crate::world::{PORTS, Plan, config};
use pollux_tests::bed::command::{Error, Result};

/// A method and a number of flows per worker.
#[derive(Clone, Copy, Debug)]
struct Case {
    method: Method,
    flows: u32,
}

/// All cases.
const CASES: [Case; 3] = [
    Case { method: Method::Nat, flows: 1000 },
    Case { method: Method::Dr, flows: 1000 },
    Case { method: Method::Nat, flows: 500_000 },
];

/// Measures all cases, prints each row when it is ready, and returns the JSON for the result file.
///
/// # Errors
/// If a case cannot be measured.
pub fn measure_all(run: &Run) -> Result<Value> {
    println!("\nOne worker and two; core nanoseconds per packet, 64-byte UDP over IPv4");
    println!("{}", Row::head());
    let line = line_between(run.cpus)?;
    let mut all = Vec::new();
    for case in CASES {
        let rows = measure(run, case)?;
        rows.iter().for_each(|row| println!("{}", row.line()));
        all.extend(rows.iter().map(Row::json));
    }
    println!("A cache line that one core wrote reaches the other in {line:.0} ns");
    Ok(json!({ "cache_line_transfer_ns": line, "rows": all }))
}

/// Returns the nanoseconds until one core sees what the other wrote.
fn line_between(cpus: Cpus) -> Result<f64> {
    const ROUND_TRIPS: u64 = 200_000;
    let token = CachePadded::new(AtomicU64::new(0));
    let play = |me: u64| {
        let token = &token;
        move || {
            pin(cpus[me as usize])?;
            let began = Instant::now();
            for step in (me..ROUND_TRIPS).step_by(2) {
                while token.load(Acquire) != step {
                    // If both threads share a CPU this would never end.
                    if began.elapsed() > Duration::from_secs(10) {
                        return Err(Error("the other core does not respond within ten seconds".to_owned()));
                    }
                }
                token.store(step + 1, Release);
            }
            Ok(began.elapsed())
        }
    };
    let took = thread::scope(|scope| {
        let other = scope.spawn(play(1));
        let mine = scope.spawn(play(0)).join();
        let _ = other.join();
        mine
    });
    let took: Duration = took.map_err(|_| Error("a thread panicked".to_owned()))??;
    Ok(took.as_nanos() as f64 / ROUND_TRIPS as f64)
}

/// Result of a case.
struct Row {
    case: Case,
    arrive: Arrive,
    mpps: Sample,
    /// Throughput relative to one worker.
    scaling: Sample,
    ours: Sample,
    nothing: Sample,
    above: Sample,
    /// Share of the packets.
    handed_off: f64,
    lost: u64,
}

/// Measures a case round by round, so that interference affects all rows alike.
fn measure(run: &Run, case: Case) -> Result<Vec<Row>> {
    let [control, cpu] = run.cpus;
    let alone = Bench::start(case, control, &[cpu])?;
    let pair = Bench::start(case, control, &[cpu, control])?;
    let mut benches = [alone, pair];
    let arrivals = [Arrive::Alone, Arrive::Own, Arrive::Half, Arrive::Other];
    let mut seen: [Vec<Seen>; 4] = Default::default();
    for _ in 0..run.rounds {
        for (arrive, seen) in arrivals.into_iter().zip(&mut seen) {
            let bench = &mut benches[usize::from(arrive != Arrive::Alone)];
            seen.push(bench.round(arrive, run.window)?);
        }
    }
    let one: Vec<f64> = seen[0].iter().map(|seen| seen.mpps).collect();
    Ok(arrivals.into_iter().zip(&seen).map(|(arrive, seen)| Row::new(case, arrive, seen, &one)).collect())
}

/// Result of one round.
struct Seen {
    mpps: f64,
    ours: f64,
    nothing: f64,
    handed_off: f64,
    lost: u64,
}

/// A rig with one or two workers that know all their flows.
struct Bench {
    case: Case,
    cpus: Vec<usize>,
    rig: Rig,
    owned: Lists,
}

impl Bench {
    fn start(case: Case, control: usize, cpus: &[usize]) -> Result<Bench> {
        let plan = Plan {
            family: Family::Ipv4,
            method: case.method,
            protocol: "udp",
            scheduler: "sh",
            ports: &PORTS[..2],
            inside: 1,
            key: None,
            // Twice the average, since flows are not distributed evenly.
            connections: case.flows * 2 * cpus.len() as u32 + 2000,
            buffers: 0,
            settings: "",
        };
        let config = config(&plan);
        let mut rig = Rig::of_many(&config, control, cpus, &Time::Wall(Instant::now()))?;
        let owned = owned(&config, &rig.steering, case.flows)?;
        let once = |flows: &Vec<u32>| {
            let listed = Flows::Listed(flows.as_slice().into());
            let source = Source::new(PacketBuilder::new(Family::Ipv4, Kind::Request), listed);
            Script::new(vec![source.times(flows.len() as u64)], Vec::new())
        };
        rig.play_each_out(owned.iter().map(once).collect())?;
        let (known, all) = (rig.connections(), u64::from(case.flows) * cpus.len() as u64);
        if known != all {
            return Err(Error(format!("{known} of {all} flows have a connection; is the table too small?")));
        }
        Ok(Bench { case, cpus: cpus.to_vec(), rig, owned })
    }

    fn scripts(&self, arrive: Arrive) -> Vec<Script> {
        let script = |flows: Vec<u32>| {
            let source = |kind, flows: &[u32]| {
                Source::new(PacketBuilder::new(Family::Ipv4, kind), Flows::Listed(flows.into()))
            };
            let mut replies = Vec::new();
            if self.case.method.is_mixed() {
                // The same order with an offset, so that a reply does not follow its request directly.
                let mut order = flows.clone();
                order.rotate_left(flows.len() / 3);
                replies.push(source(Kind::Reply, &order));
            }
            Script::new(vec![source(Kind::Request, &flows)], replies)
        };
        arrive.lists(&self.owned).into_iter().map(script).collect()
    }

    fn round(&mut self, arrive: Arrive, window: Duration) -> Result<Seen> {
        let workers = self.cpus.len() as f64;
        let nothing = generators(self.scripts(arrive), &self.cpus, window)?;
        let (lost, handed) = (self.rig.lost(), self.handed_off());
        self.rig.play_each(self.scripts(arrive));
        // Warm-up for caches and the branch predictor.
        self.rig.rest(window / 4);
        let ((_, before), began) = (self.rig.counts(), Instant::now());
        self.rig.rest(window);
        let ((_, after), took) = (self.rig.counts(), began.elapsed());
        let all: u64 = self.rig.stop_each().iter().map(|script| script.counts().0).sum();
        let mpps = (after - before) as f64 / took.as_secs_f64() / 1e6;
        Ok(Seen {
            mpps,
            ours: 1e3 * workers / mpps.max(1e-9),
            nothing,
            handed_off: (self.handed_off() - handed) as f64 / all.max(1) as f64,
            lost: self.rig.lost() - lost,
        })
    }

    fn handed_off(&self) -> u64 {
        self.rig.worker_stats.iter().map(|stats| stats.counters.handoff_sent.get()).sum()
    }
}

/// Returns core nanoseconds per packet of baseline workers that run at the same time.
fn generators(scripts: Vec<Script>, cpus: &[usize], window: Duration) -> Result<f64> {
    let plays: Vec<_> = scripts.into_iter().zip(cpus.iter().copied()).collect();
    let results: Vec<Result<(Script, Duration)>> = thread::scope(|scope| {
        let play = |(script, cpu)| scope.spawn(move || baseline(script, cpu, window));
        let all: Vec<_> = plays.into_iter().map(play).collect();
        let gone = |_| Err(Error("a generator thread panicked".to_owned()));
        all.into_iter().map(|thread| thread.join().unwrap_or_else(gone)).collect()
    });
    let mut each = Vec::new();
    for result in results {
        let (script, took) = result?;
        each.push(took.as_nanos() as f64 / script.counts().0.max(1) as f64);
    }
    Ok(each.iter().sum::<f64>() / each.len().max(1) as f64)
}

impl Row {
    fn new(case: Case, arrive: Arrive, seen: &[Seen], one: &[f64]) -> Row {
        let sample = |field: &dyn Fn(&Seen) -> f64| Sample::new(seen.iter().map(field).collect());
        let times = seen.iter().zip(one).map(|(seen, one)| seen.mpps / one).collect();
        let handed_off = sample(&|seen| seen.handed_off).median();
        Row {
            case,
            arrive,
            mpps: sample(&|seen| seen.mpps),
            scaling: Sample::new(times),
            ours: sample(&|seen| seen.ours),
            nothing: sample(&|seen| seen.nothing),
            above: sample(&|seen| seen.ours - seen.nothing),
            handed_off,
            lost: seen.iter().map(|seen| seen.lost).sum(),
        }
    }

    /// Returns the head of the table.
    fn head() -> String {
        format!(
            "{:6} {:>8} {:30} {:>20} {:>16} {:>20} {:>20} {:>20} {:>6} {:>6}",
            "method",
            "flows",
            "packets arrive",
            "Mpps",
            "speedup",
            "total, ns",
            "generator, ns",
            "net, ns",
            "handoff",
            "lost"
        )
    }

    /// Returns a line of the table.
    fn line(&self) -> String {
        format!(
            "{:6} {:>8} {:30} {:>20} {:>16} {:>20} {:>20} {:>20} {:>5.0}% {:>6}",
            word(self.case.method),
            self.case.flows,
            self.arrive.words(),
            self.mpps.fine(),
            self.scaling.fine(),
            self.ours.text(),
            self.nothing.text(),
            self.above.text(),
            self.handed_off * 100.0,
            self.lost
        )
    }

    /// JSON for the result file.
    fn json(&self) -> Value {
        json!({
            "method": word(self.case.method), "flows_per_worker": self.case.flows,
            "arrival": self.arrive.words(), "mpps": self.mpps.json(), "speedup": self.scaling.json(),
            "core_ns_per_packet": self.ours.json(), "generator_ns_per_packet": self.nothing.json(),
            "ns_above_generator": self.above.json(), "handed_off_share": self.handed_off, "lost": self.lost,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_arrive_at_the_intended_worker() {
        for method in [Method::Nat, Method::Dr] {
            let case = Case { method, flows: 300 };
            let run = Run { rounds: 1, window: Duration::from_millis(40), cpus: [0, 0] };
            let rows = measure(&run, case).unwrap();
            let handed: Vec<f64> = rows.iter().map(|row| (row.handed_off * 100.0).round()).collect();
            assert_eq!(handed[0..2], [0.0, 0.0], "{method:?}");
            assert!((45.0..=55.0).contains(&handed[2]) && handed[3] == 100.0, "{method:?} {handed:?}");
            assert!(rows.iter().all(|row| row.lost == 0 && row.mpps.median() > 0.0), "{method:?}");
        }
    }
}
