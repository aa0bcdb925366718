//! Rows of packets through the pipeline. Every drop reason and every ICMP reason is provoked by a packet here.

mod bed;
mod datagrams;
mod drops;
mod edges;
mod events;
mod families;
mod fast_path;
mod fragments;
mod kernel;
mod links;
mod rows;
mod sctp;
mod server_calls;
mod services;
mod steering;
mod tunnels;
