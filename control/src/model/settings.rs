//! Timeouts and switches, and edits of them.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Generates [`Settings`] with its defaults and [`SettingsEdit`] from one list of fields.
macro_rules! settings {
    ($($(#[$attribute:meta])* $name:ident: $kind:ty = $default:expr,)*) => {
        /// Timeouts and switches: those of `ipvsadm --set` and the sysctls `net.ipv4.vs.*`, with the kernel's names and
        /// defaults. As in the kernel, a switch is a number and any value except 0 is on; `true` and `false` are accepted
        /// too.
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields, default)]
        pub struct Settings {
            $($(#[$attribute])* pub $name: $kind,)*
            /// Timeouts of all other states, in seconds, by protocol and state: `tcp.SYN_RECV`, `sctp.ESTABLISHED`.
            #[serde(skip_serializing_if = "BTreeMap::is_empty")]
            pub timeouts: BTreeMap<String, u32>,
            /// Modules that are switched off: `ip_vs_sctp`, `ip_vs_rr`.
            #[serde(skip_serializing_if = "BTreeSet::is_empty")]
            pub disabled_modules: BTreeSet<String>,
        }

        impl Default for Settings {
            fn default() -> Settings {
                let (timeouts, disabled_modules) = (BTreeMap::new(), BTreeSet::new());
                Settings { timeouts, disabled_modules, $($name: $default,)* }
            }
        }

        /// Parameters of `settings.set`: the fields of [`Settings`]; absent ones keep their value.
        #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        #[serde(default, deny_unknown_fields)]
        pub struct SettingsEdit {
            $($(#[$attribute])* #[serde(skip_serializing_if = "Option::is_none")] pub $name: Option<$kind>,)*
            /// Timeouts to change; other timeouts keep their value.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub timeouts: Option<BTreeMap<String, u32>>,
            /// The complete set of modules that are switched off.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub disabled_modules: Option<BTreeSet<String>>,
        }

        impl SettingsEdit {
            /// Returns `old` with the changes.
            pub fn apply_to(&self, old: &Settings) -> Settings {
                let mut timeouts = old.timeouts.clone();
                timeouts.extend(self.timeouts.iter().flatten().map(|(state, secs)| (state.clone(), *secs)));
                let disabled_modules = self.disabled_modules.as_ref().unwrap_or(&old.disabled_modules).clone();
                Settings { timeouts, disabled_modules, $($name: self.$name.unwrap_or(old.$name),)* }
            }
        }
    };
}

settings! {
    /// Idle timeout of established TCP connections, in seconds.
    tcp_timeout: u32 = 900,
    /// Timeout of TCP connections in FIN_WAIT, in seconds.
    tcp_fin_timeout: u32 = 120,
    /// Idle timeout of UDP flows, in seconds.
    udp_timeout: u32 = 300,
    /// Free connection memory, in pages of 4096 bytes, below which the automatic defences (modes 1 and 2) are active.
    amemthresh: i32 = 1024,
    /// `drop_packet` in mode 3 drops one of this many new connections.
    am_droprate: i32 = 10,
    /// Random early expiry of connections: 0 off, 1 automatic (now inactive), 2 automatic (now active), 3 always on.
    drop_entry: i32 = 0,
    /// Random drop of new connections; modes as for `drop_entry`.
    drop_packet: i32 = 0,
    /// Stricter TCP state table and timeouts against SYN floods; modes as for `drop_entry`.
    secure_tcp: i32 = 0,
    /// Routes NAT replies with the virtual address as their source.
    #[serde(deserialize_with = "switch")]
    snat_reroute: i32 = 1,
    /// In a fwmark service without a usable destination, forwards packets to their original destination address.
    #[serde(deserialize_with = "switch")]
    cache_bypass: i32 = 0,
    /// Expires connections whose destination was removed or has weight 0, instead of dropping their packets.
    #[serde(deserialize_with = "switch")]
    expire_nodest_conn: i32 = 0,
    /// Ignores persistence templates of destinations with weight 0.
    #[serde(deserialize_with = "switch")]
    expire_quiescent_template: i32 = 0,
    /// Lets any TCP segment except a RST open a connection.
    #[serde(deserialize_with = "switch")]
    sloppy_tcp: i32 = 0,
    /// Lets any SCTP chunk except an ABORT open a connection.
    #[serde(deserialize_with = "switch")]
    sloppy_sctp: i32 = 0,
    /// Sends port unreachable to a NAT destination whose packet belongs to no connection.
    #[serde(deserialize_with = "switch")]
    nat_icmp_send: i32 = 0,
    /// Sends "fragmentation needed" for a packet that is too large for its tunnel.
    #[serde(deserialize_with = "switch")]
    pmtu_disc: i32 = 1,
    /// Passes all packets to the kernel while a backup sync daemon runs.
    #[serde(deserialize_with = "switch")]
    backup_only: i32 = 0,
    /// Effect of a SYN on an existing connection: bit 0 reschedules it, bit 1 also in FIN_WAIT; 0 never reschedules.
    conn_reuse_mode: i32 = 1,
    /// Lets an ICMP error that belongs to no connection open one.
    #[serde(deserialize_with = "switch")]
    schedule_icmp: i32 = 0,
    /// Stored without effect: packets of protocols that are not balanced are never decapsulated.
    #[serde(deserialize_with = "switch")]
    ignore_tunneled: i32 = 0,
    /// Estimates rates; 0 freezes rates and shown counters.
    #[serde(deserialize_with = "switch")]
    run_estimation: i32 = 1,
    /// Seconds until `lblc` removes an idle entry.
    lblc_expiration: u32 = 86400,
    /// Seconds until `lblcr` removes an idle entry, and until it shrinks an unchanged set.
    lblcr_expiration: u32 = 86400,
    /// Most detailed level of debug events that are logged: 0 failures only, 12 everything, negative none.
    debug_level: i32 = 0,
    /// Milliseconds between ICMP errors to one receiver, which gets up to six at once; 0 for no limit.
    icmp_ratelimit: u32 = 1000,
    /// ICMP errors a second to all receivers together; 0 for no limit.
    icmp_msgs_per_sec: u32 = 1000,
    /// ICMP errors at once to all receivers together.
    icmp_msgs_burst: u32 = 50,
    /// Behaves like Linux 6.1 where later kernels and the specification differ; used to replay recordings from Linux
    /// 6.1.
    like_linux_6_1: bool = false,
}

/// Reads a number, or a boolean as 1 or 0.
fn switch<'de, D: serde::Deserializer<'de>, T: From<i32>>(from: D) -> Result<T, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "a number, true or false")]
    enum NumberOrSwitch {
        Number(i32),
        Switch(bool),
    }
    Ok(match NumberOrSwitch::deserialize(from)? {
        NumberOrSwitch::Number(number) => number,
        NumberOrSwitch::Switch(on) => on.into(),
    }
    .into())
}
