//! The events a worker may tell: by kind the modules, the level of `debug_level` and the text. Where the kernel has such a
//! message, users find its words here.
//!
//! In a text stand `{proto}`, the ends `{c}`, `{v}` and `{d}`, and words: `{0}` as a number, `{0:x}` in hexadecimal, or as
//! control knows to read it, `{0:state}`.

const CORE: &[&str] = &["ip_vs"];
const TCP: &[&str] = &["ip_vs_tcp"];
const SCTP: &[&str] = &["ip_vs_sctp"];
const IPSEC: &[&str] = &["ip_vs_ah", "ip_vs_esp"];
const SIP: &[&str] = &["ip_vs_pe_sip"];

/// Schedulers by number, that is in the order of [`crate::service::Scheduler`].
pub const SCHEDULER_NAMES: [&str; 15] =
    ["rr", "wrr", "lc", "wlc", "fo", "ovf", "lblc", "lblcr", "dh", "sh", "mh", "sed", "nq", "twos", "none"];

/// Their modules; a service without a scheduler is the core's business.
const SCHEDULERS: &[&str] = &[
    "ip_vs_rr",
    "ip_vs_wrr",
    "ip_vs_lc",
    "ip_vs_wlc",
    "ip_vs_fo",
    "ip_vs_ovf",
    "ip_vs_lblc",
    "ip_vs_lblcr",
    "ip_vs_dh",
    "ip_vs_sh",
    "ip_vs_mh",
    "ip_vs_sed",
    "ip_vs_nq",
    "ip_vs_twos",
    "ip_vs",
];

/// The module of a scheduler; none of `none`.
pub fn module_of_scheduler(name: &str) -> Option<&'static str> {
    let at = SCHEDULER_NAMES.iter().position(|known| *known == name)?;
    SCHEDULERS.get(at).copied().filter(|_| name != "none")
}

crate::event_kinds! {
    /// What a worker may tell.
    Kind {
        // Failures, which are told unless `debug_level` is below 0.
        NoneAvailable = SCHEDULERS, 0, "{3:scheduler}: {2:service} - no destination available";
        TableFull = CORE, 0, "connection table is full: no entry for {proto} {c}->{v}";
        TemplatesFull = CORE, 0, "template table is full: no template for {proto} {c}->{v}";
        BadChecksum = CORE, 0, "Incoming failed ICMP checksum, about {proto} {c}->{v}";
        NotSent = CORE, 0, "packet was not sent: {0:drop}";
        // What is refused, and why.
        NoDestination = CORE, 1, "Schedule: no dest found for {proto} {c}->{v}.";
        IcmpSent = CORE, 1, "{proto} {c}->{v} is answered: {0:answer}";
        Dropped = CORE, 1, "{proto} {c}->{v} is dropped: {0:drop}";
        Unreadable = CORE, 1, "a frame is dropped: {0:drop}";
        GivenUp = CORE, 1, "gave up {proto} c:{c} v:{v} d:{d} state:{1:state} for a new connection";
        Adopted = CORE, 2, "configuration {0} is in use";
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
        Reused = CORE, 7, "{proto} c:{c} v:{v} d:{d} state:{1:state} makes room for a new connection of its ends";
        TcpState = TCP, 8, "{proto} {0:direction}[{1:flags}] c:{c} v:{v} d:{d} state: {2:state}->{3:state}";
        SctpState = SCTP, 8, "{proto} {0:direction} {d}->{c} state: {2:state}->{3:state}";
        // Lookups.
        ServiceLookup = CORE, 9, "lookup service: fwm {0} {proto} {v} {1:hit}";
        TemplateLookup = CORE, 9, "template lookup/in {proto} {c}->{v} {0:hit}";
        CallId = SIP, 9, "SIP: Call-ID of {0} bytes in {proto} {c}->{v}";
        Lookup = CORE, 9, "lookup/{0:way} {proto} {c}->{v} {1:hit}";
        // Packets.
        Packet = CORE, 11, "port {0}: {1:kind} {proto} {c}->{v}, frame of {2} bytes";
        Verdict = CORE, 10, "{proto} {c}->{v} is {0:outcome}";
        IcmpError = CORE, 12, "Incoming ICMP ({0},{1}) about {proto} {c}->{v}";
        NotScheduled = CORE, 12, "{proto} {c}->{v} opens nothing and is the kernel's";
        NoKeyExchange = IPSEC, 12, "Unknown ISAKMP entry for {proto} {c}->{v}";
    }
}

impl Kind {
    /// Those that tell of every packet.
    pub const PER_PACKET: [Kind; 3] = [Kind::Lookup, Kind::Packet, Kind::Verdict];
}
