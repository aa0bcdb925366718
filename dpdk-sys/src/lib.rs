//! Raw bindings to the DPDK functions that Pollux calls.
//!
//! `pollux_dataplane::dpdk` is the safe interface. Functions whose names start with `pollux_` are ours (`shim.c`): they
//! wrap DPDK's inline functions, and names and layouts that differ between releases. README.md lists them.

#![allow(unsafe_code, reason = "this crate is the C interface")]
#![allow(non_camel_case_types, reason = "the names are those of C")]
#![allow(missing_docs, reason = "the declarations are generated; DPDK's manual and wrapper.h describe them")]

/// A packet buffer, opaque to Rust; [`pollux_mbuf`] is its first cache line.
#[repr(C)]
pub struct rte_mbuf {
    opaque: [u8; 0],
}

/// A pool of packet buffers, opaque to Rust.
#[repr(C)]
pub struct rte_mempool {
    opaque: [u8; 0],
}

include!(concat!(env!("OUT_DIR"), "/bindings.rs"));
