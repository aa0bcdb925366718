//! No cache line is written by two workers on their packets' way, nor written by one where another reads what is hot.
//!
//! Namespaces for several workers are built as the daemon builds them, every block of memory that this takes is
//! recorded with its address and with the worker it is for, and lines are compared.

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::collections::HashMap;
use std::mem::{align_of_val, size_of_val};
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use crossbeam::queue::ArrayQueue;
use pollux_control::engine::namespace_manager::{self, Parts};
use pollux_control::model::Start;
use pollux_dataplane::cache_aligned_alloc::{CacheAlignedAlloc, OWN_LINES, PAIR};
use pollux_dataplane::config::Snapshot;
use pollux_dataplane::io::mem::{Frame, ManualClock, Wire};
use pollux_dataplane::pipeline::egress::tx_buffers::HandOffRing;
use pollux_dataplane::worker::namespace::NamespaceWorker;
use pollux_dataplane::worker::{Port, Setup, Worker};

/// What is built for nobody in particular: by `namespace_manager::parts`, for all.
const HOUSE: usize = 99;
const CORES: [u16; 3] = [1, 2, 3];
const PORTS: usize = 2;

/// The allocator of `polluxd`, and a record of what it gave.
struct Recorder;

thread_local! {
    /// Whose blocks are recorded.
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

/// Changes the record; not for what that takes and frees itself.
fn note(change: impl FnOnce(&mut Vec<Block>)) {
    if BUSY.try_with(|busy| busy.replace(true)) == Ok(false) {
        change(&mut BLOCKS.lock().unwrap_or_else(PoisonError::into_inner));
        BUSY.set(false);
    }
}

// SAFETY: every call goes to `CacheAlignedAlloc`.
#[allow(unsafe_code, reason = "an allocator that notes what another gives")]
unsafe impl GlobalAlloc for Recorder {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's word.
        let block = unsafe { CacheAlignedAlloc.alloc(layout) };
        if let Ok(Some(owner)) = OWNER.try_with(Cell::get) {
            note(|blocks| blocks.push(Block { owner, start: block.addr(), size: layout.size() }));
        }
        block
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        note(|blocks| blocks.retain(|known| known.start != block.addr()));
        // SAFETY: the caller's word.
        unsafe { CacheAlignedAlloc.dealloc(block, layout) }
    }
}

/// What `build` takes is `owner`'s.
fn record_for<T>(owner: usize, build: impl FnOnce() -> T) -> T {
    OWNER.set(Some(owner));
    let built = build();
    OWNER.set(None);
    built
}

fn pairs(of: Range<usize>) -> Range<usize> {
    of.start / PAIR..of.end.div_ceil(PAIR)
}

fn range<T: ?Sized>(of: &T) -> Range<usize> {
    let start = std::ptr::from_ref(of).addr();
    start..start + size_of_val(of)
}

/// Two namespaces as they stand in one daemon: workers' boxes, and control's end of them.
struct Built {
    namespace_workers: Vec<Box<NamespaceWorker<Frame>>>,
    parts: Parts<Frame>,
    hand_off: Box<[HandOffRing<Frame>]>,
}

fn built() -> Built {
    // Small: what is small is what lies close together.
    let start = Start {
        connections_ipv4: 1000,
        connections_ipv6: 100,
        services: 7,
        destinations: 300,
        templates: 50,
        ..Start::default()
    };
    let mut parts = record_for(HOUSE, || namespace_manager::parts(&start, &CORES, PORTS, None));
    let hand_off = parts.setups[0].hand_off.clone();
    let setups = std::mem::take(&mut parts.setups);
    let namespace_workers = setups.into_iter().enumerate();
    let namespace_workers = namespace_workers
        .map(|(worker, setup)| record_for(worker, || Box::new(NamespaceWorker::new(setup).expect("memory"))))
        .collect();
    Built { namespace_workers, parts, hand_off }
}

/// Sizes of an owner's blocks that may share lines.
fn small(blocks: &[Block], owner: usize) -> Vec<usize> {
    let of = blocks.iter().filter(|block| block.owner == owner && block.size < OWN_LINES);
    of.map(|block| block.size).collect()
}

/// Those of a snapshot, which workers only read.
fn snapshot() -> Vec<usize> {
    const NOBODY: usize = 98;
    let _snapshot = record_for(NOBODY, Box::<Snapshot>::default);
    small(&blocks(), NOBODY)
}

fn blocks() -> Vec<Block> {
    let mut all = Vec::new();
    note(|blocks| all.clone_from(blocks));
    all
}

/// The tests look at one record, in turn.
static TURN: Mutex<()> = Mutex::new(());

