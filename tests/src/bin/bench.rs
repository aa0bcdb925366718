//! Cycles per packet of `polluxd` and of `dpdk-testpmd` on identical ports in the same run, alternating. Run by
//! `scripts/bench`, which builds first and lends huge pages.

use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Parser;
use pollux_tests::bed::command::{Result, Trouble};
use pollux_tests::bench::report::Sample;
use pollux_tests::bench::{Setup, daemon, pcap, testpmd};
use serde_json::{Value, json};

const FLOWS: [u32; 3] = [1_000, 100_000, 1_000_000];
const METHODS: [&str; 3] = ["nat", "dr", "tunnel"];

#[derive(Parser)]
struct Options {
    /// One round of a thousand and a million flows instead of five rounds of all.
    #[arg(long)]
    quick: bool,
    /// There are huge pages for both programs.
    #[arg(long)]
    huge: bool,
    /// One CPU for control, one that forwards.
    #[arg(long, default_value = "0,1")]
    cpus: String,
}

fn main() -> std::process::ExitCode {
    match run(&Options::parse()) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            std::process::ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<()> {
    let rounds = if options.quick { 1 } else { 5 };
    println!(
        "UDP, 64-byte frames, one forwarding core, NAT one way; cycles per packet, median [least-most] of {rounds}"
    );
    println!(
        "{:>8} {:7} {:>24} {:>24} {:>6} {:>6} {:>11}",
        "flows", "method", "polluxd", "testpmd macswap", "ratio", "Mpps", "bytes/conn."
    );
    let directory = tempfile::tempdir()?;
    let mut rows = Vec::new();
    for flows in FLOWS {
        if options.quick && flows == 100_000 {
            continue;
        }
        let file = directory.path().join(format!("{flows}.pcap"));
        pcap::write(&file, flows)?;
        let setup = Setup { pcap: &file, flows, huge: options.huge, cpus: &options.cpus };
        for method in METHODS {
            rows.push(row(&setup, method, rounds)?);
        }
        fs::remove_file(&file)?;
    }
    save(options, &rows)
}

/// Measures both programs in turn and prints a line of the table.
fn row(setup: &Setup, method: &str, rounds: usize) -> Result<Value> {
    let (mut ours, mut theirs, mut mpps, mut bytes) = (Vec::new(), Vec::new(), Vec::new(), 0.0);
    for _ in 0..rounds {
        theirs.push(testpmd::cycles(setup)?);
        let window = daemon::measure(setup, method)?;
        ours.push(window.cycles);
        mpps.push(window.mpps);
        bytes = window.bytes_per_connection;
    }
    let (ours, theirs, mpps) = (Sample::new(ours), Sample::new(theirs), Sample::new(mpps));
    let ratio = ours.median() / theirs.median();
    println!(
        "{:>8} {method:7} {:>24} {:>24} {ratio:>6.2} {:>6.2} {bytes:>11.1}",
        setup.flows,
        ours.text(),
        theirs.text(),
        mpps.median()
    );
    Ok(json!({
        "flows": setup.flows, "method": method, "ratio": ratio, "bytes_per_connection": bytes,
        "polluxd_cycles_per_packet": ours.json(), "testpmd_cycles_per_packet": theirs.json(),
        "polluxd_mpps": mpps.json(),
    }))
}

fn save(options: &Options, rows: &[Value]) -> Result<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|error| Trouble(error.to_string()))?;
    let place = Path::new("bench-results");
    fs::create_dir_all(place)?;
    let file = place.join(format!("{}.json", now.as_secs()));
    let result = json!({ "unix_time": now.as_secs(), "huge_pages": options.huge, "rows": rows });
    fs::write(&file, format!("{result:#}\n"))?;
    println!("written to {}", file.display());
    Ok(())
}
