//! Adds and removes namespaces while a worker runs, on ports in memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use pollux_dataplane::io::mem::{ManualClock, Wire};
use pollux_dataplane::testkit::{CLIENT_SIDE, ROUTER};
use pollux_dataplane::wire::ipv4;
use pollux_dataplane::worker::{Port, Setup, Worker};
use serde_json::{Value, json};

use super::{NoKernel, NoPorts, ask, ask_in, done};
use crate::engine::compile::Compiler;
use crate::engine::namespace_operations::{NamespaceWorkers, Parts, WorkerSlot, parts};
use crate::engine::workers::Workers;
use crate::engine::{Engine, NamespaceEngine};
use crate::model::Start;

/// An engine and its worker, which runs until this is dropped.
struct Live {
    engine: Engine,
    outside: Wire,
    inside: Wire,
    stop: Arc<AtomicBool>,
    worker: Option<JoinHandle<()>>,
}

impl Live {
    fn new() -> Live {
        let start = Start {
            connections_ipv4: 64,
            connections_ipv6: 8,
            services: 4,
            destinations: 8,
            templates: 8,
            ..Start::default()
        };
        let names = ["client".to_owned(), "server".to_owned()];
        let Parts { mut setups, handles, .. } = parts(&start, &[0], 2, None);
        let (outside, inside) = (Wire::default(), Wire::default());
        let ports = vec![Port::new(0, outside.clone()), Port::new(1, inside.clone())];
        let setup = Setup::new(ports, setups.remove(0));
        let namespace_rings = Arc::clone(&setup.namespace_rings);
        let mut worker = Worker::new(setup, ManualClock::default()).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let worker = thread::spawn(move || {
            while !stopped.load(Relaxed) {
                if worker.poll_once() == 0 {
                    thread::yield_now();
                }
            }
        });
        let default_namespace =
            NamespaceEngine::new(Compiler::new(&start, names), Workers::new(handles), None, Instant::now());
        let namespaces =
            NamespaceWorkers::new(vec![WorkerSlot { core: 0, namespace_rings }], 2, Box::new(NoKernel));
        let engine = Engine::new(default_namespace, Box::new(NoPorts), Box::new(namespaces), None);
        Live { engine, outside, inside, stop, worker: Some(worker) }
    }

    /// Sends the SYN of a new client, and returns the address it is forwarded to.
    fn connect(&self, host: u8) -> [u8; 4] {
        let mut frame =
            [&CLIENT_SIDE[..], &ROUTER, &[8, 0, 0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0]].concat();
        frame.extend([192, 0, 2, host, 10, 9, 9, 1]);
        // From port 40000 to 80, a header of five words, SYN.
        frame.extend([0x9c, 0x40, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 4, 0, 0, 0, 0, 0]);
        ipv4::fill_checksum(&mut frame[14..]);
        self.outside.put(&frame);
        let until = Instant::now() + Duration::from_secs(20);
        while Instant::now() < until {
            if let Some(sent) = self.inside.take() {
                return sent[30..34].try_into().unwrap();
            }
            thread::yield_now();
        }
        panic!("the packet was not forwarded");
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        if let Some(worker) = self.worker.take() {
            let _ = worker.join();
        }
    }
}

/// Network state of both namespaces.
fn network_state() -> Value {
    let link = |name: &str, mac: &str| json!({ "name": name, "port": name, "mac": mac, "mtu": 1500 });
    json!({
        "links": [link("client", "02:00:00:00:01:01"), link("server", "02:00:00:00:02:01")],
        "addresses": [{ "address": "10.9.9.1", "prefix_len": 32, "link": "client" }],
        "routes": [{ "destination": "10.0.2.0/24", "link": "server" }, { "destination": "192.0.2.0/24", "link": "client" }],
        "neighbours": [
            { "link": "server", "address": "10.0.2.11", "mac": "02:00:00:00:02:02" },
            { "link": "server", "address": "10.0.2.12", "mac": "02:00:00:00:02:02" },
        ],
    })
}

fn service(destination: &str) -> Value {
    json!([{ "protocol": "tcp", "address": "10.9.9.1", "l4_port": 80, "scheduler": "rr",
        "destinations": [{ "address": destination, "l4_port": 80, "method": "nat" }] }])
}

fn blue() -> Value {
    json!({ "namespace": { "name": "blue", "bindings": [{ "port": "client" }, { "port": "server" }],
        "start": { "connections_ipv4": 64, "connections_ipv6": 8 },
        "services": service("10.0.2.12"), "network": network_state() } })
}

#[test]
fn namespaces_are_added_and_removed_under_traffic() {
    let mut live = Live::new();
    let start = json!({ "connections_ipv4": 64, "connections_ipv6": 8, "services": 4, "destinations": 8, "templates": 8 });
    let config = json!({ "start": start, "services": service("10.0.2.11"), "network": network_state() });
    ask(&mut live.engine, "config.apply", json!({ "config": config })).unwrap();
    assert_eq!(live.connect(1), [10, 0, 2, 11]);
    // The links of the default namespace would belong to another one.
    assert!(ask(&mut live.engine, "namespace.add", blue()).is_err());
    let config = json!({ "start": start, "services": service("10.0.2.11") });
    ask(&mut live.engine, "config.apply", json!({ "config": config })).unwrap();
    let connections = |live: &mut Live, namespace: &str| {
        let page = ask_in(&mut live.engine, namespace, "connection.list", json!({})).unwrap();
        page["connections"].as_array().map_or(0, Vec::len)
    };
    for round in 0..20 {
        done(&mut live.engine, "namespace.add", blue());
        assert_eq!(connections(&mut live, "blue"), 0, "round {round}");
        // Same client as before; its connection in the other namespace is not used.
        assert_eq!(live.connect(1), [10, 0, 2, 12]);
        assert_eq!((connections(&mut live, "blue"), connections(&mut live, "default")), (1, 1));
        let stats = ask_in(&mut live.engine, "blue", "stats.get", json!({})).unwrap();
        assert_eq!((&stats["live"]["connections"], &stats["ports"]), (&json!(1), &json!([])));
        let handle = &live.engine.named[0].engine.workers().all()[0];
        let (stats, shared) = (Arc::downgrade(&handle.stats), Arc::downgrade(&handle.shared));
        done(&mut live.engine, "namespace.remove", json!({ "name": "blue" }));
        assert!(stats.upgrade().is_none() && shared.upgrade().is_none(), "all of it is freed");
    }
    let stats = ask(&mut live.engine, "stats.get", json!({})).unwrap();
    assert_eq!(stats["live"]["connections"], json!(1), "the default namespace has seen none of it");
    assert_eq!(stats["workers"][0]["received"], json!(1));
}
