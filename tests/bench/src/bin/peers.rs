//! Searches for the highest rate without loss of `polluxd` between two peers on shared memory. Run by `scripts/peers`,
//! which builds the programs and reserves huge pages.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::{Parser, ValueEnum};
use pollux_bench::conditions::Conditions;
use pollux_bench::kinds::{Family, Method, Size, word};
use pollux_bench::peers::{Middle, Peer, Setting, Via};
use pollux_bench::pktgen::{self, Pktgen, in_time};
use pollux_bench::search::{Found, GOALS, Goal, Search, Trial};
use pollux_bench::world::MARKED;
use pollux_tests::bed::command::{Error, Result};
use serde_json::{Value, json};

/// Traffic generator
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum With {
    /// Pollux's own paced sender and sink: search for the rate without loss.
    Paced,
    /// testpmd, which cannot pace on these ports: throughput while flowgen floods both.
    Testpmd,
    /// Pktgen-DPDK: the same search, with pktgen's rates and counters.
    Pktgen,
}

/// Packets per second while flows become known.
const KNOWN_AT: f64 = 100_000.0;

/// Measures polluxd between two peers on shared memory.
#[derive(Parser)]
#[command(name = "scripts/peers")]
struct Options {
    /// Device type between the peers.
    #[arg(long, value_enum, default_value = "memif")]
    via: Via,
    /// Traffic generator
    #[arg(long, value_enum, default_value = "paced")]
    with: With,
    /// Path of pktgen, if it is not in PATH
    #[arg(long, value_name = "FILE")]
    pktgen: Option<PathBuf>,
    /// Forwarding method.
    #[arg(long, value_enum, default_value = "nat")]
    method: Method,
    /// Addresses.
    #[arg(long, value_enum, default_value = "ipv4")]
    family: Family,
    /// Frames.
    #[arg(long, value_enum, default_value = "64")]
    size: Size,
    /// Flows.
    #[arg(long, default_value_t = 1000)]
    flows: u32,
    /// Seconds per trial
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// Seconds of trials by which a load is judged.
    #[arg(long, default_value_t = 20.0)]
    sum: f64,
    /// CPU of control and peers, CPU of the worker.
    #[arg(long, default_value = "0,1")]
    cpus: String,
}

