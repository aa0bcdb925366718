//! Time-outs and switches.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Time-outs and switches: `ipvsadm --set` and the sysctls `net.ipv4.vs.*`, with the kernel's names and defaults. As in
/// the kernel a switch is a number and any but 0 is on; `true` and `false` are understood too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Seconds an established TCP connection may stay silent.
    pub tcp_timeout: u32,
    /// Seconds a TCP connection stays after a FIN.
    pub tcp_fin_timeout: u32,
    /// Seconds a UDP flow may stay silent.
    pub udp_timeout: u32,
    /// Seconds by protocol and state for all other states: `tcp.SYN_RECV`, `sctp.ESTABLISHED`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub timeouts: BTreeMap<String, u32>,
    /// Pages of connection memory below which the automatic defences begin.
    pub amemthresh: i32,
    /// One in so many new connections is dropped by `drop_packet` in mode 3.
    pub am_droprate: i32,
    /// Random early expiry: 0 off, 1 automatic and idle, 2 automatic and active, 3 on.
    pub drop_entry: i32,
    /// Drop new connections: modes as of `drop_entry`.
    pub drop_packet: i32,
    /// TCP's other state tables: modes as of `drop_entry`.
    pub secure_tcp: i32,
    /// Look the way of translated replies up with the virtual address as their source.
    #[serde(deserialize_with = "switch")]
    pub snat_reroute: i32,
    /// Mark services without a usable destination let packets go where they were addressed.
    #[serde(deserialize_with = "switch")]
    pub cache_bypass: i32,
    /// Expire connections whose destination is gone or quiesced, instead of dropping their packets.
    #[serde(deserialize_with = "switch")]
    pub expire_nodest_conn: i32,
    /// Templates of quiesced destinations no longer count.
    #[serde(deserialize_with = "switch")]
    pub expire_quiescent_template: i32,
    /// Let any TCP segment but a RST open a connection.
    #[serde(deserialize_with = "switch")]
    pub sloppy_tcp: i32,
    /// Let any SCTP chunk but an ABORT open a connection.
    #[serde(deserialize_with = "switch")]
    pub sloppy_sctp: i32,
    /// Answer packets from a NAT destination that belong to no connection with port unreachable.
    #[serde(deserialize_with = "switch")]
    pub nat_icmp_send: i32,
    /// Answer a packet that a tunnel cannot carry with fragmentation needed.
    #[serde(deserialize_with = "switch")]
    pub pmtu_disc: i32,
    /// Pass everything to the kernel while a backup sync daemon runs.
    #[serde(deserialize_with = "switch")]
    pub backup_only: i32,
    /// What a SYN on an old connection may do: bit 0 reschedules it, bit 1 also in FIN_WAIT; 0 never.
    pub conn_reuse_mode: i32,
    /// Let an ICMP error about no known connection open one.
    #[serde(deserialize_with = "switch")]
    pub schedule_icmp: i32,
    /// Packets of protocols that are not balanced are left alone; they are here in any case.
    #[serde(deserialize_with = "switch")]
    pub ignore_tunneled: i32,
    /// Estimate rates; 0 freezes rates and shown counters.
    #[serde(deserialize_with = "switch")]
    pub run_estimation: i32,
    /// Seconds `lblc` keeps an idle entry.
    pub lblc_expiration: u32,
    /// Seconds `lblcr` keeps an idle entry, and an unchanged set.
    pub lblcr_expiration: u32,
    /// Debug events are told from this level on: 0 failures, up to 12 all; below 0 none.
    pub debug_level: i32,
    /// Modules that are switched off: `ip_vs_sctp`, `ip_vs_rr`.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub disabled_modules: BTreeSet<String>,
    /// Do as Linux 6.1 where later kernels and the specification differ; replay of recordings from it sets this.
    pub like_linux_6_1: bool,
}

/// As [`switch`], for what may be left out.
pub(crate) fn optional_switch<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<i32>, D::Error> {
    switch(from).map(Some)
}

/// A number, or a boolean for 1 and 0.
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
