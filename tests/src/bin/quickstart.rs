//! Demonstrates HTTP requests balanced with every method, in network namespaces. Run by `scripts/quickstart`, which installs
//! dependencies and builds first.

use std::collections::BTreeMap;

use clap::Parser;
use pollux_tests::bed::command::{Error, Result, program};
use pollux_tests::bed::daemon::Daemon;
use pollux_tests::bed::server::reachable;
use pollux_tests::bed::{Bed, resources, rules};

const SERVERS: usize = 3;
const REQUESTS: usize = 12;

const MAP: &str = "
      client                balancer (polluxd)                 switch
   10.1.0.1 ──────────── fore            back ──────────────┬── web1  10.2.0.11
   fd00:1::1            10.1.0.254     10.2.0.254           ├── web2  10.2.0.12
      │                 VIPs 10.9.9.1-4, fd00:9::1-4        ├── web3  10.2.0.13
      └───── replies of DR and tunnel services ─────────────┘   (IPv6: fd00:1:: and fd00:2::)
";

#[derive(Parser)]
struct Options {
    /// Leave everything running and print what to try next
    #[arg(long)]
    keep: bool,
    /// Only remove what `--keep` or an interrupted run left behind
    #[arg(long, conflicts_with = "keep")]
    clean: bool,
}

fn main() -> std::process::ExitCode {
    let options = Options::parse();
    let done = if options.clean { resources::clean("px") } else { show(options.keep) };
    if let Err(error) = done {
        eprintln!("quickstart: {error}");
        return std::process::ExitCode::FAILURE;
    }
    std::process::ExitCode::SUCCESS
}

fn show(keep: bool) -> Result<()> {
    println!("Making a client, a balancer and {SERVERS} nginx servers in network namespaces:\n{MAP}");
    let bed = Bed::new(SERVERS)?;
    println!("Starting polluxd on two AF_PACKET ports, without huge pages.");
    let config = rules::config(&rules::HTTP, SERVERS);
    let mut daemon = bed.daemon(&config, 1)?;
    warm_up(&bed)?;
    println!("Sending {REQUESTS} curl requests to each of {} services.\n", rules::HTTP.len());
    let failed = round(&bed)?;
    println!("\npollux list\n{}", daemon.pollux("list")?);
    daemon.accounts_for_all_packets()?;
    println!("Killing polluxd (kill -9) and starting it again.");
    daemon.kill()?;
    drop(daemon);
    let daemon = bed.daemon(&config, 1)?;
    warm_up(&bed)?;
    let failed = failed + round(&bed)?;
    println!("\n{failed} failed requests");
    if failed > 0 {
        return Err(Error(format!("{failed} requests failed or got a wrong response")));
    }
    if keep {
        explain(&bed, &daemon)?;
        bed.keep(daemon);
    }
    Ok(())
}

/// A host that replies to a ping knows its neighbours.
fn warm_up(bed: &Bed) -> Result<()> {
    for vip in ["10.9.9.1", "fd00:9::1"] {
        reachable(&bed.client.namespace, vip)?;
    }
    for number in 1..=SERVERS {
        reachable(&bed.balancer, &format!("10.2.0.{}", 10 + number))?;
        reachable(&bed.balancer, &format!("fd00:2::{}", 10 + number))?;
    }
    Ok(())
}

/// Sends requests to every service and prints the responding servers; returns the number of failures.
fn round(bed: &Bed) -> Result<usize> {
    let mut failed = 0;
    for rule in rules::HTTP {
        let mut replies = BTreeMap::<String, usize>::new();
        for _ in 0..REQUESTS {
            match bed.client.get(&rule.url()) {
                Ok(name) => *replies.entry(name).or_default() += 1,
                Err(error) => {
                    failed += 1;
                    eprintln!("  {error}");
                }
            }
        }
        let line: Vec<_> = replies.iter().map(|(name, times)| format!("{name} {times:2}")).collect();
        println!("  {:6} {:20} {}", rule.method, rule.url(), line.join("   "));
        if replies.len() != SERVERS {
            return Err(Error(format!("{}: not all {SERVERS} servers responded", rule.url())));
        }
    }
    Ok(failed)
}

fn explain(bed: &Bed, daemon: &Daemon) -> Result<()> {
    let pollux = program("pollux")?;
    println!(
        "\nEverything still runs. Try:\n\
         \x20 ip netns exec {client} curl --noproxy '*' http://10.9.9.1/\n\
         \x20 ip netns exec {client} ping 10.9.9.1\n\
         \x20 ip -n {balancer} address\n\
         \x20 export POLLUX_SOCKET={socket}\n\
         \x20 {pollux} connections\n\
         \x20 {pollux} stats\n\
         \x20 {pollux} destination edit tcp 10.9.9.1:80 10.2.0.11:80 --weight 0\n\
         \x20 {pollux} service add tcp 10.9.9.1:8080\n\
         \x20 {pollux} destination add tcp 10.9.9.1:8080 10.2.0.12:80 --method nat\n\
         \x20 ip netns exec {client} curl --noproxy '*' http://10.9.9.1:8080/\n\
         Configuration and logs: {directory}\n\
         Take it down with: scripts/quickstart --clean",
        client = bed.client.namespace.name,
        balancer = bed.balancer.name,
        socket = daemon.socket().display(),
        pollux = pollux.display(),
        directory = bed.directory().display(),
    );
    Ok(())
}
