//! Measures the CPU use of an idle worker and its wake-up latency, for each idle mode: the worker's share of a core while no
//! packets arrive, and the time of a UDP echo after 100 ms of silence. Run by `scripts/idle`.

use std::fs;
use std::net::{Ipv4Addr, UdpSocket};
use std::thread::sleep;
use std::time::{Duration, Instant};

use clap::Parser;
use pollux_tests::bed::command::{Error, Result};
use pollux_tests::bed::daemon::Daemon;
use pollux_tests::bed::rules::{self, config};
use pollux_tests::bed::{Bed, wait};

/// Silence before each probe.
const SILENCE: Duration = Duration::from_millis(100);
/// Ticks per second of thread times in /proc: `USER_HZ`.
const TICKS: f64 = 100.0;

#[derive(Parser)]
struct Options {
    /// Seconds for which the idle worker is observed
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Number of echo requests
    #[arg(long, default_value_t = 200)]
    probes: usize,
    /// Idle modes to measure
    #[arg(long, value_delimiter = ',', default_value = "busy,pause,sleep,interrupt")]
    modes: Vec<String>,
    /// Drivers to measure on
    #[arg(long, value_delimiter = ',', default_value = "net_af_packet,net_tap")]
    ports: Vec<String>,
    /// Longest sleep in microseconds, as `polluxd --max-sleep-us`
    #[arg(long, default_value_t = 500)]
    max_sleep_us: u32,
}

fn main() -> std::process::ExitCode {
    match run(&Options::parse()) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("idle: {error}");
            std::process::ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<()> {
    println!(
        "One worker, sleeps of up to {} us; its CPU use while idle over {} s, and a UDP echo after {} ms of silence, {} times",
        options.max_sleep_us,
        options.seconds,
        SILENCE.as_millis(),
        options.probes
    );
    println!(
        "{:14} {:10} {:>8} {:>8} {:>9} {:>9} {:>9}",
        "ports", "mode", "worker", "process", "p50, us", "p99, us", "max, us"
    );
    for ports in &options.ports {
        for mode in &options.modes {
            row(options, ports, mode)?;
        }
    }
    Ok(())
}

/// Measures one mode in a test network of its own.
fn row(options: &Options, ports: &str, mode: &str) -> Result<()> {
    let bed = Bed::new(1)?;
    let config = config(&[rules::ECHO], 1);
    let max_sleep = options.max_sleep_us.to_string();
    let given = ["--idle", mode, "--max-sleep-us", &max_sleep];
    let daemon = match ports {
        "net_af_packet" => bed.daemon_with(&config, 1, &given)?,
        "net_tap" => bed.daemon_on_taps(&config, &given)?,
        _ => return Err(Error(format!("--ports {ports}: unknown driver; use net_af_packet or net_tap"))),
    };
    let socket = echo_socket(&bed)?;
    sleep(SILENCE);
    let before = busy(&daemon)?;
    let clock = Instant::now();
    sleep(Duration::from_secs(options.seconds));
    let (after, seconds) = (busy(&daemon)?, clock.elapsed().as_secs_f64());
    let share = |field: fn(&Busy) -> u64| 100.0 * (field(&after) - field(&before)) as f64 / TICKS / seconds;
    let mut times = (0..options.probes).map(|_| probe(&socket)).collect::<Result<Vec<_>>>()?;
    times.sort_by(f64::total_cmp);
    let at = |part: f64| times.get((times.len() as f64 * part) as usize).or(times.last()).copied();
    println!(
        "{ports:14} {mode:10} {:>6.1} % {:>6.1} % {:>9.0} {:>9.0} {:>9.0}",
        share(|busy| busy.worker),
        share(|busy| busy.all),
        at(0.5).unwrap_or_default(),
        at(0.99).unwrap_or_default(),
        at(1.0).unwrap_or_default(),
    );
    Ok(())
}

/// A client's socket, connected to an echo service that answers.
fn echo_socket(bed: &Bed) -> Result<UdpSocket> {
    let socket = bed.client.namespace.inside(|| Ok(UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?))?;
    socket.connect((rules::ECHO.vip, rules::ECHO.l4_port))?;
    socket.set_read_timeout(Some(Duration::from_secs(1)))?;
    wait::until("an echo", || Ok(echo(&socket).ok()))?;
    Ok(socket)
}

fn echo(socket: &UdpSocket) -> std::io::Result<()> {
    socket.send(b"?")?;
    socket.recv(&mut [0; 16]).map(drop)
}

/// Returns the microseconds from a request to its echo, after a silence.
fn probe(socket: &UdpSocket) -> Result<f64> {
    sleep(SILENCE);
    let clock = Instant::now();
    echo(socket).map_err(|error| Error(format!("an echo was lost: {error}")))?;
    Ok(clock.elapsed().as_secs_f64() * 1e6)
}

/// CPU time in ticks.
#[derive(Default)]
struct Busy {
    worker: u64,
    all: u64,
}

fn busy(daemon: &Daemon) -> Result<Busy> {
    let mut busy = Busy::default();
    for task in fs::read_dir(format!("/proc/{}/task", daemon.id()))? {
        // A thread may have ended meanwhile.
        let Ok(stat) = fs::read_to_string(task?.path().join("stat")) else { continue };
        let ticks = ticks(&stat).ok_or_else(|| Error(format!("cannot parse /proc stat line: {stat}")))?;
        busy.all += ticks;
        if stat.contains("(pollux-w0)") {
            busy.worker += ticks;
        }
    }
    Ok(busy)
}

/// Sums fields 14 and 15 of `/proc/PID/task/TID/stat`, user and system time; the name before them may contain blanks.
fn ticks(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}
