//! End-to-end stories: real clients and servers in namespaces, with a real `polluxd` between them. A story that cannot run
//! here is counted as ignored, never as passed, and the reason is printed first.

mod stories {
    pub mod control;
    pub mod counters;
    pub mod debugging;
    pub mod defences;
    pub mod dns;
    pub mod esp;
    pub mod http;
    pub mod idle;
    pub mod interfaces;
    pub mod ipvsadm;
    pub mod links;
    pub mod namespaces;
    pub mod network;
    pub mod own_server;
    pub mod persistence;
    pub mod restart;
    pub mod sctp;
    pub mod sip;
    pub mod throughput;
    pub mod tunnels;
}

use libtest_mimic::{Arguments, Trial};
use pollux_tests::bed::command::{Result, program};

type Story = (&'static str, fn() -> Result<()>);

const STORIES: [Story; 47] = [
    ("two namespaces have the same addresses", stories::namespaces::same_addresses),
    ("http through every method and family", stories::http::every_method),
    ("http through tunnels of the other family", stories::http::mixed_tunnels),
    ("ten megabytes through NAT arrive unchanged", stories::http::big_download),
    ("two workers share NAT flows", stories::http::two_workers),
    ("a UDP echo comes back from the virtual address", stories::network::udp_echo),
    ("the kernel answers pings of virtual addresses", stories::network::ping),
    ("a neighbour's new MAC address is learnt under traffic", stories::network::neighbour_moves),
    ("a server that moves silently is found by probes", stories::network::silent_move),
    ("a VLAN on the twin carries a service", stories::network::vlan),
    ("a twin that is set down stops its port", stories::links::twin_down),
    ("a twin has the carrier of its port", stories::links::carrier),
    ("a port receives by the addresses of its twin and on top of it", stories::links::addresses),
    ("a killed daemon forwards again after a restart", stories::restart::killed),
    ("a stopped daemon leaves nothing behind", stories::restart::stopped),
    ("run-time changes survive a kill", stories::restart::kept),
    ("SIGHUP reads the configuration file again", stories::restart::reloaded),
    ("destinations come and go under traffic", stories::control::live_edits),
    ("bad input changes nothing", stories::control::bad_input),
    ("pollux called as ipvsadm saves and restores", stories::ipvsadm::saves_and_restores),
    ("each DNS query is scheduled by itself", stories::dns::ops),
    ("a network of clients sticks to one server", stories::persistence::networks),
    ("one fwmark, many addresses and ports", stories::persistence::fwmarks),
    ("every SCTP chunk of an association passes NAT", stories::sctp::chunks),
    ("sctp_test passes NAT", stories::sctp::programs),
    ("ESP follows its key exchange", stories::esp::follows_isakmp),
    ("two workers reassemble fragmented datagrams for NAT", stories::throughput::fragments),
    ("a server on the balancer sends fragmented replies", stories::own_server::fragmented_replies),
    ("a TCP stream passes direct routing without loss", stories::throughput::stream),
    ("messages of a SIP call reach one server", stories::sip::calls_stick),
    ("SIP servers call out from the virtual address", stories::sip::servers_call),
    ("http through GRE and GUE", stories::tunnels::http),
    ("GRE and GUE are correct byte for byte", stories::tunnels::bytes),
    ("debug events are switched, logged and followed", stories::debugging::events),
    ("modules are switched off unless a service uses them", stories::debugging::modules),
    ("a download survives a SYN flood", stories::defences::flood),
    ("bursts after silence pass a sleeping worker", stories::idle::sleep),
    ("sleeping workers hand off packets to each other", stories::idle::two_workers),
    ("interrupts wake a worker", stories::idle::interrupt),
    ("a port without interrupts is polled after each sleep", stories::idle::no_interrupts),
    ("interfaces with offloads carry every method and family", stories::interfaces::offloads),
    ("interfaces carry tagged frames", stories::interfaces::vlan),
    ("interfaces in packet mode carry every method and family", stories::interfaces::packet),
    ("interfaces with AF_XDP carry every method and family", stories::interfaces::xdp),
    ("interface and twin follow each other", stories::interfaces::follows),
    ("addresses of interfaces move to their twins and back", stories::interfaces::taken_over),
    ("interfaces are restored after a kill", stories::interfaces::killed),
];

/// Additional programs that stories need, by words in the stories' names.
const PROGRAMS: [(&str, &str); 6] = [
    ("DNS", "dig"),
    ("DNS", "dnsmasq"),
    ("fragmented datagrams", "iperf3"),
    ("TCP stream", "iperf3"),
    ("SIP", "sipp"),
    ("sctp_test", "sctp_test"),
];

/// Returns why a story cannot run: a missing program.
fn missing_program(story: &str) -> Option<String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let there = |program: &str| std::env::split_paths(&path).any(|place| place.join(program).is_file());
    let lacking = PROGRAMS.iter().find(|(word, program)| story.contains(word) && !there(program));
    lacking.map(|(_, program)| format!("{program} is not installed; scripts/install installs it"))
}

/// Returns why no story can run here.
fn missing_requirement() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("network namespaces need root".to_owned());
    }
    program("polluxd").err().map(|error| error.to_string())
}

fn main() {
    let mut arguments = Arguments::from_args();
    // The daemons of a story poll; stories that run at the same time would slow each other down.
    arguments.test_threads = arguments.test_threads.or(Some(1));
    let missing_requirement = missing_requirement();
    if let Some(why) = &missing_requirement {
        println!("stories are skipped: {why}");
    }
    let trials = STORIES.map(|(name, story)| {
        let own = missing_program(name)
            .or_else(|| stories::network::missing_requirement(name))
            .or_else(|| stories::sctp::missing_requirement(name))
            .or_else(|| stories::interfaces::missing_requirement(name));
        let why = missing_requirement.clone().or(own);
        if let (Some(why), None) = (&why, &missing_requirement) {
            println!("skipped: {name}: {why}");
        }
        Trial::test(name, move || story().map_err(Into::into)).with_ignored_flag(why.is_some())
    });
    libtest_mimic::run(&arguments, trials.into()).exit();
}
