//! `polluxd` between two peers connected by shared memory, as two virtual machines would be: memif, or vhost-user with
//! virtio-user. One CPU sends and receives, the other forwards.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use clap::ValueEnum;
use serde_json::Value;

use super::daemon::{count, stats};
use super::frame;
use super::kinds::{Family, Method, Size, word};
use super::random::shuffled;
use super::search::Trial;
use super::world::{Plan, Port, config};
use pollux_tests::bed::command::{Error, Result, program};
use pollux_tests::bed::process::Process;
use pollux_tests::bed::resources::Resources;

/// Device type between the peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Via {
    /// memif: rings in shared memory, as in VPP.
    Memif,
    /// vhost-user: `polluxd` is in the role of a hypervisor's switch, the peers in that of its guests.
    Vhost,
}

impl Via {
    /// Ports of `polluxd`, with the driver's names.
    pub fn ports(self) -> [Port; 2] {
        match self {
            Via::Memif => [
                Port { name: "net_memif0", mac: [2, 0x70, 0x63, 0x61, 0x70, 0] },
                Port { name: "net_memif1", mac: [2, 0x70, 0x63, 0x61, 0x70, 1] },
            ],
            // The driver derives the addresses from the port number.
            Via::Vhost => [
                Port { name: "net_vhost0", mac: [0x56, 0x48, 0x4f, 0x53, 0x54, 0] },
                Port { name: "net_vhost1", mac: [0x56, 0x48, 0x4f, 0x53, 0x54, 1] },
            ],
        }
    }

    /// Ports that accept the packets of testpmd's flowgen, which all have one destination MAC address.
    ///
    /// # Errors
    /// If the driver does not support that address.
    pub fn ports_for_flowgen(self) -> Result<[Port; 2]> {
        match self {
            Via::Memif => Ok(self.ports().map(|port| Port { mac: [0, 1, 2, 3, 4, 1], ..port })),
            Via::Vhost => Err(Error(
                "testpmd's flowgen sends only to 00:01:02:03:04:01, and a vhost port cannot have that address; use --via memif"
                    .to_owned(),
            )),
        }
    }

    fn devices(self, macs: Option<[[u8; 6]; 2]>, place: &Path) -> Vec<String> {
        let place = place.display();
        let device = |number: usize| match (self, macs) {
            (Via::Memif, macs) => {
                let role = if macs.is_some() { "server" } else { "client" };
                let socket = format!("id={number},socket={place}/memif.sock,socket-abstract=no,rsize=11");
                let mac = macs.map_or(String::new(), |macs| format!(",mac={}", written(macs[number])));
                format!("--vdev=net_memif{number},role={role},{socket}{mac}")
            }
            (Via::Vhost, Some(_)) => {
                format!("--vdev=net_vhost{number},iface={place}/vhost{number}.sock,queues=1")
            }
            (Via::Vhost, None) => {
                format!(
                    "--vdev=net_virtio_user{number},path={place}/vhost{number}.sock,queues=1,queue_size=1024"
                )
            }
        };
        (0..2).map(device).collect()
    }
}

fn written(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

/// Settings of a measurement between peers.
pub struct Setting<'a> {
    /// Device type between the peers.
    pub via: Via,
    /// Ports of the daemon.
    pub ports: &'a [Port; 2],
    /// Forwarding method.
    pub method: Method,
    /// Addresses.
    pub family: Family,
    /// Frames.
    pub size: Size,
    /// Flows.
    pub flows: u32,
    /// CPU of control and peers, CPU of the worker.
    pub cpus: &'a [usize; 2],
    /// Key of the service, in place of its address.
    pub key: Option<&'a str>,
    /// Text appended to the configuration.
    pub fwmarks: &'a str,
}

/// The daemon between the peers.
pub struct Middle {
    resources: Resources,
    socket: PathBuf,
    _daemon: Process,
}

