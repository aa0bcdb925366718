//! What an idle worker costs and how fast it wakes up, in each mode: the worker's share of a core while nothing comes,
//! and the time of a UDP echo that is asked for after a tenth of a second of silence. Run by `scripts/idle`.

use std::fs;
use std::net::{Ipv4Addr, UdpSocket};
use std::thread::sleep;
use std::time::{Duration, Instant};

use clap::Parser;
use pollux_tests::bed::command::{Result, Trouble};
use pollux_tests::bed::daemon::Daemon;
use pollux_tests::bed::rules::{self, config};
use pollux_tests::bed::{Bed, wait};

/// Silence before each probe.
const SILENCE: Duration = Duration::from_millis(100);
/// Linux counts a thread's time in hundredths of a second, `USER_HZ`.
const TICKS: f64 = 100.0;

#[derive(Parser)]
struct Options {
    /// Seconds for which the idle worker is watched.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Echoes asked for.
    #[arg(long, default_value_t = 200)]
    probes: usize,
    /// The modes that are measured.
    #[arg(long, value_delimiter = ',', default_value = "busy,pause,sleep,interrupt")]
    modes: Vec<String>,
    /// The ports they are measured on.
    #[arg(long, value_delimiter = ',', default_value = "net_af_packet,net_tap")]
    ports: Vec<String>,
    /// The longest nap in microseconds.
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
        "One worker, naps of up to {} us; its core while idle over {} s, and a UDP echo after {} ms of silence, {} times",
        options.max_sleep_us,
        options.seconds,
        SILENCE.as_millis(),
        options.probes
    );
    println!(
        "{:14} {:10} {:>8} {:>8} {:>9} {:>9} {:>9}",
        "ports", "mode", "worker", "process", "p50, us", "p99, us", "most, us"
    );
    for ports in &options.ports {
        for mode in &options.modes {
            row(options, ports, mode)?;
        }
    }
    Ok(())
}

/// Measures one mode in a world of its own.
fn row(options: &Options, ports: &str, mode: &str) -> Result<()> {
    let bed = Bed::new(1)?;
    let config = config(&[rules::ECHO], 1);
    let nap = options.max_sleep_us.to_string();
    let given = ["--idle", mode, "--max-sleep-us", &nap];
    let daemon = match ports {
        "net_af_packet" => bed.daemon_with(&config, 1, &given)?,
        "net_tap" => bed.daemon_on_taps(&config, &given)?,
        _ => return Err(Trouble(format!("ports {ports}: neither net_af_packet nor net_tap"))),
    };
    let socket = asker(&bed)?;
    sleep(SILENCE);
    let before = busy(&daemon)?;
    let clock = Instant::now();
    sleep(Duration::from_secs(options.seconds));
    let (after, seconds) = (busy(&daemon)?, clock.elapsed().as_secs_f64());
    let share = |of: fn(&Busy) -> u64| 100.0 * (of(&after) - of(&before)) as f64 / TICKS / seconds;
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

/// A client's socket to a service that is known to answer.
fn asker(bed: &Bed) -> Result<UdpSocket> {
    let socket = bed.client.namespace.inside(|| Ok(UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?))?;
    socket.connect((rules::ECHO.vip, rules::ECHO.l4_port))?;
    socket.set_read_timeout(Some(Duration::from_secs(1)))?;
    wait::until("an echo", || Ok(ask(&socket).ok()))?;
    Ok(socket)
}

fn ask(socket: &UdpSocket) -> std::io::Result<()> {
    socket.send(b"?")?;
    socket.recv(&mut [0; 16]).map(drop)
}

/// Microseconds from a question to its echo, after a silence.
fn probe(socket: &UdpSocket) -> Result<f64> {
    sleep(SILENCE);
    let clock = Instant::now();
    ask(socket).map_err(|error| Trouble(format!("an echo was lost: {error}")))?;
    Ok(clock.elapsed().as_secs_f64() * 1e6)
}

/// Time on a core, in ticks.
#[derive(Default)]
struct Busy {
    worker: u64,
    all: u64,
}

fn busy(daemon: &Daemon) -> Result<Busy> {
    let mut busy = Busy::default();
    for task in fs::read_dir(format!("/proc/{}/task", daemon.id()))? {
        // A thread that has ended meanwhile is not missed.
        let Ok(stat) = fs::read_to_string(task?.path().join("stat")) else { continue };
        let ticks = ticks(&stat).ok_or_else(|| Trouble(format!("cannot read this: {stat}")))?;
        busy.all += ticks;
        if stat.contains("(pollux-w0)") {
            busy.worker += ticks;
        }
    }
    Ok(busy)
}

/// Fields 14 and 15 of `/proc/PID/task/TID/stat`, time in user space and in the kernel; the name before may have blanks.
fn ticks(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}