#[test]
fn what_two_workers_write_lies_on_different_lines() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let houses = [built(), built()];
    let blocks = blocks();
    // A block of a worker is written by it alone; one of the house by whom it is for, so each counts for itself.
    let mut taken: HashMap<usize, (usize, Block)> = HashMap::new();
    for (number, &block) in blocks.iter().enumerate().filter(|(_, block)| block.size >= OWN_LINES) {
        for pair in pairs(block.start..block.start + block.size) {
            let owner = if block.owner == HOUSE { HOUSE + number } else { block.owner };
            let (before, other) = *taken.entry(pair).or_insert((owner, block));
            assert_eq!(before, owner, "{block:?} and {other:?} share two lines");
        }
    }
    for block in blocks.iter().filter(|block| block.size < OWN_LINES) {
        let shared = pairs(block.start..block.start + block.size).find(|pair| taken.contains_key(pair));
        assert!(shared.is_none(), "{block:?} lies on a line of {:?}", taken[&shared.unwrap_or(0)]);
    }
    for worker in 0..CORES.len() {
        assert_eq!(small(&blocks, worker), [snapshot(), snapshot()].concat(), "small blocks are only read");
    }
    let workers = blocks.iter().filter(|block| block.owner != HOUSE).count();
    assert!(workers >= 2 * CORES.len() * 5, "workers' blocks are recorded: {workers}");
    drop(houses);
}

/// Inside of blocks that several threads use.
#[test]
fn what_threads_share_keeps_writers_apart() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let namespaces = built();
    let mut claims: Vec<(String, Range<usize>)> = Vec::new();
    for (worker, handle) in namespaces.parts.handles.iter().enumerate() {
        let (stats, rings) = (&handle.stats, &handle.rings);
        let mut claim = |what: &str, of| claims.push((format!("{what} of worker {worker}"), of));
        claim("counters", range(&stats.counters));
        claim("destinations", range(&*stats.destinations));
        // Read by the worker, never written.
        claim("the place of destinations", range(&stats.destinations));
        claim("the others' loads", range(&stats.others));
        claim("commands", range(&rings.commands));
        claim("notifications", range(&rings.notifications));
        claim("events", range(&rings.events));
        claim("hand-off", range(&*namespaces.hand_off[worker]));
        claim("the worker", range(&*namespaces.namespace_workers[worker]));
        assert!(align_of_val(&stats.destinations[0]) >= 64);
        assert_apart(&rings.commands);
        assert_apart(&*namespaces.hand_off[worker]);
    }
    claims.push(("quotas".to_owned(), range(&namespaces.parts.handles[0].shared.quotas)));
    claims.push(("frames to the kernel".to_owned(), range(&*namespaces.parts.rings.kernel)));
    claims.push(("frames of the kernel".to_owned(), range(&*namespaces.parts.rings.inject)));
    let mut taken: HashMap<usize, &str> = HashMap::new();
    for (what, of) in &claims {
        let read_only = ["the place", "the others"].iter().any(|start| what.starts_with(start));
        for pair in pairs(of.clone()) {
            let before = taken.insert(pair, what);
            let fine = before.is_none_or(|before| read_only && before.starts_with("the place"));
            assert!(fine, "{what} and {} share two lines", before.unwrap_or_default());
        }
    }
    drop(namespaces);
}

/// Both ends of a ring, and what is only read of it, are three pairs of lines.
fn assert_apart<T>(ring: &ArrayQueue<T>) {
    assert!(align_of_val(ring) >= 64 && size_of_val(ring) >= 3 * align_of_val(ring), "{}", size_of_val(ring));
}

/// A worker itself is on its thread's stack; what it takes besides is its own as well.
#[test]
fn a_worker_takes_blocks_of_its_own() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let Parts { setups, handles, rings } = record_for(HOUSE, || {
        namespace_manager::parts(&Start { connections_ipv4: 100, ..Start::default() }, &CORES, PORTS, None)
    });
    let workers: Vec<_> = setups
        .into_iter()
        .enumerate()
        .map(|(number, default_namespace)| {
            let queues = Wire::default();
            let setup = Setup::new(vec![Port::new(0, [0; 6], queues)], default_namespace);
            record_for(number, || Worker::new(setup, ManualClock::default()))
        })
        .collect();
    for worker in 0..CORES.len() {
        // And the list of ports: only read, but when they are bound anew.
        let mut allowed = snapshot();
        allowed.insert(0, size_of::<Port<Wire>>());
        assert_eq!(small(&blocks(), worker), allowed);
    }
    drop((workers, handles, rings));
}
