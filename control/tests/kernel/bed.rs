//! The test bed: a network namespace with a TAP twin, and both ends of the exception path.

use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crossbeam::channel::Receiver;
use crossbeam::queue::ArrayQueue;
use pollux_control::kernel::exception::{ExceptionCounters, ExceptionPath, Injector};
use pollux_control::kernel::netlink::{Mirror, Twin};
use pollux_control::kernel::tap::TapDevice;
use pollux_control::model::network::{Mac, NetworkState};
use pollux_dataplane::packet::Packet;

pub const OURS: Mac = Mac([2, 0, 0, 0, 0, 1]);
pub const PEER: Mac = Mac([2, 0, 0, 0, 0, 2]);
pub const FOREIGN: Mac = Mac([2, 0, 0, 0, 0, 9]);

/// Time limit of all waits.
const TIMEOUT: Duration = Duration::from_secs(10);
const INSIDE: &str = "POLLUX_TEST_INSIDE_NAMESPACE";

/// Runs a test in a network namespace of its own, by running it again under `unshare`.
pub fn alone(name: &str, story: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        return story();
    }
    if std::fs::metadata("/proc/self").unwrap().uid() != 0 {
        skipped(name, "making interfaces needs root");
        return;
    }
    let me = std::env::current_exe().unwrap();
    let status = Command::new("unshare")
        .args(["--net", "--"])
        .arg(me)
        .args(["--exact", name, "--nocapture"])
        .env(INSIDE, "1")
        .status()
        .unwrap();
    assert!(status.success(), "{name} failed in its namespace");
}

/// Prints to the file descriptor directly, since the harness hides the output of tests that pass.
fn skipped(story: &str, why: &str) {
    let mut terminal = std::io::stderr().lock();
    writeln!(terminal, "SKIPPED {story}: {why}").unwrap();
}

/// Runs `ip` with these arguments, which must succeed.
pub fn ip(arguments: &str) -> String {
    let out = Command::new("ip").args(arguments.split_whitespace()).output().unwrap();
    assert!(out.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).into_owned()
}

/// Adds the VLAN sub-interface `krn0.7`. Returns false and prints why on a kernel without 802.1Q.
pub fn add_vlan(story: &str) -> bool {
    let add = ["link", "add", "link", "krn0", "name", "krn0.7", "type", "vlan", "id", "7"];
    let out = Command::new("ip").args(add).output().unwrap();
    if !out.status.success() {
        let why = String::from_utf8_lossy(&out.stderr);
        skipped(story, &format!("this kernel makes no VLANs: {}", why.trim()));
    }
    out.status.success()
}

/// Runs many `ip` commands in one process.
pub fn batch(lines: impl Iterator<Item = String>) {
    let mut ip = Command::new("ip").args(["-batch", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    let text: String = lines.map(|line| line + "\n").collect();
    ip.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    assert!(ip.wait().unwrap().success());
}

/// Waits for a condition, with a limit.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let limit = Instant::now() + TIMEOUT;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < limit, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Waits for a network state that satisfies a condition.
pub fn see(
    updates: &Receiver<NetworkState>,
    what: &str,
    there: &dyn Fn(&NetworkState) -> bool,
) -> NetworkState {
    let limit = Instant::now() + TIMEOUT;
    let mut last = None;
    while let Ok(network_state) = updates.recv_deadline(limit) {
        if there(&network_state) {
            return network_state;
        }
        last = Some(network_state);
    }
    panic!("waited in vain: {what}; last seen: {last:#?}")
}

pub fn twins() -> Vec<Twin> {
    vec![Twin { ifname: "krn0".into(), port: "net0".into(), vlan: None }]
}

/// A twin and a mirror that includes it.
pub fn mirrored() -> (TapDevice, Mirror, Receiver<NetworkState>) {
    ip("link set lo up");
    let twin = TapDevice::create("krn0", OURS, 1500).unwrap();
    let (mirror, updates) = Mirror::start(twins()).unwrap();
    (twin, mirror, updates)
}

/// A minimal packet of the data plane, sufficient for the exception path.
pub struct Frame(pub Vec<u8>);

impl Packet for Frame {
    fn bytes(&self) -> &[u8] {
        &self.0
    }
    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
    fn push_front(&mut self, _: usize) -> bool {
        false
    }
    fn pull_front(&mut self, _: usize) -> bool {
        false
    }
    fn extend(&mut self, _: usize) -> bool {
        false
    }
    fn truncate(&mut self, len: usize) {
        self.0.truncate(len);
    }
    fn sibling(&self, len: usize) -> Option<Frame> {
        Some(Frame(vec![0; len]))
    }
}

/// Frames that the kernel sent.
#[derive(Clone, Default)]
pub struct Sent(Arc<Mutex<Vec<Vec<u8>>>>);

impl Injector for Sent {
    fn inject(&mut self, _port: usize, frame: &[u8]) -> bool {
        self.0.lock().unwrap().push(frame.to_vec());
        true
    }
}

/// A twin with an address of each family, and a running exception path.
pub struct Bed {
    pub counters: Arc<ExceptionCounters>,
    ring: Arc<ArrayQueue<(usize, Frame)>>,
    sent: Sent,
    _path: ExceptionPath,
}

impl Bed {
    pub fn carrying() -> Bed {
        let twin = TapDevice::create("krn0", OURS, 1500).unwrap();
        ip("addr add 10.77.0.1/24 dev krn0");
        ip("addr add 2001:db8::1/64 dev krn0 nodad");
        let (ring, sent) = (Arc::new(ArrayQueue::new(64)), Sent::default());
        let (path, _switch) =
            ExceptionPath::start(vec![Some(twin)], Arc::clone(&ring), sent.clone()).unwrap();
        Bed { counters: path.counters(), ring, sent, _path: path }
    }

    /// Receives a frame that is not balanced.
    pub fn arrives(&self, frame: &[u8]) {
        self.arrives_at(0, frame);
    }

    pub fn arrives_at(&self, port: usize, frame: &[u8]) {
        assert!(self.ring.push((port, Frame(frame.to_vec()))).is_ok());
    }

    /// Waits until exactly one frame has been dropped on its way to the kernel.
    pub fn drops_one(&self, what: &str) {
        until(what, || (self.counters.to_kernel_drops.load(Relaxed) == 1).then_some(()));
    }

    /// Waits for the kernel to send a frame.
    pub fn leaves(&self, what: &str, is_it: impl Fn(&[u8]) -> bool) -> Vec<u8> {
        until(what, || self.left().into_iter().find(|frame| is_it(frame)))
    }

    /// Returns all frames that the kernel has sent so far.
    pub fn left(&self) -> Vec<Vec<u8>> {
        self.sent.0.lock().unwrap().clone()
    }
}

/// Returns the share of a core that a thread of this process uses over some time, by the kernel scheduler's count.
pub fn cpu_share(thread: &str, time: Duration) -> f64 {
    let is_it = |task: &PathBuf| std::fs::read_to_string(task.join("comm")).is_ok_and(|n| n.trim() == thread);
    // A thread has its name only once it runs.
    let task = until("the thread runs", || {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap();
        tasks.map(|task| task.unwrap().path()).find(is_it)
    });
    let used = || {
        let text = std::fs::read_to_string(task.join("schedstat")).unwrap();
        text.split_whitespace().next().unwrap().parse::<f64>().unwrap()
    };
    let before = used();
    std::thread::sleep(time);
    (used() - before) / time.as_nanos() as f64
}
