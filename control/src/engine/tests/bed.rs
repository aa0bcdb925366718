//! An engine with running workers, on ports in memory.

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use pollux_dataplane::io::mem::{ManualClock, Wire};
use pollux_dataplane::worker::{Port, Setup, Worker};

use super::*;
use crate::engine::namespace_operations::{Parts, WorkerSlot, parts};
use crate::model::Start;
use crate::replay::topology;

/// The engine, and the wires of each worker: to clients and to servers.
pub struct Bed {
    pub engine: Engine,
    pub wires: Vec<[Wire; 2]>,
    threads: Vec<JoinHandle<()>>,
}

impl Bed {
    pub fn new(workers: u16) -> Bed {
        let start = Start {
            services: 1024,
            destinations: 4096,
            templates: 64,
            connections_ipv4: u32::from(workers) << 16,
            connections_ipv6: u32::from(workers) << 6,
            ..Start::default()
        };
        let network_state = topology::network_state();
        let wires: Vec<[Wire; 2]> = (0..workers).map(|_| [Wire::default(), Wire::default()]).collect();
        let cores: Vec<u16> = (0..workers).collect();
        let Parts { setups, handles, .. } = parts(&start, &cores, 2, None);
        let (mut slots, mut threads) = (Vec::new(), Vec::new());
        for ((default_namespace, wires), core) in setups.into_iter().zip(&wires).zip(cores) {
            let numbered = network_state.links.iter().zip(wires).zip(0..);
            let ports = numbered.map(|((_, wire), number)| Port::new(number, wire.clone()));
            let setup = Setup::new(ports.collect(), default_namespace);
            slots.push(WorkerSlot { core, namespace_rings: Arc::clone(&setup.namespace_rings) });
            threads.push(thread::spawn(move || Worker::new(setup, ManualClock::default()).unwrap().run()));
        }
        let names = topology::network_state().links.into_iter().map(|link| link.port);
        let compiler = Compiler::new(&start, names);
        let default_namespace = NamespaceEngine::new(compiler, Workers::new(handles), None, Instant::now());
        let namespaces = NamespaceWorkers::new(slots, 2, Box::new(NoKernel));
        let mut engine = Engine::new(default_namespace, Box::new(NoPorts), Box::new(namespaces), None);
        engine.set_network(network_state).unwrap();
        Bed { engine, wires, threads }
    }

    /// Sends a datagram from a client port to the service, and returns the last byte of the server's address.
    pub fn server_of(&self, l4_port: u16) -> u8 {
        self.wires[0][0].put(&datagram(l4_port));
        let began = Instant::now();
        loop {
            if let Some(frame) = self.wires.iter().find_map(|wires| wires[1].take()) {
                return frame[33];
            }
            assert!(began.elapsed() < Duration::from_secs(20), "the datagram was lost");
            thread::yield_now();
        }
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        self.engine.workers().stop();
        self.threads.drain(..).for_each(|thread| drop(thread.join()));
    }
}

/// Returns a datagram from 192.0.2.10 to 10.9.9.1:53.
pub fn datagram(l4_port: u16) -> Vec<u8> {
    let mut frame = topology::network_state().links[0].mac.0.to_vec();
    frame.extend([2, 0, 0, 0, 1, 0xfe, 8, 0]);
    let mut header = [0x45, 0, 0, 28, 0, 1, 0, 0, 64, 17, 0, 0, 192, 0, 2, 10, 10, 9, 9, 1];
    let sum: u32 = header.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    frame.extend(header);
    frame.extend(l4_port.to_be_bytes());
    frame.extend([0, 53, 0, 8, 0, 0]);
    frame
}
