//! The rate without loss of `polluxd` between two peers on shared memory. Run by `scripts/peers`, which builds first
//! and lends huge pages.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::{Parser, ValueEnum};
use pollux_tests::bed::command::{Result, Trouble};
use pollux_tests::bench::conditions::Conditions;
use pollux_tests::bench::kinds::{Family, Method, Size, word};
use pollux_tests::bench::peers::{Middle, Peer, Setting, Via};
use pollux_tests::bench::search::{Found, GOALS, Goal, Search};
use pollux_tests::bench::world::MARKED;
use serde_json::{Value, json};

/// Who is at the other ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum With {
    /// The project's own paced sender and sink: a search for the rate without loss.
    Paced,
    /// testpmd, which cannot pace on such ports: how much passes when flowgen floods both.
    Testpmd,
}

/// polluxd between two peers on shared memory.
#[derive(Parser)]
#[command(name = "scripts/peers")]
struct Options {
    /// What is between.
    #[arg(long, value_enum, default_value = "memif")]
    via: Via,
    /// Who is at the other ends.
    #[arg(long, value_enum, default_value = "paced")]
    with: With,
    /// How packets reach the servers.
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
    /// Seconds of a trial.
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// Seconds of trials that a load is judged by.
    #[arg(long, default_value_t = 20.0)]
    sum: f64,
    /// One CPU for control and peers, one that forwards.
    #[arg(long, default_value = "0,1")]
    cpus: String,
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
    let wrong = |_| Trouble(format!("--cpus {}: give two numbers, as in 0,1", options.cpus));
    let cpus = <[usize; 2]>::try_from(cpus).map_err(wrong)?;
    let testpmd = options.with == With::Testpmd;
    let marks = format!("[[marks]]\ndestination = \"{MARKED}\"\nmark = 1\n");
    let ports = if testpmd { options.via.ports_for_flowgen()? } else { options.via.ports() };
    let setting = Setting {
        via: options.via,
        ports: &ports,
        // Flowgen changes the address that packets go to, which DR leaves alone.
        method: if testpmd { Method::Dr } else { options.method },
        family: if testpmd { Family::Ipv4 } else { options.family },
        size: options.size,
        flows: options.flows,
        cpus: &cpus,
        key: testpmd.then_some("mark = 1"),
        marks: if testpmd { &marks } else { "" },
    };
    let middle = Middle::start(&setting)?;
    let result = match options.with {
        With::Paced => search(options, &setting, &middle)?,
        With::Testpmd => flood(options, &setting, &middle)?,
    };
    save(&conditions, &setting, result)
}

fn search(options: &Options, setting: &Setting<'_>, middle: &Middle) -> Result<Value> {
    let mut peer = Peer::start(middle, setting)?;
    // Every flow is known before a packet counts, and the sender shows what it can.
    peer.trial(100_000.0, (f64::from(options.flows) / 50_000.0).max(0.5))?;
    let flat_out = peer.trial(1e9, options.seconds)?;
    // What the sender can do now and then is no load that it can hold.
    let most = flat_out.load * 0.9;
    println!("the sender can offer {:.3} Mpps; of all it could send, {:.3} Mpps passed", most / 1e6, {
        flat_out.received as f64 / flat_out.seconds / 1e6
    });
    let mut search = Search::new(most, options.seconds, |load, seconds| peer.trial(load, seconds));
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

/// testpmd sends by both ports all it can, and drops what comes.
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
        .map_err(|error| Trouble(format!("cannot run dpdk-testpmd: {error}; scripts/install installs it")))?;
    let mut input = child.stdin.take().ok_or_else(|| Trouble("dpdk-testpmd has no input".to_owned()))?;
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
        return Err(Trouble("polluxd passed no packet of dpdk-testpmd's".to_owned()));
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

fn save(conditions: &Conditions, setting: &Setting<'_>, mut result: Value) -> Result<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|error| Trouble(error.to_string()))?;
    result["format"] = json!("pollux-peers");
    result["version"] = json!(1);
    result["unix_time"] = json!(now.as_secs());
    result["conditions"] = conditions.json();
    result["setting"] = json!({
        "via": word(setting.via), "method": word(setting.method), "family": word(setting.family),
        "size": word(setting.size), "flows": setting.flows,
    });
    let place = Path::new("bench-results");
    fs::create_dir_all(place)?;
    let file = place.join(format!("peers-{}.json", now.as_secs()));
    fs::write(&file, format!("{result:#}\n"))?;
    println!("written to {}", file.display());
    Ok(())
}
