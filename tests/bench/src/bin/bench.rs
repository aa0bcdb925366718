//! Measures `polluxd` and `dpdk-testpmd` on identical ports in the same run. Run by `scripts/bench`, which builds the
//! programs and reserves huge pages.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use std::{fs, iter};

use clap::{Parser, ValueEnum};
use pollux_bench::chase;
use pollux_bench::conditions::Conditions;
use pollux_bench::inside::{self, flood, latency, opening, spread, throughput, workers};
use pollux_bench::kinds::{Family, Method, Pattern, Size};
use pollux_bench::matrix::{self, Choice, Row, Run};
use pollux_bench::page;
use pollux_dataplane::cache_aligned_alloc::CacheAlignedAlloc;
use pollux_tests::bed::command::{Error, Result};
use serde_json::{Value, json};

/// The allocator of polluxd, since its workers run in this process.
#[global_allocator]
static MEMORY: CacheAlignedAlloc = CacheAlignedAlloc;

/// Parts of the benchmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Memory latency by working set size.
    Memory,
    /// polluxd and testpmd alternately on identical ports.
    Matrix,
    /// Up to 10 million flows, with a generator in the worker's process.
    Inside,
    /// New connections per second.
    Opening,
    /// A SYN flood.
    Flood,
    /// Latency, with an idle and a busy control plane.
    Latency,
    /// How evenly flows are distributed.
    Spread,
    /// Two workers on two cores, and packets that arrive at the wrong one.
    Workers,
}

/// Measures polluxd and dpdk-testpmd (macswap) alternately on identical ports, then the worker with a generator in its process.
#[derive(Clone, Parser)]
#[command(name = "scripts/bench")]
struct Options {
    /// Run only these parts
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Part>,
    /// Measure one round of a thousand and a million flows; exit non-zero if a ratio exceeds its limit
    #[arg(long)]
    quick: bool,
    /// Measure only these numbers of flows, with every selected kind of traffic
    #[arg(long, value_delimiter = ',')]
    flows: Vec<u32>,
    /// Measure only these forwarding methods
    #[arg(long, value_enum, value_delimiter = ',')]
    methods: Vec<Method>,
    /// Measure only these address families
    #[arg(long, value_enum, value_delimiter = ',')]
    families: Vec<Family>,
    /// Measure only these frame sizes
    #[arg(long, value_enum, value_delimiter = ',')]
    sizes: Vec<Size>,
    /// Measure only these traffic patterns
    #[arg(long, value_enum, value_delimiter = ',')]
    patterns: Vec<Pattern>,
    /// Rounds per row [default: 3, with --quick 1]
    #[arg(long)]
    rounds: Option<usize>,
    /// Seconds per measurement
    #[arg(long, default_value_t = 0.5)]
    seconds: f64,
    /// Also write report, plots and result to docs/performance
    #[arg(long)]
    publish: bool,
    /// Measure nothing; write the report and plots of this result.json again, next to it
    #[arg(long, value_name = "RESULT")]
    redraw: Option<PathBuf>,
    /// Huge pages are available for both programs
    #[arg(long, hide = true)]
    huge: bool,
    /// CPU of the control thread, CPU of the worker.
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

    fn has(&self, part: Part) -> bool {
        match (self.quick, &self.only[..]) {
            (true, _) => part == Part::Matrix,
            (false, []) => true,
            (false, only) => only.contains(&part),
        }
    }

    /// Returns the settings of measurements inside the process.
    fn inside(&self) -> Result<inside::Run> {
        let cpus: Vec<usize> = self.cpus.split(',').filter_map(|cpu| cpu.trim().parse().ok()).collect();
        let cpus = <[usize; 2]>::try_from(cpus);
        let cpus = cpus.map_err(|_| Error(format!("--cpus {}: give two numbers, as in 0,1", self.cpus)))?;
        Ok(inside::Run { rounds: self.rounds(), window: self.window(), cpus })
    }

    fn window(&self) -> Duration {
        Duration::from_secs_f64(self.seconds.clamp(0.1, 3600.0))
    }

    /// Returns options for the rows of the matrix that the generator inside the process is compared with.
    fn calibration(&self) -> Options {
        Options {
            flows: vec![1_000_000],
            families: vec![Family::Ipv4],
            sizes: vec![Size::Small],
            patterns: vec![Pattern::Uniform],
            ..self.clone()
        }
    }

