//! The test network: a client, a balancer and real servers in network namespaces. End-to-end stories,
//! `scripts/quickstart` and the benchmarks run on it.

pub mod bed;
