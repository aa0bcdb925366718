//! Timeouts and switches.
use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Timeouts and switches: those of `ipvsadm --set` and the sysctls `net.ipv4.vs.*`, with the kernel's names and
/// defaults. As in the kernel, a switch is a number and any value except 0 is on; `true` and `false` are accepted too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Idle timeout of established TCP connections, in seconds.
    pub tcp_timeout: u32,
    /// Timeout of TCP connections in FIN_WAIT, in seconds.
    pub tcp_fin_timeout: u32,
    /// Idle timeout of UDP flows, in seconds.
    pub udp_timeout: u32,
    /// Timeouts of all other states, in seconds, by protocol and state: `tcp.SYN_RECV`, `sctp.ESTABLISHED`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub timeouts: BTreeMap<String, u32>,
    /// Free connection memory, in pages of 4096 bytes, below which the automatic defences (modes 1 and 2) are active.
    pub amemthresh: i32,
    /// `drop_packet` in mode 3 drops one of this many new connections.
    pub am_droprate: i32,
    /// Random early expiry of connections: 0 off, 1 automatic (now inactive), 2 automatic (now active), 3 always on.
    pub drop_entry: i32,
    /// Random drop of new connections; modes as for `drop_entry`.
    pub drop_packet: i32,
    /// Stricter TCP state table and timeouts against SYN floods; modes as for `drop_entry`.
    pub secure_tcp: i32,
    /// Routes NAT replies with the virtual address as their source.
    #[serde(deserialize_with = "switch")]
    pub snat_reroute: i32,
    /// In a fwmark service without a usable destination, forwards packets to their original destination address.
    #[serde(deserialize_with = "switch")]
    pub cache_bypass: i32,
    /// Expires connections whose destination was removed or has weight 0, instead of dropping their packets.
    #[serde(deserialize_with = "switch")]
    pub expire_nodest_conn: i32,
    /// Ignores persistence templates of destinations with weight 0.
    #[serde(deserialize_with = "switch")]
    pub expire_quiescent_template: i32,
    /// Lets any TCP segment except a RST open a connection.
    #[serde(deserialize_with = "switch")]
    pub sloppy_tcp: i32,
    /// Lets any SCTP chunk except an ABORT open a connection.
    #[serde(deserialize_with = "switch")]
    pub sloppy_sctp: i32,
    /// Sends port unreachable to a NAT destination whose packet belongs to no connection.
    #[serde(deserialize_with = "switch")]
    pub nat_icmp_send: i32,
    /// Sends "fragmentation needed" for a packet that is too large for its tunnel.
    #[serde(deserialize_with = "switch")]
    pub pmtu_disc: i32,
    /// Passes all packets to the kernel while a backup sync daemon runs.
    #[serde(deserialize_with = "switch")]
    pub backup_only: i32,
    /// Effect of a SYN on an existing connection: bit 0 reschedules it, bit 1 also in FIN_WAIT; 0 never reschedules.
    pub conn_reuse_mode: i32,
    /// Lets an ICMP error that belongs to no connection open one.
    #[serde(deserialize_with = "switch")]
    pub schedule_icmp: i32,
    /// Stored without effect: packets of protocols that are not balanced are never decapsulated.
    #[serde(deserialize_with = "switch")]
    pub ignore_tunneled: i32,
    /// Estimates rates; 0 freezes rates and shown counters.
    #[serde(deserialize_with = "switch")]
    pub run_estimation: i32,
    /// Seconds until `lblc` removes an idle entry.
    pub lblc_expiration: u32,
    /// Seconds until `lblcr` removes an idle entry, and until it shrinks an unchanged set.
    pub lblcr_expiration: u32,
    /// Most detailed level of debug events that are logged: 0 failures only, 12 everything, negative none.
    pub debug_level: i32,
    /// Modules that are switched off: `ip_vs_sctp`, `ip_vs_rr`.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub disabled_modules: BTreeSet<String>,
    /// Behaves like Linux 6.1 where later kernels and the specification differ; used to replay recordings from Linux
    /// 6.1.
    pub like_linux_6_1: bool,
}

/// Reads a [`switch`] that may be absent.
pub(crate) fn optional_switch<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<i32>, D::Error> {
    switch(from).map(Some)
}

/// Reads a number, or a boolean as 1 or 0.
fn switch<'de, D: serde::Deserializer<'de>>(from: D) -> Result<i32, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "a number, true or false")]
    enum Written {
        Number(i32),
        Switch(bool),
    }
    Ok(match Written::deserialize(from)? {
        Written::Number(number) => number,
        Written::Switch(on) => on.into(),
    })
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            tcp_timeout: 900,
            tcp_fin_timeout: 120,
            udp_timeout: 300,
            timeouts: BTreeMap::new(),
            amemthresh: 1024,
            am_droprate: 10,
            drop_entry: 0,
            drop_packet: 0,
            secure_tcp: 0,
            snat_reroute: 1,
            cache_bypass: 0,
            expire_nodest_conn: 0,
            expire_quiescent_template: 0,
            sloppy_tcp: 0,
            sloppy_sctp: 0,
            nat_icmp_send: 0,
            pmtu_disc: 1,
            backup_only: 0,
            conn_reuse_mode: 1,
            schedule_icmp: 0,
            ignore_tunneled: 0,
            run_estimation: 1,
            lblc_expiration: 86400,
            lblcr_expiration: 86400,
            debug_level: 0,
            disabled_modules: BTreeSet::new(),
            like_linux_6_1: false,
        }
    }
}
