//! Raw DPDK: the functions Pollux calls, as C declares them, and nothing else.
//!
//! Nothing here is safe and nothing is convenient; the safe edge is `pollux_dataplane::dpdk`. Names that begin with
//! `pollux_` are ours (`shim.c`): they stand for DPDK's inline functions, and for what changes its name or layout from
//! one release to the next. README.md tells which those are.

#![allow(unsafe_code, reason = "this crate is the foreign surface")]
#![allow(non_camel_case_types, reason = "the names are those of C, so that they can be looked up")]
#![allow(missing_docs, reason = "the declarations are generated; DPDK's manual and wrapper.h describe them")]

/// A packet buffer. Rust sees it only behind a pointer; [`pollux_mbuf`] is its first cache line.
#[repr(C)]
pub struct rte_mbuf {
    opaque: [u8; 0],
}

/// A pool of packet buffers, only ever seen behind a pointer.
#[repr(C)]
pub struct rte_mempool {
    opaque: [u8; 0],
}

include!(concat!(env!("OUT_DIR"), "/bindings.rs"));
