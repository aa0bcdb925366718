//! The DPDK bindings on virtual devices: no NIC and no huge pages are needed; the tests that need root say so.
#![cfg(feature = "dpdk")]

use std::process::Command;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use std::{fs, thread};

use pollux_dataplane::dpdk::{
    Eal, EalError, Mbuf, Pool, PoolSetup, Port, PortError, PortSetup, Queue, StartedPort, Tsc,
};
use pollux_dataplane::flow::Seed;
use pollux_dataplane::io::{BURST, Batch, QueuePair};
use pollux_dataplane::packet::Packet;
use pollux_dataplane::steer::{Facing, RssKeys};
use pollux_dataplane::time::Clock;
use proptest::prelude::*;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// EAL starts once per process, so all tests share it. Each test has its own pools and devices.
static EAL: LazyLock<Eal> = LazyLock::new(|| {
    let prefix = format!("pollux-test-{}", std::process::id());
    let args = ["-l", "0", "--no-huge", "-m", "256", "--no-pci", "--no-telemetry", "--file-prefix", &prefix];
    Eal::init(&args.map(str::to_owned)).expect("EAL starts without huge pages")
});

fn pool(packets: u32) -> Pool {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = format!("pool{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let setup = PoolSetup { name, packets, cache: 0, frame_room: 2048 };
    Pool::create(&EAL, &setup).expect("a small pool fits")
}

fn start(devargs: &str, pool: &Pool) -> (StartedPort, Queue) {
    let port = Port::attach(&EAL, devargs).expect("the virtual device can be made");
    let (started, mut queues) = port.start(&PortSetup::new(pool.clone())).expect("it starts");
    (started, queues.remove(0))
}

fn frames(pool: &Pool, count: u8) -> Batch<Mbuf> {
    (0..count).map(|n| pool.packet(&[n; 60]).expect("the pool has enough")).collect()
}

fn firsts(batch: &Batch<Mbuf>) -> Vec<u8> {
    batch.iter().map(|packet| packet.bytes()[0]).collect()
}

#[test]
fn eal_starts_only_once() {
    LazyLock::force(&EAL);
    assert!(matches!(Eal::init(&[]), Err(EalError::AlreadyStarted)));
    assert!(Eal::version().starts_with("DPDK "), "{}", Eal::version());
}

#[test]
fn a_sibling_is_from_the_same_pool_until_that_is_empty() {
    let pool = pool(3);
    let mut packet = pool.packet(&[7; 60]).expect("the pool has enough");
    assert!(packet.pull_front(20));
    let sibling = packet.sibling(100).expect("the pool has enough");
    assert_eq!((sibling.bytes().len(), pool.in_use()), (100, 2));
    assert!(packet.sibling(3000).is_none(), "longer than a buffer");
    assert_eq!(pool.in_use(), 2);
    let third = packet.sibling(0).expect("the pool has enough");
    assert!(packet.sibling(0).is_none(), "the pool is empty");
    drop((packet, sibling, third));
    assert_eq!(pool.in_use(), 0);
}

#[test]
fn an_argument_with_a_zero_byte_is_named() {
    let error = Eal::init(&["-l\0".to_owned()]).err().map(|error| error.to_string());
    assert_eq!(error.as_deref(), Some(r#"EAL argument "-l\0" contains a zero byte; remove it"#));
}

#[test]
fn a_packet_is_pointer_sized_even_when_it_may_be_missing() {
    assert_eq!(size_of::<Option<Mbuf>>(), size_of::<usize>());
}

#[test]
fn an_exhausted_pool_returns_none_and_recovers() {
    let pool = pool(7);
    let mut held: Vec<Mbuf> = std::iter::from_fn(|| pool.packet(&[1; 60])).collect();
    assert_eq!((held.len(), pool.in_use()), (7, 7));
    assert!(pool.packet(&[1; 60]).is_none());
    held.pop();
    assert!(pool.packet(&[1; 60]).is_some());
}

#[test]
fn a_frame_that_is_too_long_uses_no_buffer() {
    let pool = pool(7);
    assert!(pool.packet(&[0; 2048]).is_some());
    assert!(pool.packet(&[0; 2049]).is_none());
    assert!(pool.packet(&[0; 70_000]).is_none());
    assert_eq!(pool.in_use(), 0);
}

#[test]
fn all_packets_return_to_the_pool() {
    let pool = pool(127);
    drop(frames(&pool, 64));
    assert_eq!(pool.in_use(), 0, "dropped as a batch");
}

#[derive(Clone, Debug)]
enum Change {
    Push(usize),
    Pull(usize),
    Extend(usize),
    Truncate(usize),
}

fn change() -> impl Strategy<Value = Change> {
    let size = prop_oneof![0_usize..80, Just(70_000), Just(1900)];
    (0..4, size).prop_map(|(kind, size)| match kind {
        0 => Change::Push(size),
        1 => Change::Pull(size),
        2 => Change::Extend(size),
        _ => Change::Truncate(size),
    })
}

static MODEL_POOL: LazyLock<Pool> = LazyLock::new(|| pool(7));

proptest! {
    /// The model is a vector. The headroom is DPDK's default, 128 bytes.
    #[test]
    fn a_packet_is_a_vector_with_headroom_and_tailroom(changes in prop::collection::vec(change(), 0..40)) {
        let mut model: Vec<u8> = (0..200).collect();
        let mut headroom = 128;
        let mut packet = MODEL_POOL.packet(&model).expect("one packet at a time");
        for change in changes {
            match change {
                Change::Push(count) => {
                    prop_assert_eq!(packet.push_front(count), count <= headroom);
                    if count <= headroom {
                        headroom -= count;
                        packet.bytes_mut()[..count].fill(7);
                        model.splice(..0, vec![7; count]);
                    }
                }
                Change::Pull(count) => {
                    prop_assert_eq!(packet.pull_front(count), count <= model.len());
                    if count <= model.len() {
                        headroom += count;
                        model.drain(..count);
                    }
                }
                Change::Extend(count) => {
                    let (len, room) = (model.len(), 128 + 2048 - headroom - model.len());
                    prop_assert_eq!(packet.extend(count), count <= room);
                    if count <= room {
                        packet.bytes_mut()[len..].fill(9);
                        model.resize(len + count, 9);
                    }
                }
                Change::Truncate(len) => {
                    packet.truncate(len);
                    model.truncate(len);
                }
            }
            prop_assert_eq!(packet.bytes(), &model[..]);
        }
    }
}

#[test]
fn frames_pass_a_ring_port_in_order() {
    let pool = pool(255);
    let (port, mut queue) = start("net_ring_around", &pool);
    let mut batch = frames(&pool, 10);
    queue.transmit(&mut batch);
    assert!(batch.is_empty());
    batch.push(pool.packet(&[99; 60]).expect("the pool has enough"));
    queue.receive(&mut batch);
    assert_eq!(firsts(&batch), [99, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9], "received frames are appended");
    let stats = port.stats().expect("rings count");
    assert_eq!((stats.ipackets, stats.opackets, stats.too_long), (10, 10, 0));
    drop(batch);
    assert_eq!(pool.in_use(), 0);
}

#[test]
fn frames_refused_by_a_full_ring_stay_in_order() {
    let pool = pool(2047);
    let (_port, mut queue) = start("net_ring_full", &pool);
    let mut sent = 0;
    let refuse = |_| {
        let mut batch = frames(&pool, 60);
        queue.transmit(&mut batch);
        sent += 60 - batch.len();
        (!batch.is_empty()).then_some(batch)
    };
    // The pool has fewer frames than a hundred batches need.
    let rest = (0..100).find_map(refuse).expect("the ring refuses frames when it is full");
    let refused = 60 - rest.len() as u8..60;
    assert_eq!(firsts(&rest), refused.collect::<Vec<_>>(), "after {sent} frames");
    drop(rest);
    assert_eq!(pool.in_use() as usize, sent);
    let mut batch = Batch::new();
    for _ in 0..sent.div_ceil(BURST) {
        queue.receive(&mut batch);
        batch.clear();
    }
    assert_eq!(pool.in_use(), 0);
}

#[test]
fn a_burst_is_limited_by_the_room_in_the_batch() {
    let pool = pool(255);
    let (_port, mut queue) = start("net_null_room", &pool);
    let mut batch = frames(&pool, 60);
    queue.receive(&mut batch);
    assert_eq!(batch.len(), BURST);
    queue.receive(&mut batch);
    assert_eq!((batch.len(), pool.in_use()), (BURST, 64));
}

#[test]
fn a_device_reports_its_properties() {
    let made = Port::attach(&EAL, "net_null_properties").expect("the virtual device can be made");
    let seen = Port::all(&EAL).expect("devices answer").into_iter().find(|port| port.id == made.id);
    let seen = seen.expect("it is listed");
    assert_eq!((seen.name.as_str(), seen.driver.as_str()), ("net_null_properties", "net_null"));
    assert!(seen.max_rx_queues >= 1 && seen.mtu_range.contains(&1500));
    assert!(seen.link().is_ok());
}

#[test]
fn every_error_of_a_setup_is_reported() {
    let small = PoolSetup { name: "small".into(), packets: 63, cache: 0, frame_room: 1000 };
    let (ok, small) = (pool(63), Pool::create(&EAL, &small).expect("a small pool fits"));
    let port = Port::attach(&EAL, "net_ring_errors").expect("the virtual device can be made");
    let (good, most) = (PortSetup::new(ok), port.max_rx_queues);
    let error = |setup: PortSetup| port.clone().start(&setup).err().expect("it cannot start").to_string();
    let queues = error(PortSetup { queues: most + 1, ..good.clone() });
    assert!(
        queues.contains(&format!("{} queues requested, but the device has {most}; ", most + 1)),
        "{queues}"
    );
    let none = error(PortSetup { queues: 0, ..good.clone() });
    assert_eq!(none, "port net_ring_errors: 0 queues requested; the minimum is 1");
    let mtu = error(PortSetup { mtu: Some(10), ..good.clone() });
    assert!(mtu.starts_with("port net_ring_errors: MTU 10 requested, but the device supports "), "{mtu}");
    let room = error(PortSetup { pool: small, ..good.clone() });
    assert_eq!(
        room,
        "port net_ring_errors: frames of MTU 1500 need buffers of 1526 bytes, the pool's have 1000"
    );
    let _held = port.clone().start(&good).expect("nothing was left behind by the errors");
    assert_eq!(error(good), "port net_ring_errors: started already");
    assert!(matches!(Port::attach(&EAL, "net_nothing0"), Err(PortError::Attach { .. })));
}

#[test]
fn a_capable_device_accepts_the_rss_key_and_table() {
    let rss_keys = RssKeys::new(Seed(3, 5));
    let rss_key = Some(*rss_keys.key(Facing::Clients));
    let spreads = |devargs: &str, queues| {
        let port = Port::attach(&EAL, devargs).expect("the virtual device can be made");
        let setup = PortSetup { queues, rss_key, ..PortSetup::new(pool(8191)) };
        let (started, _queues) = port.start(&setup).expect("it starts");
        (started.rss, started.steers)
    };
    assert_eq!(spreads("net_null_spread", 3), (true, true));
    assert_eq!(spreads("net_null_single", 1), (false, false), "one queue has nothing to spread over");
    assert_eq!(spreads("net_ring_spread", 1), (false, false));
}

#[test]
fn a_device_without_interrupts_starts_without_them() {
    let pool = pool(255);
    let port = Port::attach(&EAL, "net_ring_bells").expect("the virtual device can be made");
    let setup = PortSetup { interrupts: true, ..PortSetup::new(pool.clone()) };
    let (started, mut queues) = port.start(&setup).expect("it starts");
    let queue = &mut queues[0];
    assert!(!started.interrupts && queue.rx_interrupt().is_none());
    queue.arm();
    let mut batch = frames(&pool, 3);
    queue.transmit(&mut batch);
    queue.receive(&mut batch);
    assert_eq!(batch.len(), 3);
    queue.disarm();
}

#[test]
fn a_port_runs_until_its_last_queue_is_dropped() {
    let pool = pool(255);
    let (port, mut queue) = start("net_ring_last", &pool);
    drop(port);
    let mut batch = frames(&pool, 3);
    queue.transmit(&mut batch);
    queue.receive(&mut batch);
    assert_eq!(batch.len(), 3);
    drop(queue);
    let left = Port::all(&EAL).expect("devices answer");
    assert!(left.iter().all(|port| port.name != "net_ring_last"), "the port was closed");
}

#[test]
fn a_thread_registers_once_and_then_has_a_mempool_cache() {
    let setup = PoolSetup { name: "cached".into(), packets: 255, cache: 32, frame_room: 2048 };
    let pool = Pool::create(&EAL, &setup).expect("a small pool fits");
    let worker = thread::spawn(move || {
        let guard = EAL.register_thread().expect("there is a place");
        assert!(matches!(EAL.register_thread(), Err(EalError::ThreadKnown)));
        drop(frames(&pool, 64));
        assert_eq!(pool.in_use(), 0, "packets in a cache are not in use");
        drop(guard);
        drop(EAL.register_thread().expect("the place is free again"));
    });
    worker.join().expect("the thread ends well");
}

#[test]
fn a_frame_in_several_buffers_is_dropped_and_counted() {
    let file = std::env::temp_dir().join(format!("pollux-jumbo-{}.pcap", std::process::id()));
    fs::write(&file, pcap(&[&[1; 60], &[2; 5000], &[3; 60]])).expect("the directory can be written to");
    let pool = pool(255);
    let (port, mut queue) = start(&format!("net_pcap_jumbo,rx_pcap={}", file.display()), &pool);
    let mut batch = Batch::new();
    queue.receive(&mut batch);
    fs::remove_file(&file).expect("it was written above");
    assert_eq!(firsts(&batch), [1, 3]);
    assert_eq!(port.stats().expect("the device counts").too_long, 1);
    assert_eq!(pool.in_use(), 2);
}

/// A classic pcap file: little-endian, microseconds, Ethernet.
fn pcap(frames: &[&[u8]]) -> Vec<u8> {
    let words = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
    let mut file = words(&[0xa1b2_c3d4, 0x0004_0002, 0, 0, 65_535, 1]);
    for frame in frames {
        let len = frame.len() as u32;
        file.extend(words(&[0, 0, len, len]));
        file.extend(*frame);
    }
    file
}

#[test]
fn the_clock_agrees_with_the_kernels() {
    let (mut clock, began) = (Tsc::new(&EAL), Instant::now());
    let cycles = clock.cycles();
    thread::sleep(Duration::from_millis(50));
    let (ticks, real) = (clock.now().0, began.elapsed().as_millis() as u64);
    assert!(ticks + 2 >= real.min(50) && ticks <= real + 2, "{ticks} ms, but {real} have passed");
    assert!(clock.cycles() > cycles && clock.now().0 >= ticks);
}

/// A veth pair, removed when it is dropped.
struct Veth(String);

impl Veth {
    fn new() -> Option<Veth> {
        let near = format!("dpk{}a", std::process::id() % 100_000);
        let veth = Veth(near);
        let far = veth.far();
        ip(&["link", "add", &veth.0, "type", "veth", "peer", "name", &far]).then_some(())?;
        (ip(&["link", "set", &veth.0, "up"]) && ip(&["link", "set", &far, "up"])).then_some(veth)
    }

    fn far(&self) -> String {
        self.0.replace('a', "b")
    }
}

impl Drop for Veth {
    fn drop(&mut self) {
        ip(&["link", "delete", &self.0]);
    }
}

fn ip(args: &[&str]) -> bool {
    Command::new("ip").args(args).output().is_ok_and(|output| output.status.success())
}

#[test]
fn frames_cross_a_veth_pair() {
    let Some(veth) = Veth::new() else {
        eprintln!("skipped: a veth pair needs root and iproute2");
        return;
    };
    let pool = pool(2047);
    let (_near, mut near) = start(&format!("net_af_packet_near,iface={}", veth.0), &pool);
    let (far_port, mut far) = start(&format!("net_af_packet_far,iface={}", veth.far()), &pool);
    let frame: Vec<u8> =
        [[0xff; 6], [2; 6]].concat().into_iter().chain([0x88, 0xb5]).chain([42; 46]).collect();
    let mut batch = Batch::new();
    batch.push(pool.packet(&frame).expect("the pool has enough"));
    near.transmit(&mut batch);
    assert!(batch.is_empty());
    let limit = Instant::now() + Duration::from_secs(5);
    // The kernel too sends frames over a new link, so the test's frame is identified by its bytes.
    let came = std::iter::repeat_with(|| {
        let mut batch = Batch::new();
        far.receive(&mut batch);
        batch.iter().any(|packet| packet.bytes() == frame)
    });
    assert!(came.take_while(|_| Instant::now() < limit).any(|found| found), "the frame arrives");
    assert!(far_port.stats().expect("the device counts").ipackets >= 1);
}

#[test]
fn a_tap_raises_an_interrupt_when_a_frame_arrives() {
    let name = format!("dpkbell{}", std::process::id() % 100_000);
    let Ok(port) = Port::attach(&EAL, &format!("net_tap_bell,iface={name}")) else {
        eprintln!("skipped: a TAP needs root");
        return;
    };
    let pool = pool(2047);
    let setup = PortSetup { interrupts: true, ..PortSetup::new(pool) };
    let (started, mut queues) = port.start(&setup).expect("it starts");
    let mut queue = queues.remove(0);
    assert!(started.interrupts);
    assert!(ip(&["link", "set", &name, "up"]) && ip(&["address", "add", "192.0.2.1/30", "dev", &name]));
    queue.arm();
    // The kernel sends an ARP request for the receiver.
    let socket = std::net::UdpSocket::bind("192.0.2.1:0").expect("the address is there");
    socket.send_to(&[1], "192.0.2.2:9").expect("there is a route");
    let limit = Timespec { tv_sec: 5, tv_nsec: 0 };
    let rx_interrupt = queue.rx_interrupt().expect("it has interrupts");
    assert_eq!(poll(&mut [PollFd::from_borrowed_fd(rx_interrupt, PollFlags::IN)], Some(&limit)), Ok(1));
    queue.disarm();
    let limit = Instant::now() + Duration::from_secs(5);
    let came = std::iter::repeat_with(|| {
        let mut batch = Batch::new();
        queue.receive(&mut batch);
        !batch.is_empty()
    });
    assert!(came.take_while(|_| Instant::now() < limit).any(|found| found), "the frame is there");
}
