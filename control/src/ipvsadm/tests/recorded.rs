//! Random sequences of commands, with the output of the original on Linux 6.1.

use std::net::{IpAddr, Ipv4Addr};

use serde::Deserialize;
use serde_json::json;

use super::super::daemon::Daemon;
use super::super::names::{Names, Services};
use super::super::program::{Environment, Program};
use crate::api::error::Failure;
use crate::api::request::Request;
use crate::api::socket::client::ClientError;
use crate::api::socket::rpc::RpcError;
use crate::engine::Engine;
use crate::model::Start;

#[derive(Deserialize)]
struct Recording {
    hosts: String,
    services: String,
    sequences: Vec<Vec<Run>>,
}

/// A command and its output.
#[derive(Debug, PartialEq, Deserialize)]
struct Run {
    args: Vec<String>,
    #[serde(default)]
    stdin: String,
    status: u8,
    out: String,
    err: String,
}

/// Names of the recorded machine.
struct Files {
    hosts: Vec<(IpAddr, Vec<String>)>,
    services: Services,
}

impl Files {
    fn new(hosts: &str, services: &str) -> Files {
        let host = |line: &str| {
            let mut words = line.split_whitespace().map(str::to_owned);
            Some((words.next()?.parse().ok()?, words.collect()))
        };
        Files { hosts: hosts.lines().filter_map(host).collect(), services: Services::parse(services) }
    }
}

impl Names for Files {
    fn address(&self, host: &str) -> Option<Ipv4Addr> {
        let known = |names: &Vec<String>| names.iter().any(|name| name.eq_ignore_ascii_case(host));
        self.hosts.iter().find_map(|(address, names)| match address {
            IpAddr::V4(address) if known(names) => Some(*address),
            _ => None,
        })
    }

    fn l4_port(&self, service: &str, protocol: &str) -> Option<u16> {
        self.services.l4_port(service, protocol)
    }

    fn host(&self, address: IpAddr) -> Option<String> {
        self.hosts.iter().find(|(known, _)| *known == address).map(|(_, names)| names[0].clone())
    }

    fn service(&self, l4_port: u16, protocol: &str) -> Option<String> {
        self.services.name(l4_port, protocol)
    }
}

impl Daemon for Engine {
    fn request<T: serde::de::DeserializeOwned>(&mut self, request: &Request) -> Result<T, ClientError> {
        let refused = |why: Failure| ClientError::Refused(RpcError::from(&why));
        // As on the socket, requests and replies pass through JSON.
        let request = serde_json::from_value(json!(request))?;
        Ok(serde_json::from_value(json!(self.handle(request).map_err(refused)?))?)
    }
}

fn run(engine: &mut Engine, names: &Files, run: &Run) -> Run {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let interface = |name: &str| ["lo", "vec0", "vec1"].contains(&name);
    let environment = Environment { names, interface: &interface, out: &mut out, err: &mut err };
    let status = Program::new(engine, environment).run(run.args.clone(), &mut run.stdin.lines());
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Run { args: run.args.clone(), stdin: run.stdin.clone(), status, out: text(out), err: text(err) }
}

/// Unsorted services are in hash table order, which the recorded kernel chose at its start.
fn is_same(ours: &Run, theirs: &Run) -> bool {
    let unsorted = ours.args.iter().any(|word| word == "--nosort") || ours.stdin.contains("--nosort");
    let out = |run: &Run| if unsorted { blocks(&run.out) } else { vec![run.out.clone()] };
    (ours.status, &ours.err, out(ours)) == (theirs.status, &theirs.err, out(theirs))
}

/// Services with their destinations, sorted.
fn blocks(text: &str) -> Vec<String> {
    let mut blocks: Vec<String> = Vec::new();
    for line in text.lines() {
        match blocks.last_mut() {
            Some(last) if line.starts_with("  ->") => *last += line,
            _ => blocks.push(line.to_owned()),
        }
    }
    blocks.sort();
    blocks
}

/// The differences, line by line.
fn diff(theirs: &Run, ours: &Run) -> String {
    let mut text = format!("ipvsadm {}\n", theirs.args.iter().map(|a| format!("{a:?} ")).collect::<String>());
    for line in theirs.stdin.lines() {
        text += &format!("  reads    |{line}|\n");
    }
    if theirs.status != ours.status {
        text += &format!("  status   theirs {} ours {}\n", theirs.status, ours.status);
    }
    for (name, theirs, ours) in [("stdout", &theirs.out, &ours.out), ("stderr", &theirs.err, &ours.err)] {
        let (theirs, ours): (Vec<_>, Vec<_>) = (theirs.split('\n').collect(), ours.split('\n').collect());
        for at in 0..theirs.len().max(ours.len()) {
            let (their, our) = (theirs.get(at), ours.get(at));
            if their != our {
                text += &their.map_or(String::new(), |line| format!("  {name}   theirs |{line}|\n"));
                text += &our.map_or(String::new(), |line| format!("  {name}   ours   |{line}|\n"));
            }
        }
    }
    text
}

#[test]
fn destinations_beyond_the_capacity_are_refused() {
    let start = Start { destinations: 16, ..Start::default() };
    let mut engine = crate::engine::tests::engine_of(&start);
    let names = Files::new("", "");
    // Removed destinations keep their slots for a while.
    let servers = (1..=20).map(|n| format!("-a -f 1 -r 10.0.2.{n} -m\n-d -f 1 -r 10.0.2.{n}\n"));
    let lines = "-A -f 1\n".to_owned() + &servers.collect::<String>();
    let lines_run =
        Run { args: vec!["-R".into()], stdin: lines, status: 0, out: String::new(), err: String::new() };
    let ours = run(&mut engine, &names, &lines_run);
    let full = ours.err.lines().filter(|line| line.contains("start.destinations")).count();
    let gone = ours.err.lines().filter(|line| *line == "No such destination").count();
    assert_eq!((ours.status, full, gone), (255, 4, 4), "{}", ours.err);
}

/// `POLLUX_IPVSADM_RECORDED` selects another recording.
#[test]
fn random_sequences_print_what_the_original_printed() {
    let own = format!("{}/../tests/ipvsadm/recorded.json", env!("CARGO_MANIFEST_DIR"));
    let path = std::env::var("POLLUX_IPVSADM_RECORDED").unwrap_or(own);
    let recording: Recording = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let names = Files::new(&recording.hosts, &recording.services);
    let mut differing = Vec::new();
    for (number, sequence) in recording.sequences.iter().enumerate() {
        let mut engine = crate::engine::tests::engine();
        for (index, theirs) in sequence.iter().enumerate() {
            let ours = run(&mut engine, &names, theirs);
            if !is_same(&ours, theirs) {
                differing.push(format!("sequence {number}, command {index}: {}", diff(theirs, &ours)));
                break;
            }
        }
    }
    let count = recording.sequences.len();
    assert!(differing.is_empty(), "{} of {count} differ\n{}", differing.len(), differing.join("\n"));
}
