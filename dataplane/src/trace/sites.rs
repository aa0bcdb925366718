//! The kinds of events that a worker traces, with modules, `debug_level` and text. The text is the kernel's where it
//! has such a message.
//!
//! Placeholders are `{proto}`, the endpoints `{c}`, `{v}` and `{d}`, and words: `{0}` as a number, `{0:x}` in
//! hexadecimal, or with a format that control defines, such as `{0:state}`.

use crate::service::Scheduler;

const CORE: &[&str] = &["ip_vs"];
const TCP: &[&str] = &["ip_vs_tcp"];
const SCTP: &[&str] = &["ip_vs_sctp"];
const IPSEC: &[&str] = &["ip_vs_ah", "ip_vs_esp"];
const SIP: &[&str] = &["ip_vs_pe_sip"];

/// The modules of the schedulers, by number; the core's for a service without a scheduler.
const SCHEDULERS: &[&str] = &{
    let mut modules = [CORE[0]; Scheduler::ALL.len()];
    let mut at = 0;
    while at < modules.len() {
        if let Some(module) = Scheduler::ALL[at].module() {
            modules[at] = module;
        }
        at += 1;
    }
    modules
};

crate::event_kinds! {
    /// The events of a worker.
    Kind {
        // Failures, which are traced unless `debug_level` is negative.
        NoneAvailable = SCHEDULERS, 0, "{3:scheduler}: {2:service} - no destination available";
        TableFull = CORE, 0, "connection table is full: no entry for {proto} {c}->{v}";
        TemplatesFull = CORE, 0, "template table is full: no template for {proto} {c}->{v}";
        BadChecksum = CORE, 0, "Incoming failed ICMP checksum, about {proto} {c}->{v}";
        NotSent = CORE, 0, "packet was not sent: {0:drop}";
        // Refused packets, and evictions.
        NoDestination = CORE, 1, "Schedule: no dest found for {proto} {c}->{v}.";
        IcmpSent = CORE, 1, "ICMP error sent for {proto} {c}->{v}: {0:icmp}";
        Dropped = CORE, 1, "dropped {proto} {c}->{v}: {0:drop}";
        Unreadable = CORE, 1, "dropped an unreadable frame: {0:drop}";
        Evicted = CORE, 1, "evicted {proto} c:{c} v:{v} d:{d} state:{1:state} for a new connection";
        Adopted = CORE, 2, "adopted configuration {0}";
        DroppedEntry = CORE, 4, "drop entry: {proto} c:{c} v:{v} d:{d} state:{1:state} packets:{2}";
        DroppedPacket = CORE, 4, "drop packet: {proto} {c}->{v}, one in {0}";
        // Scheduling.
        Scheduling = SCHEDULERS, 6, "ip_vs_{3:scheduler}_schedule(): Scheduling...";
        Chosen = SCHEDULERS, 6, "{3:SCHEDULER}: server {d} activeconns {0} inactconns {1} weight {2}";
        Persistent = CORE, 6, "p-schedule: src {c} dest {v} to {d}, template {0:hit}";
        Scheduled = CORE, 6, "Schedule fwd:{0:fwd} c:{c} v:{v} d:{d} conn->flags:{0:x}";
        // Connections.
        Bound = CORE, 7, "Bind-dest {proto} c:{c} v:{v} d:{d} fwd:{0:fwd} s:{1} conn->flags:{0:x}";
        Unbound = CORE, 7, "Unbind-dest {proto} c:{c} v:{v} d:{d} fwd:{0:fwd} s:{1} conn->flags:{0:x}";
        Expired = CORE, 7, "Expire {proto} c:{c} v:{v} d:{d} state:{1:state} packets:{2}";
        Reused = CORE, 7, "{proto} c:{c} v:{v} d:{d} state:{1:state} ends for a new connection with the same endpoints";
        TcpState = TCP, 8, "{proto} {0:direction}[{1:flags}] c:{c} v:{v} d:{d} state: {2:state}->{3:state}";
        SctpState = SCTP, 8, "{proto} {0:direction} {d}->{c} state: {2:state}->{3:state}";
        // Lookups.
        ServiceLookup = CORE, 9, "lookup service: fwm {0} {proto} {v} {1:hit}";
        TemplateLookup = CORE, 9, "template lookup/in {proto} {c}->{v} {0:hit}";
        CallId = SIP, 9, "SIP: Call-ID of {0} bytes in {proto} {c}->{v}";
        Lookup = CORE, 9, "lookup/{0:side} {proto} {c}->{v} {1:hit}";
        // Packets.
        Packet = CORE, 11, "port {0}: {1:kind} {proto} {c}->{v}, frame of {2} bytes";
        Verdict = CORE, 10, "{proto} {c}->{v} is {0:outcome}";
        IcmpError = CORE, 12, "Incoming ICMP ({0},{1}) about {proto} {c}->{v}";
        NotScheduled = CORE, 12, "{proto} {c}->{v} opens no connection, passed to the kernel";
        NoKeyExchange = IPSEC, 12, "Unknown ISAKMP entry for {proto} {c}->{v}";
    }
}

impl Kind {
    /// The kinds that trace every packet.
    pub const PER_PACKET: [Kind; 3] = [Kind::Lookup, Kind::Packet, Kind::Verdict];
}