    fn rounds(&self) -> usize {
        self.rounds.unwrap_or(if self.quick { 1 } else { 3 }).max(1)
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
    if let Some(file) = &options.redraw {
        return redraw(file);
    }
    let conditions = Conditions::read(options.huge)?;
    println!("{}", conditions.text());
    let mut result = json!({});
    let mut rows = Vec::new();
    if options.has(Part::Memory) {
        result["memory"] = memory(options)?;
    }
    if options.has(Part::Matrix) {
        rows = matrix(options, &conditions)?;
        result["matrix"] = rows.iter().map(Row::json).collect();
    }
    let inside = options.inside()?;
    if options.has(Part::Inside) {
        // It is compared with a measurement on ports in the same run.
        let beside = if rows.is_empty() { matrix(&options.calibration(), &conditions)? } else { Vec::new() };
        result["inside"] = throughput(options, &inside, rows.iter().chain(&beside))?;
    }
    if options.has(Part::Opening) {
        println!("\nNew connections in steady state: as many end as begin, and a million are live");
        println!("{}", opening::Row::head());
        let each = opening::CASES.into_iter().map(|case| {
            let row = opening::measure(&inside, case)?;
            println!("{}", row.line());
            Ok(row.json())
        });
        result["new_connections"] = each.collect::<Result<_>>()?;
    }
    if options.has(Part::Flood) {
        let flood = flood::measure(&inside)?;
        println!("\n{}", flood.text());
        result["flood"] = flood.json();
    }
    if options.has(Part::Latency) {
        result["latency"] = latency(&inside)?;
    }
    if options.has(Part::Spread) {
        println!();
        let rows = spread::measure(inside.cpus)?;
        rows.iter().for_each(|row| println!("{}", row.line()));
        result["spread"] = rows.iter().map(spread::Row::json).collect();
    }
    if options.has(Part::Workers) {
        result["workers"] = workers::measure_all(&inside)?;
    }
    save(options, &conditions, result)?;
    if options.quick { gate(&rows) } else { Ok(()) }
}

fn memory(options: &Options) -> Result<Value> {
    let rows = chase::measure(options.huge)?;
    println!("{}", chase::Row::head());
    rows.iter().for_each(|row| println!("{}", row.line()));
    println!();
    Ok(rows.iter().map(chase::Row::json).collect())
}

/// Runs the generator inside the process, first with the same million flows as on ports, to compare the two.
fn throughput<'a>(
    options: &Options,
    run: &inside::Run,
    matrix: impl Iterator<Item = &'a Row> + Clone,
) -> Result<Value> {
    println!(
        "\nInside the process, without a driver, 64-byte UDP; per packet, median [min-max] of {} rounds",
        run.rounds
    );
    println!("{}", throughput::Row::head());
    let mut rows = Vec::new();
    for case in throughput::cases(&options.choice()) {
        let row = throughput::measure(run, case)?;
        println!("{}", row.line());
        if let Some(text) = row.beside(matrix.clone()) {
            println!("    {text}");
        }
        rows.push(row.json());
    }
    Ok(rows.into())
}

fn latency(run: &inside::Run) -> Result<Value> {
    let report = latency::measure(run)?;
    println!("\nLatency at a million flows, NAT in both directions; full speed is {:.2} Mpps", report.full);
    println!("{}", latency::Row::head());
    report.rows.iter().for_each(|row| println!("{}", row.line()));
    Ok(
        json!({ "full_mpps": report.full, "rows": report.rows.iter().map(latency::Row::json).collect::<Vec<_>>() }),
    )
}

fn matrix(options: &Options, conditions: &Conditions) -> Result<Vec<Row>> {
    let run = Run {
        rounds: options.rounds(),
        window: options.window(),
        huge: options.huge,
        cpus: &options.cpus,
        gigahertz: conditions.gigahertz,
    };
    println!(
        "UDP, one forwarding core, NAT in both directions; per packet, median [min-max] of {} rounds",
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

/// Fails if a ratio exceeds the limit for CI.
fn gate(rows: &[Row]) -> Result<()> {
    let slow = rows.iter().filter(|row| row.ratio.median() > matrix::limit(row.traffic.flows));
    let lines: Vec<String> = slow
        .map(|row| {
            format!("{}\nexceeds the limit of {} times testpmd", row.line(), matrix::limit(row.traffic.flows))
        })
        .collect();
    if lines.is_empty() { Ok(()) } else { Err(Error(lines.join("\n"))) }
}

/// Writes the result, its page and plots to a directory named by the time.
fn save(options: &Options, conditions: &Conditions, mut result: Value) -> Result<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|error| Error(error.to_string()))?;
    result["format"] = json!(page::FORMAT);
    result["version"] = json!(page::VERSION);
    result["unix_time"] = json!(now.as_secs());
    result["conditions"] = conditions.json();
    result["conditions"]["rounds"] = json!(options.rounds());
    result["conditions"]["seconds_per_round"] = json!(options.seconds);
    let place = Path::new("bench-results").join(now.as_secs().to_string());
    let published = options.publish.then(|| Path::new("docs/performance").to_owned());
    for place in iter::once(place).chain(published) {
        fs::create_dir_all(&place)?;
        page::write(&place, &result)?;
        println!("written to {}/report.md, with result.json and plots", place.display());
    }
    Ok(())
}

/// Writes the report and plots of a stored result again.
fn redraw(file: &Path) -> Result<()> {
    let result: Value = serde_json::from_str(&fs::read_to_string(file)?)?;
    if (&result["format"], &result["version"]) != (&json!(page::FORMAT), &json!(page::VERSION)) {
        let (format, version) = (&result["format"], &result["version"]);
        let wanted = format!("{} {}", page::FORMAT, page::VERSION);
        return Err(Error(format!("{} is {format} {version}; it must be {wanted}", file.display())));
    }
    page::write(file.parent().unwrap_or(Path::new(".")), &result)
}
