//! Sends packets by one DPDK port at a given rate and counts those that return by the other. It reads lines `LOAD SECONDS`
//! and answers each with a line of JSON. Started by `peers`.

use std::io::{self, BufRead, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use clap::Parser;
use pollux_bench::kinds::{Family, Size};
use pollux_bench::peers;
use pollux_dataplane::dpdk::{Eal, Mbuf, Pool, PoolSetup, Port, PortSetup, Queue};
use pollux_dataplane::io::{Batch, QueuePair};
use serde_json::json;

/// Longest burst: longer ones overflow rings.
const AT_ONCE: u64 = 32;
/// How long packets may be in flight.
const TAIL: Duration = Duration::from_millis(200);

#[derive(Parser)]
struct Options {
    /// Addresses.
    #[arg(long, value_enum)]
    family: Family,
    /// Frames.
    #[arg(long, value_enum)]
    size: Size,
    /// Flows.
    #[arg(long)]
    flows: u32,
    /// MAC address of the balancer's port
    #[arg(long)]
    to: String,
    /// EAL arguments.
    #[arg(last = true)]
    eal: Vec<String>,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("peer: {why:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<()> {
    let eal = Eal::init(&options.eal)?;
    let pool = PoolSetup { name: "peer".to_owned(), packets: 32_767, cache: 256, frame_room: 2048 };
    let pool = Pool::create(&eal, &pool)?;
    let (mut started, mut queues) = (Vec::new(), Vec::new());
    for port in Port::all(&eal)? {
        let (port, mut queue) = port.start(&PortSetup::new(pool.clone()))?;
        started.push(port);
        queues.append(&mut queue);
    }
    let queues =
        <[Queue; 2]>::try_from(queues).map_err(|ports| anyhow!("{} ports; give two", ports.len()))?;
    let until = Instant::now() + Duration::from_secs(10);
    while !started.iter().all(|port| port.link().is_ok_and(|link| link.up)) {
        if Instant::now() > until {
            return Err(anyhow!("the links are not up after ten seconds; is polluxd at their other ends?"));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let mut peer = Peer { queues, pool, frames: frames(options)?, next: 0 };
    say(&json!({ "ready": true }))?;
    for line in io::stdin().lock().lines() {
        let line = line?;
        let (load, seconds) = line.split_once(' ').context("write LOAD SECONDS")?;
        let (load, seconds) = (load.parse().context("load")?, seconds.parse().context("seconds")?);
        say(&peer.trial(load, seconds).json())?;
    }
    Ok(())
}

fn say(what: &serde_json::Value) -> Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{what}")?;
    Ok(out.flush()?)
}

fn frames(options: &Options) -> Result<Vec<Vec<u8>>> {
    let to: Vec<u8> =
        options.to.split(':').map(|byte| u8::from_str_radix(byte, 16)).collect::<Result<_, _>>()?;
    let to = <[u8; 6]>::try_from(to).map_err(|_| anyhow!("--to {}: give six bytes", options.to))?;
    Ok(peers::frames(options.family, options.size, options.flows, to))
}

struct Peer {
    queues: [Queue; 2],
    pool: Pool,
    frames: Vec<Vec<u8>>,
    next: usize,
}

#[derive(Default)]
struct Counts {
    sent: u64,
    refused: u64,
    received: u64,
    seconds: f64,
}

impl Counts {
    fn json(&self) -> serde_json::Value {
        json!({ "sent": self.sent, "refused": self.refused, "received": self.received, "seconds": self.seconds })
    }
}

impl Peer {
    /// Sends packets when they are due; if the ring is full the packet is lost, as on a wire.
    fn trial(&mut self, load: f64, seconds: f64) -> Counts {
        let (mut counts, mut batch, began) = (Counts::default(), Batch::new(), Instant::now());
        let all = (load * seconds) as u64;
        while counts.sent < all {
            let due = ((began.elapsed().as_secs_f64() * load) as u64 + 1).min(all);
            for _ in 0..due.saturating_sub(counts.sent).min(AT_ONCE) {
                // Without a buffer the packet is lost too.
                self.packet().into_iter().for_each(|packet| batch.push(packet));
                counts.sent += 1;
            }
            self.queues[0].transmit(&mut batch);
            counts.refused += batch.len() as u64;
            batch.clear();
            counts.received += self.take();
            if began.elapsed().as_secs_f64() > seconds * 1.2 {
                // The sender cannot keep up.
                break;
            }
        }
        counts.seconds = began.elapsed().as_secs_f64();
        let until = Instant::now() + TAIL;
        while Instant::now() < until {
            counts.received += self.take();
        }
        counts
    }

    fn packet(&mut self) -> Option<Mbuf> {
        let packet = self.pool.packet(&self.frames[self.next]);
        self.next = (self.next + 1) % self.frames.len();
        packet
    }

    /// Counts packets at the second port; those at the first are not test traffic.
    fn take(&mut self) -> u64 {
        let mut batch = Batch::new();
        self.queues[0].receive(&mut batch);
        batch.clear();
        self.queues[1].receive(&mut batch);
        batch.len() as u64
    }
}
