//! On the packet path, no two workers write the same cache line, and none writes a line with hot data of another.
//!
//! The test builds namespaces for several workers as the daemon does, records every allocation with its address and the
//! worker it is for, and compares cache lines.

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::collections::HashMap;
use std::mem::{align_of_val, size_of_val};
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use crossbeam::queue::ArrayQueue;
use pollux_control::engine::namespace_operations::{self, Parts};
use pollux_control::model::Start;
use pollux_dataplane::cache_aligned_alloc::{CacheAlignedAlloc, OWN_LINES, PAIR};
use pollux_dataplane::config::Snapshot;
use pollux_dataplane::io::mem::{Frame, ManualClock, Wire};
use pollux_dataplane::pipeline::egress::tx_buffers::HandOffRing;
use pollux_dataplane::worker::namespace::NamespaceWorker;
use pollux_dataplane::worker::{Port, Setup, Worker};

/// Owner of blocks that `namespace_operations::parts` allocates for all workers.
const COMMON: usize = 99;
const CORES: [u16; 3] = [1, 2, 3];
const PORTS: usize = 2;

/// The allocator of `polluxd`, with a record of its blocks.
struct Recorder;

thread_local! {
    /// Owner of the blocks being recorded.
    static OWNER: Cell<Option<usize>> = const { Cell::new(None) };
    /// The record is being changed.
    static BUSY: Cell<bool> = const { Cell::new(false) };
}

#[derive(Clone, Copy, Debug)]
struct Block {
    owner: usize,
    start: usize,
    size: usize,
}

static BLOCKS: Mutex<Vec<Block>> = Mutex::new(Vec::new());

#[global_allocator]
static HEAP: Recorder = Recorder;

/// Changes the record; allocations that this causes are not recorded.
fn note(change: impl FnOnce(&mut Vec<Block>)) {
    if BUSY.try_with(|busy| busy.replace(true)) == Ok(false) {
        change(&mut BLOCKS.lock().unwrap_or_else(PoisonError::into_inner));
        BUSY.set(false);
    }
}

// SAFETY: every call is forwarded to `CacheAlignedAlloc`.
#[allow(unsafe_code, reason = "an allocator that records the blocks of another")]
unsafe impl GlobalAlloc for Recorder {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's contract.
        let block = unsafe { CacheAlignedAlloc.alloc(layout) };
        if let Ok(Some(owner)) = OWNER.try_with(Cell::get) {
            note(|blocks| blocks.push(Block { owner, start: block.addr(), size: layout.size() }));
        }
        block
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        note(|blocks| blocks.retain(|known| known.start != block.addr()));
        // SAFETY: the caller's contract.
        unsafe { CacheAlignedAlloc.dealloc(block, layout) }
    }
}

/// Records the allocations of `build` for this owner.
fn record_for<T>(owner: usize, build: impl FnOnce() -> T) -> T {
    OWNER.set(Some(owner));
    let built = build();
    OWNER.set(None);
    built
}

fn pairs(bytes: Range<usize>) -> Range<usize> {
    bytes.start / PAIR..bytes.end.div_ceil(PAIR)
}

fn range<T: ?Sized>(value: &T) -> Range<usize> {
    let start = std::ptr::from_ref(value).addr();
    start..start + size_of_val(value)
}

/// A namespace as in the daemon: the workers' boxes and control's end.
struct Built {
    #[allow(clippy::vec_box, reason = "each is an allocation of its own, as in the daemon")]
    namespace_workers: Vec<Box<NamespaceWorker<Frame>>>,
    parts: Parts<Frame>,
    hand_off: Box<[HandOffRing<Frame>]>,
}

fn built() -> Built {
    // Small sizes, since small blocks are close together.
    let start = Start {
        connections_ipv4: 1000,
        connections_ipv6: 100,
        services: 7,
        destinations: 300,
        templates: 50,
        ..Start::default()
    };
    let mut parts = record_for(COMMON, || namespace_operations::parts(&start, &CORES, PORTS, None));
    let hand_off = parts.setups[0].hand_off.clone();
    let setups = std::mem::take(&mut parts.setups);
    let namespace_workers = setups.into_iter().enumerate();
    let namespace_workers = namespace_workers
        .map(|(worker, setup)| record_for(worker, || Box::new(NamespaceWorker::new(setup).expect("memory"))))
        .collect();
    Built { namespace_workers, parts, hand_off }
}

/// Returns the sizes of an owner's blocks that may share lines.
fn small(blocks: &[Block], owner: usize) -> Vec<usize> {
    let small = blocks.iter().filter(|block| block.owner == owner && block.size < OWN_LINES);
    small.map(|block| block.size).collect()
}

/// Returns the sizes of a snapshot's blocks, which workers only read.
fn snapshot() -> Vec<usize> {
    const SNAPSHOT: usize = 98;
    let _snapshot = record_for(SNAPSHOT, Box::<Snapshot>::default);
    small(&blocks(), SNAPSHOT)
}

