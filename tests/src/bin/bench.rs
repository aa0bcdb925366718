//! What `polluxd` costs and bears, beside `dpdk-testpmd` on identical ports in the same run. Run by `scripts/bench`,
//! which builds first and lends huge pages.

use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Parser;
use pollux_tests::bed::command::{Result, Trouble};
use pollux_tests::bench::conditions::Conditions;
use pollux_tests::bench::kinds::{Family, Method, Pattern, Size};
use pollux_tests::bench::matrix::{self, Choice, Row, Run};
use serde_json::{Value, json};

/// Measures polluxd and dpdk-testpmd (macswap) in turn on identical ports.
#[derive(Parser)]
#[command(name = "scripts/bench")]
struct Options {
    /// One round of a thousand and a million flows; fails when a ratio is above its limit.
    #[arg(long)]
    quick: bool,
    /// Only these numbers of flows, in every kind of traffic that is chosen.
    #[arg(long, value_delimiter = ',')]
    flows: Vec<u32>,
    /// Only these methods.
    #[arg(long, value_enum, value_delimiter = ',')]
    methods: Vec<Method>,
    /// Only these families.
    #[arg(long, value_enum, value_delimiter = ',')]
    families: Vec<Family>,
    /// Only these sizes of frames.
    #[arg(long, value_enum, value_delimiter = ',')]
    sizes: Vec<Size>,
    /// Only these patterns.
    #[arg(long, value_enum, value_delimiter = ',')]
    patterns: Vec<Pattern>,
    /// How often each row is measured.
    #[arg(long)]
    rounds: Option<usize>,
    /// Seconds that each measurement counts.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// There are huge pages for both programs.
    #[arg(long, hide = true)]
    huge: bool,
    /// One CPU for control, one that forwards.
    #[arg(long, default_value = "0,1")]
    cpus: String,
}

impl Options {
    fn choice(&self) -> Choice {
        if self.quick {
            return matrix::quick();
        }
        Choice {
            flows: self.flows.clone(),
            methods: self.methods.clone(),
            families: self.families.clone(),
            sizes: self.sizes.clone(),
            patterns: self.patterns.clone(),
        }
    }

    fn rounds(&self) -> usize {
        self.rounds.unwrap_or(if self.quick { 1 } else { 5 }).max(1)
    }
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<()> {
    let conditions = Conditions::read(options.huge)?;
    println!("{}", conditions.text());
    let rows = matrix(options, &conditions)?;
    save(&conditions, json!({ "matrix": rows.iter().map(Row::json).collect::<Vec<_>>() }))?;
    if options.quick { gate(&rows) } else { Ok(()) }
}

fn matrix(options: &Options, conditions: &Conditions) -> Result<Vec<Row>> {
    let run = Run {
        rounds: options.rounds(),
        window: Duration::from_secs_f64(options.seconds),
        huge: options.huge,
        cpus: &options.cpus,
        gigahertz: conditions.gigahertz,
    };
    println!(
        "UDP, one forwarding core, of NAT both directions; per packet, median [least-most] of {} rounds",
        run.rounds
    );
    println!("{}", matrix::head());
    let mut rows = Vec::new();
    for group in matrix::groups(&options.choice()) {
        let measured = matrix::measure(&run, &group)?;
        measured.iter().for_each(|row| println!("{}", row.line()));
        rows.extend(measured);
    }
    Ok(rows)
}

/// Fails when a ratio is above what continuous integration lets pass.
fn gate(rows: &[Row]) -> Result<()> {
    let slow = rows.iter().filter(|row| row.ratio.median() > matrix::limit(row.traffic.flows));
    let lines: Vec<String> = slow
        .map(|row| {
            format!(
                "{}\nis above the limit of {} times testpmd",
                row.line(),
                matrix::limit(row.traffic.flows)
            )
        })
        .collect();
    if lines.is_empty() { Ok(()) } else { Err(Trouble(lines.join("\n"))) }
}

fn save(conditions: &Conditions, mut result: Value) -> Result<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|error| Trouble(error.to_string()))?;
    let place = Path::new("bench-results");
    fs::create_dir_all(place)?;
    let file = place.join(format!("{}.json", now.as_secs()));
    result["format"] = json!("pollux-bench");
    result["version"] = json!(1);
    result["unix_time"] = json!(now.as_secs());
    result["conditions"] = conditions.json();
    fs::write(&file, format!("{result:#}\n"))?;
    println!("written to {}", file.display());
    Ok(())
}