impl Middle {
    /// Starts the daemon between two ports.
    ///
    /// # Errors
    /// If it does not start.
    pub fn start(setting: &Setting<'_>) -> Result<Middle> {
        let resources = Resources::open()?;
        let place = resources.directory().to_owned();
        let (file, socket) = (place.join("pollux.toml"), place.join("pollux.sock"));
        let ports = setting.ports;
        let plan = Plan {
            family: setting.family,
            method: setting.method,
            protocol: "udp",
            scheduler: "sh",
            ports,
            inside: 1,
            key: setting.key,
            connections: setting.flows + setting.flows / 10 + 1000,
            buffers: 0,
            settings: "",
        };
        fs::write(&file, config(&plan) + setting.fwmarks)?;
        let mut command = Command::new(program("polluxd")?);
        let [control, worker] = setting.cpus;
        command.args(["-l", &format!("{control},{worker}")]).args(eal());
        command.args(setting.via.devices(Some([ports[0].mac, ports[1].mac]), &place));
        command.arg("--").arg("--config").arg(&file).arg("--socket").arg(&socket);
        let mut daemon = Process::start(&resources, "polluxd", &mut command)?;
        daemon.until("polluxd is ready", |log| Ok(log.contains("polluxd: ready").then_some(())))?;
        Ok(Middle { resources, socket, _daemon: daemon })
    }

    /// Directory for the files of the peers.
    pub fn place(&self) -> &Path {
        self.resources.directory()
    }

    /// EAL arguments of a peer.
    pub fn other_end(&self, via: Via) -> Vec<String> {
        eal().iter().map(ToString::to_string).chain(via.devices(None, self.resources.directory())).collect()
    }

    /// Returns packets received, packets sent and busy cycles of the daemon.
    ///
    /// # Errors
    /// If it does not reply.
    pub fn counts(&self) -> Result<[u64; 3]> {
        let stats: Value = stats(&self.socket)?;
        Ok(["received", "sent", "busy_cycles"].map(|name| count(&stats, name)))
    }
}

/// Peers share memory by file descriptor, so each needs memory that has one: huge pages.
fn eal() -> [&'static str; 4] {
    ["--no-pci", "--in-memory", "--no-telemetry", "--single-file-segments"]
}

/// Returns the frames that every sender sends in a loop: one of each flow, to this MAC address.
pub fn frames(family: Family, size: Size, flows: u32, to: [u8; 6]) -> Vec<Vec<u8>> {
    // Enough frames to contain all sizes.
    let order = shuffled(flows, 1).into_iter().cycle().take(flows.max(1020) as usize);
    let frame = |(nth, flow): (usize, u32)| {
        let mut frame = frame::request(family, flow, size.frame(nth));
        frame[..6].copy_from_slice(&to);
        frame
    };
    order.enumerate().map(frame).collect()
}

/// The paced sender and sink, a separate program because it needs DPDK.
pub struct Peer {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Peer {
    /// Starts the peer.
    ///
    /// # Errors
    /// If it does not start.
    pub fn start(middle: &Middle, setting: &Setting<'_>) -> Result<Peer> {
        let mac = written(setting.ports[0].mac);
        let control = setting.cpus[0];
        let mut child = Command::new(program("peer")?)
            .args(["--family", &word(setting.family), "--size", &word(setting.size)])
            .args(["--flows", &setting.flows.to_string(), "--to", &mac, "--"])
            .args(["-l", &control.to_string()])
            .args(middle.other_end(setting.via))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let missing = || Error("the peer has no input or output".to_owned());
        let input = child.stdin.take().ok_or_else(missing)?;
        let output = BufReader::new(child.stdout.take().ok_or_else(missing)?);
        let mut peer = Peer { child, input, output };
        peer.reply()?;
        Ok(peer)
    }

    /// Runs one trial with a load in packets per second.
    ///
    /// # Errors
    /// If the peer has exited.
    pub fn trial(&mut self, load: f64, seconds: f64) -> Result<Trial> {
        writeln!(self.input, "{load} {seconds}")?;
        self.input.flush()?;
        let reply: Value = serde_json::from_str(&self.reply()?)?;
        let number = |name: &str| reply[name].as_u64().unwrap_or(0);
        let took = reply["seconds"].as_f64().unwrap_or(seconds);
        Ok(Trial {
            load: number("sent") as f64 / took.max(1e-9),
            seconds: took,
            sent: number("sent"),
            received: number("received"),
        })
    }

    /// Returns the next line that is JSON; DPDK prints other lines too.
    fn reply(&mut self) -> Result<String> {
        loop {
            let mut line = String::new();
            if self.output.read_line(&mut line)? == 0 {
                return Err(Error(format!(
                    "the peer exited: {:?}; its log is above",
                    self.child.try_wait()?
                )));
            }
            if line.starts_with('{') {
                return Ok(line);
            }
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // An error means that it has already exited.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
