//! End-to-end stories: real clients and servers in namespaces, a real `polluxd` between them. A story that cannot run
//! here is counted as ignored, with the reason printed first, and never as passed.

mod stories {
    pub mod control;
    pub mod counters;
    pub mod debugging;
    pub mod defences;
    pub mod dns;
    pub mod esp;
    pub mod http;
    pub mod idle;
    pub mod ipvsadm;
    pub mod life;
    pub mod namespaces;
    pub mod network;
    pub mod own_server;
    pub mod persistence;
    pub mod sctp;
    pub mod sip;
    pub mod throughput;
    pub mod tunnels;
}

use libtest_mimic::{Arguments, Trial};
use pollux_tests::bed::command::{Result, program};

type Story = (&'static str, fn() -> Result<()>);

const STORIES: [Story; 36] = [
    ("two namespaces have the same addresses", stories::namespaces::same_addresses),
    ("http through every method and family", stories::http::every_method),
    ("http through tunnels of the other family", stories::http::mixed_tunnels),
    ("ten megabytes through NAT arrive unchanged", stories::http::big_download),
    ("two workers share NAT flows", stories::http::two_workers),
    ("a UDP echo comes back from the virtual address", stories::network::udp_echo),
    ("the kernel answers pings of virtual addresses", stories::network::ping),
    ("a neighbour's new address is followed under traffic", stories::network::neighbour_moves),
    ("a VLAN on the twin carries a service", stories::network::vlan),
    ("killed and started again, it forwards", stories::life::killed),
    ("stopped, it leaves nothing behind", stories::life::stopped),
    ("what was edited survives a kill", stories::life::kept),
    ("SIGHUP reads the configuration file again", stories::life::reloaded),
    ("destinations come and go under traffic", stories::control::live_edits),
    ("bad input changes nothing", stories::control::bad_input),
    ("called ipvsadm, it saves and restores", stories::ipvsadm::saves_and_restores),
    ("a DNS query is a connection of one packet", stories::dns::ops),
    ("a network of clients sticks to one server", stories::persistence::networks),
    ("one fwmark, many addresses and ports", stories::persistence::fwmarks),
    ("every SCTP chunk of an association passes NAT", stories::sctp::chunks),
    ("sctp_test speaks through NAT", stories::sctp::programs),
    ("ESP follows its key exchange", stories::esp::follows_isakmp),
    ("two workers gather datagrams in fragments for NAT", stories::throughput::fragments),
    ("a server on the balancer sends long answers", stories::own_server::long_answers),
    ("a TCP stream passes direct routing without loss", stories::throughput::stream),
    ("messages of a SIP call meet one server", stories::sip::calls_stick),
    ("SIP servers call out from the virtual address", stories::sip::servers_call),
    ("http through GRE and GUE", stories::tunnels::http),
    ("GRE and GUE are right byte for byte", stories::tunnels::bytes),
    ("debug events are switched, told and followed", stories::debugging::events),
    ("modules are switched off unless a service uses them", stories::debugging::modules),
    ("a download survives a SYN flood", stories::defences::flood),
    ("bursts after silences pass a worker that sleeps", stories::idle::sleep),
    ("two workers that sleep hand over to each other", stories::idle::two_workers),
    ("interrupts wake a worker up", stories::idle::interrupt),
    ("a port without interrupts is looked at after naps", stories::idle::no_interrupts),
];

/// Programs that stories need beside those of every bed, by a word of their names.
const PROGRAMS: [(&str, &str); 6] = [
    ("DNS", "dig"),
    ("DNS", "dnsmasq"),
    ("in fragments", "iperf3"),
    ("TCP stream", "iperf3"),
    ("SIP", "sipp"),
    ("sctp_test", "sctp_test"),
];

/// The program that a story needs and this machine lacks.
fn lack(story: &str) -> Option<String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let there = |program: &str| std::env::split_paths(&path).any(|place| place.join(program).is_file());
    let lacking = PROGRAMS.iter().find(|(word, program)| story.contains(word) && !there(program));
    lacking.map(|(_, program)| format!("{program} is not installed; scripts/install does it"))
}

/// Why stories cannot run here.
fn obstacle() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("network namespaces need root".to_owned());
    }
    program("polluxd").err().map(|error| error.to_string())
}

fn main() {
    let mut arguments = Arguments::from_args();
    // Each story has daemons that poll; more than one at a time would only disturb each other.
    arguments.test_threads = arguments.test_threads.or(Some(1));
    let obstacle = obstacle();
    if let Some(why) = &obstacle {
        println!("stories are skipped: {why}");
    }
    let trials = STORIES.map(|(name, story)| {
        let own =
            lack(name).or_else(|| stories::network::obstacle(name)).or_else(|| stories::sctp::obstacle(name));
        let why = obstacle.clone().or(own);
        if let (Some(why), None) = (&why, &obstacle) {
            println!("skipped: {name}: {why}");
        }
        Trial::test(name, move || story().map_err(Into::into)).with_ignored_flag(why.is_some())
    });
    libtest_mimic::run(&arguments, trials.into()).exit();
}