fn blocks() -> Vec<Block> {
    let mut all = Vec::new();
    note(|blocks| all.clone_from(blocks));
    all
}

/// The tests share one record, so they run one at a time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

#[test]
fn workers_write_different_cache_lines() {
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let namespaces = [built(), built()];
    let blocks = blocks();
    // A worker's block is written by that worker alone. A common block has its own writer, so each counts as an owner.
    let mut taken: HashMap<usize, (usize, Block)> = HashMap::new();
    for (number, &block) in blocks.iter().enumerate().filter(|(_, block)| block.size >= OWN_LINES) {
        for pair in pairs(block.start..block.start + block.size) {
            let owner = if block.owner == COMMON { COMMON + number } else { block.owner };
            let (before, other) = *taken.entry(pair).or_insert((owner, block));
            assert_eq!(before, owner, "{block:?} and {other:?} share two lines");
        }
    }
    for block in blocks.iter().filter(|block| block.size < OWN_LINES) {
        let shared = pairs(block.start..block.start + block.size).find(|pair| taken.contains_key(pair));
        assert!(shared.is_none(), "{block:?} is on a cache line of {:?}", taken[&shared.unwrap_or(0)]);
    }
    for worker in 0..CORES.len() {
        assert_eq!(
            small(&blocks, worker),
            [snapshot(), snapshot()].concat(),
            "small blocks are only read by workers"
        );
    }
    let workers = blocks.iter().filter(|block| block.owner != COMMON).count();
    assert!(workers >= 2 * CORES.len() * 5, "workers' blocks are recorded: {workers}");
    drop(namespaces);
}

/// Within blocks that several threads use.
#[test]
fn shared_blocks_keep_writers_on_different_lines() {
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let namespaces = built();
    let mut claims: Vec<(String, Range<usize>)> = Vec::new();
    for (worker, handle) in namespaces.parts.handles.iter().enumerate() {
        let (stats, rings) = (&handle.stats, &handle.rings);
        let mut claim = |what: &str, bytes| claims.push((format!("{what} of worker {worker}"), bytes));
        claim("counters", range(&stats.counters));
        claim("destinations", range(&*stats.destinations));
        // Read by the worker, never written.
        claim("read-only pointer to destinations", range(&stats.destinations));
        claim("read-only pointer to others' loads", range(&stats.others));
        claim("commands", range(&rings.commands));
        claim("notifications", range(&rings.notifications));
        claim("events", range(&rings.events));
        claim("hand-off", range(&*namespaces.hand_off[worker]));
        claim("the worker", range(&*namespaces.namespace_workers[worker]));
        assert!(align_of_val(&stats.destinations[0]) >= 64);
        assert_ends_apart(&rings.commands);
        assert_ends_apart(&*namespaces.hand_off[worker]);
    }
    claims.push(("quotas".to_owned(), range(&namespaces.parts.handles[0].shared.quotas)));
    claims.push(("frames to the kernel".to_owned(), range(&*namespaces.parts.rings.kernel)));
    claims.push(("frames of the kernel".to_owned(), range(&*namespaces.parts.rings.inject)));
    let mut taken: HashMap<usize, &str> = HashMap::new();
    for (what, bytes) in &claims {
        let read_only = what.starts_with("read-only");
        for pair in pairs(bytes.clone()) {
            let before = taken.insert(pair, what);
            let fine = before
                .is_none_or(|before| read_only && before.starts_with("read-only pointer to destinations"));
            assert!(fine, "{what} and {} share two lines", before.unwrap_or_default());
        }
    }
    drop(namespaces);
}

/// The two ends of a ring and its read-only part are on three pairs of cache lines.
fn assert_ends_apart<T>(ring: &ArrayQueue<T>) {
    assert!(align_of_val(ring) >= 64 && size_of_val(ring) >= 3 * align_of_val(ring), "{}", size_of_val(ring));
}

/// A worker itself is on its thread's stack; its other allocations must be its own too.
#[test]
fn a_worker_allocates_blocks_of_its_own() {
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let Parts { setups, handles, rings } = record_for(COMMON, || {
        namespace_operations::parts(&Start { connections_ipv4: 100, ..Start::default() }, &CORES, PORTS, None)
    });
    let workers: Vec<_> = setups
        .into_iter()
        .enumerate()
        .map(|(number, default_namespace)| {
            let queues = Wire::default();
            let ports = record_for(number, || vec![Port::new(0, queues)]);
            let setup = Setup::new(ports, default_namespace);
            record_for(number, || Worker::new(setup, ManualClock::default()))
        })
        .collect();
    for worker in 0..CORES.len() {
        // The list of ports too: it is only read, except when bindings change.
        let mut allowed = snapshot();
        allowed.insert(0, size_of::<Port<Wire>>());
        assert_eq!(small(&blocks(), worker), allowed);
    }
    drop((workers, handles, rings));
}