impl Options {
    /// Returns the warm-up time in which every flow becomes known.
    fn known_after(&self) -> f64 {
        (f64::from(self.flows) * 2.0 / KNOWN_AT).max(0.5)
    }
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("peers: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<()> {
    let conditions = Conditions::read(true)?;
    println!("{}", conditions.text());
    let cpus: Vec<usize> = options.cpus.split(',').filter_map(|cpu| cpu.trim().parse().ok()).collect();
    let wrong = |_| Error(format!("--cpus {}: give two numbers, as in 0,1", options.cpus));
    let cpus = <[usize; 2]>::try_from(cpus).map_err(wrong)?;
    let testpmd = options.with == With::Testpmd;
    let fwmarks = format!("[[fwmarks]]\ndestination = \"{MARKED}\"\nfwmark = 1\n");
    let ports = if testpmd { options.via.ports_for_flowgen()? } else { options.via.ports() };
    let setting = Setting {
        via: options.via,
        ports: &ports,
        // Flowgen varies the destination address, and DR keeps it.
        method: if testpmd { Method::Dr } else { options.method },
        family: if testpmd { Family::Ipv4 } else { options.family },
        size: options.size,
        flows: options.flows,
        cpus: &cpus,
        key: testpmd.then_some("fwmark = 1"),
        fwmarks: if testpmd { &fwmarks } else { "" },
    };
    // Fail before anything starts if there is no pktgen.
    let program =
        if options.with == With::Pktgen { pktgen::find(options.pktgen.as_deref())? } else { PathBuf::new() };
    let middle = Middle::start(&setting)?;
    let result = match options.with {
        With::Paced => {
            let mut peer = Peer::start(&middle, &setting)?;
            peer.trial(KNOWN_AT, options.known_after())?;
            let flat_out = peer.trial(1e9, options.seconds)?;
            println!("the sender can offer {:.3} Mpps; {}", flat_out.load * 0.9 / 1e6, passed(&flat_out));
            // A load that it reaches occasionally is not one it can sustain.
            search(options, flat_out.load * 0.9, |load, seconds| peer.trial(load, seconds))?
        }
        With::Pktgen => {
            let mut pktgen = Pktgen::start(&program, &middle, &setting)?;
            agree(&mut pktgen, &middle)?;
            pktgen.trial(KNOWN_AT, options.known_after())?;
            let flat_out = pktgen.flat_out(options.seconds)?;
            println!(
                "pktgen, which waits for room in a ring, sent {:.3} of {:.3} Mpps of its link; {}",
                flat_out.load / 1e6,
                pktgen.line_rate() / 1e6,
                passed(&flat_out)
            );
            let most = (flat_out.load * 1.1).min(pktgen.line_rate());
            // Above this load it cannot send in time, whichever of both is the bottleneck.
            let trial = |load, seconds| Ok(in_time(pktgen.trial(load, seconds)?, seconds));
            search(options, most, trial)?
        }
        With::Testpmd => flood(options, &setting, &middle)?,
    };
    save(&conditions, &setting, options.with, result)
}

/// Checks that pktgen and polluxd count alike; releases of pktgen differ in this.
fn agree(pktgen: &mut Pktgen, middle: &Middle) -> Result<()> {
    let before = middle.counts()?;
    let trial = pktgen.trial(10_000.0, 0.2)?;
    let sent = middle.counts()?[1] - before[1];
    if trial.received == sent && sent > 0 {
        return Ok(());
    }
    Err(Error(format!(
        "of {} packets of pktgen's polluxd passed {sent} on, and pktgen says that {} arrived; is it release 23.10.2, as \
         scripts/pktgen builds it?",
        trial.sent, trial.received
    )))
}

fn passed(trial: &Trial) -> String {
    format!("of all it could send, {:.3} Mpps passed", trial.received as f64 / trial.seconds / 1e6)
}

fn search(options: &Options, most: f64, trial: impl FnMut(f64, f64) -> Result<Trial>) -> Result<Value> {
    let mut search = Search::new(most, options.seconds, trial);
    let mut found: Vec<Found> = Vec::new();
    for goal in GOALS {
        let one = search.find(Goal { duration_sum: options.sum, ..goal })?;
        println!("{}", one.line());
        found.push(one);
    }
    let trials = search.trials().iter().map(|trial| {
        json!({ "load_pps": trial.load, "seconds": trial.seconds, "sent": trial.sent, "received": trial.received,
            "loss_ratio": trial.loss() })
    });
    Ok(json!({
        "max_load_pps": most, "trial_seconds": options.seconds,
        "goals": found.iter().map(Found::json).collect::<Vec<_>>(), "trials": trials.collect::<Vec<_>>(),
    }))
}

/// testpmd sends as much as it can on both ports and drops received packets.
fn flood(options: &Options, setting: &Setting<'_>, middle: &Middle) -> Result<Value> {
    let control = setting.cpus[0];
    let mut child = Command::new("dpdk-testpmd")
        // Its two threads share the CPU that does not forward.
        .args([format!("--lcores=0@{control},1@{control}")])
        .args(middle.other_end(setting.via))
        .args(["--", "-i", "--nb-cores=1", "--forward-mode=flowgen"])
        .args([
            format!("--flowgen-flows={}", setting.flows),
            format!("--txpkts={}", setting.size.frame(0) + 4),
        ])
        .args(["--total-num-mbufs=32768"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .map_err(|error| Error(format!("cannot run dpdk-testpmd: {error}; scripts/install installs it")))?;
    let mut input = child.stdin.take().ok_or_else(|| Error("dpdk-testpmd has no input".to_owned()))?;
    input.write_all(b"start\n")?;
    std::thread::sleep(Duration::from_secs(3));
    let (before, began) = (middle.counts()?, Instant::now());
    std::thread::sleep(Duration::from_secs_f64(options.seconds.max(1.0) * 3.0));
    let (after, seconds) = (middle.counts()?, began.elapsed().as_secs_f64());
    input.write_all(b"stop\nquit\n")?;
    drop(input);
    child.wait()?;
    let [received, sent, cycles] = [0, 1, 2].map(|at| (after[at] - before[at]) as f64);
    if sent == 0.0 {
        return Err(Error("polluxd passed no packet of dpdk-testpmd's".to_owned()));
    }
    println!(
        "polluxd took {:.3} Mpps of flowgen's and passed {:.3} Mpps on, in {:.0} cycles a packet",
        received / seconds / 1e6,
        sent / seconds / 1e6,
        cycles / received
    );
    Ok(json!({
        "received_pps": received / seconds, "sent_pps": sent / seconds, "busy_cycles_per_packet": cycles / received,
    }))
}

fn save(conditions: &Conditions, setting: &Setting<'_>, with: With, mut result: Value) -> Result<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|error| Error(error.to_string()))?;
    result["format"] = json!("pollux-peers");
    result["version"] = json!(1);
    result["unix_time"] = json!(now.as_secs());
    result["conditions"] = conditions.json();
    result["setting"] = json!({
        "via": word(setting.via), "method": word(setting.method), "family": word(setting.family),
        "size": word(setting.size), "flows": setting.flows, "with": word(with),
    });
    let place = Path::new("bench-results");
    fs::create_dir_all(place)?;
    let file = place.join(format!("peers-{}.json", now.as_secs()));
    fs::write(&file, format!("{result:#}\n"))?;
    println!("written to {}", file.display());
    Ok(())
}
