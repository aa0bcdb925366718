//! Test beds: a client, a balancer and real servers in network namespaces, shared by `scripts/quickstart` and the
//! end-to-end stories; and what `scripts/bench` measures with.

pub mod bed;
pub mod bench;
