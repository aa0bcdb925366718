//! Stories of workers that sleep while idle.

use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

use pollux_tests::bed::command::{Error, Result};
use pollux_tests::bed::daemon::Daemon;
use pollux_tests::bed::rules::{self, config};
use pollux_tests::bed::{Bed, wait};

use super::http::all_answer;

/// Number of sleeps after which a worker sleeps for the longest time.
const SLEEPS: u64 = 50;
/// Datagrams sent at once after a silence; all queues on the path can hold more.
const BURST: u16 = 200;
/// Number of silences and bursts.
const ROUNDS: usize = 5;

pub fn sleep() -> Result<()> {
    let bed = Bed::new(2)?;
    let rules = [&rules::HTTP[..], &[rules::ECHO]].concat();
    let daemon = bed.daemon_with(&config(&rules, 2), 1, &["--idle", "sleep"])?;
    all_answer(&bed, &rules::HTTP)?;
    bursts_after_silences(&bed, &daemon)?;
    let stats = daemon.pollux("stats")?;
    let shown = stats.contains("  idle: ") && stats.contains(" interrupt wakeups");
    shown.then_some(()).ok_or_else(|| Error(format!("stats do not show sleeps:\n{stats}")))?;
    // A configuration change is a message to a sleeping worker.
    daemon.pollux("destination remove tcp 10.9.9.1:80 10.2.0.11:80")?;
    for _ in 0..2 {
        assert_eq!(bed.client.get(&rules::HTTP[0].url())?, "web2");
    }
    bed.client.ping("10.9.9.1")?;
    daemon.accounts_for_all_packets()
}

pub fn two_workers() -> Result<()> {
    let bed = Bed::new(2)?;
    let daemon = bed.daemon_with(&config(&[rules::ECHO], 2), 2, &["--idle", "sleep"])?;
    bursts_after_silences(&bed, &daemon)?;
    daemon.accounts_for_all_packets()
}

pub fn interrupt() -> Result<()> {
    let bed = Bed::new(2)?;
    let daemon = bed.daemon_on_taps(
        &config(&[rules::HTTP[0], rules::ECHO], 2),
        &["--idle", "interrupt", "--max-sleep-us", "10000"],
    )?;
    all_answer(&bed, &rules::HTTP[..1])?;
    bursts_after_silences(&bed, &daemon)?;
    let woken = sum(&daemon, "interrupt_wakeups")?;
    if woken == 0 || daemon.log().contains("no receive interrupts") {
        return Err(Error(format!("no interrupt woke the worker:\n{}", daemon.log())));
    }
    daemon.accounts_for_all_packets()
}

pub fn no_interrupts() -> Result<()> {
    let bed = Bed::new(2)?;
    let daemon = bed.daemon_with(&config(&[rules::ECHO], 2), 1, &["--idle", "interrupt"])?;
    for port in ["net_af_packet0", "net_af_packet1"] {
        let warning = format!("port {port}: no receive interrupts");
        if !daemon.log().contains(&warning) {
            return Err(Error(format!("the log lacks \"{warning}\":\n{}", daemon.log())));
        }
    }
    bursts_after_silences(&bed, &daemon)?;
    daemon.accounts_for_all_packets()
}

/// In each round, waits until the workers sleep, then expects all echoes of a burst.
fn bursts_after_silences(bed: &Bed, daemon: &Daemon) -> Result<()> {
    let socket = bed.client.namespace.inside(|| Ok(UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?))?;
    socket.connect((rules::ECHO.vip, rules::ECHO.l4_port))?;
    socket.set_read_timeout(Some(Duration::from_millis(500)))?;
    let mut buffer = [0; 64];
    // A datagram that arrives before the routes are known is lost.
    wait::until("an echo", || Ok(echo(&socket, &mut buffer).ok()))?;
    socket.set_read_timeout(Some(wait::LIMIT))?;
    for round in 0..ROUNDS {
        let before = sum(daemon, "sleeps")?;
        wait::until("the workers sleep", || Ok((sum(daemon, "sleeps")? > before + SLEEPS).then_some(())))?;
        (0..BURST).try_for_each(|number| socket.send(&number.to_be_bytes()).map(drop))?;
        let mut seen = vec![false; BURST.into()];
        for answered in 0..BURST {
            let length = socket
                .recv(&mut buffer)
                .map_err(|error| Error(format!("round {round}: {answered} of {BURST} echoes: {error}")))?;
            let number = buffer[..length].try_into().map(u16::from_be_bytes);
            if let Ok(place) = number.map(|number| &mut seen[usize::from(number)]) {
                *place = true;
            }
        }
        if seen.contains(&false) {
            return Err(Error(format!("round {round}: one echo is a duplicate and another is missing")));
        }
    }
    Ok(())
}

fn echo(socket: &UdpSocket, buffer: &mut [u8]) -> std::io::Result<()> {
    socket.send(b"hello")?;
    // Receives late echoes of earlier attempts before the bursts begin.
    while socket.recv(buffer)? != 5 {}
    Ok(())
}

fn sum(daemon: &Daemon, name: &str) -> Result<u64> {
    let stats = daemon.json("stats")?;
    let workers = stats["workers"].as_array().map_or(&[][..], Vec::as_slice);
    Ok(workers.iter().filter_map(|worker| worker[name].as_u64()).sum())
}
