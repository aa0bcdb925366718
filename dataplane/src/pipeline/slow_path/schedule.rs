//! Packets that belong to no connection: replies after all, packets that open connections, packets for the kernel; spec 4.3
//! and 4.4.

use std::net::IpAddr;

use crate::config::{Ingress, Policy, fwmarks};
use crate::conn::entry::Endpoints;
use crate::conn::template::Handle;
use crate::conn::{ConnId, Entry, Flags, NewConnection};
use crate::flow::{Endpoint, Key};
use crate::icmp::Message;
use crate::parse::{Kind, NO_CHUNK, Parsed};
use crate::pipeline::outcome::{Decision, Outcome, Transit};
use crate::pipeline::{PacketMeta, Pipeline, RxContext};
use crate::proto::{sctp, tcp};
use crate::sched::PickContext;
use crate::service::{DestinationId, FTP_DATA, ServiceId, ServiceKey};
use crate::time::{Millis, Tick};
use crate::trace::{Record, event};
use crate::verdict::{DropReason, IcmpReason};
use crate::wire::protocol;
use crate::wire::tcp::{RST, SYN};

/// Timeout of a connection until its first packet has set its state; spec 4.4.
const INITIAL_TIMEOUT: Millis = Millis::from_secs(3);
/// Entries searched for an evictable one when the table is full.
const EVICTION_SEARCH: u32 = 128;

/// A destination for a new connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chosen {
    /// The destination; none for a bypass.
    pub destination: Option<DestinationId>,
    /// Its address, and the L4 port that packets are sent to.
    pub endpoint: Endpoint,
    /// Forwarding method and other flags of the connection.
    pub flags: Flags,
    /// The persistence template that named it.
    pub template: Option<Handle>,
}

/// Result of scheduling.
pub(crate) enum Choice {
    /// The destination of the new connection.
    Take(Chosen),
    /// The service has no usable destination; spec 4.4 "leave".
    Leave,
    /// The packet is not scheduled but passed to the kernel.
    NotOurs,
    /// The packet cannot be scheduled.
    Drop(DropReason),
}

/// A flow that a packet may open a connection for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewFlow {
    /// Key from client to virtual address.
    pub key: Key,
    /// Its service.
    pub service: ServiceId,
    /// The packet is an ICMP error that quotes a packet of the flow.
    pub quoted: bool,
}

impl Pipeline {
    /// Decides about a packet that belongs to no connection: a reply after all, a packet that opens a connection, or one
    /// for the kernel.
    #[cold]
    pub(crate) fn schedule(&mut self, frame: &[u8], meta: &PacketMeta, rx: &RxContext) -> Outcome {
        let (parsed, now) = (&meta.parsed, rx.now);
        let key = parsed.key;
        if self.snapshot.settings.is_off(parsed.protocol) || self.is_martian(&key) {
            return Decision::ToKernel.into();
        }
        if let Some(outcome) = self.reply_without_connection(frame, parsed, rx) {
            return outcome;
        }
        if parsed.kind == Kind::TruncatedL4 {
            return Outcome::drop(DropReason::short(parsed.protocol));
        }
        if parsed.tcp_flags & NO_CHUNK != 0 && parsed.protocol == protocol::SCTP {
            return Outcome::drop(DropReason::ShortSctp);
        }
        let opens = parsed.kind == Kind::Flow && self.may_open(parsed);
        let Some(service) = opens.then(|| self.service_of(&key, parsed, rx)).flatten() else {
            self.trace_not_scheduled(parsed);
            return Decision::ToKernel.into();
        };
        if self.drops_at_random(&key) {
            return Outcome::drop(DropReason::Defence);
        }
        let new_flow = NewFlow { key, service, quoted: false };
        match self.open_for_packet(frame, parsed, &new_flow, now) {
            Ok(id) => self.first_packet(frame, parsed, id, now),
            Err(outcome) => outcome,
        }
    }

    /// Makes the connection that a packet opens.
    ///
    /// # Errors
    /// The packet's outcome when it opens none.
    pub(crate) fn open_for_packet(
        &mut self,
        frame: &[u8],
        parsed: &Parsed,
        new_flow: &NewFlow,
        now: Tick,
    ) -> Result<ConnId, Outcome> {
        match self.choose(frame, parsed, new_flow, now) {
            Choice::Take(chosen) => {
                self.open(&new_flow.key, &chosen, now).ok_or(Outcome::drop(DropReason::TableFull))
            }
            Choice::Leave => Err(self.leave(frame, parsed, new_flow, now)),
            Choice::NotOurs => Err(Decision::ToKernel.into()),
            Choice::Drop(why) => Err(Outcome::drop(why)),
        }
    }

    /// Returns whether no packet can have this source. The kernel handles such packets.
    fn is_martian(&self, key: &Key) -> bool {
        let IpAddr::V4(from) = key.src_address() else { return false };
        from.is_loopback()
            || from.is_multicast()
            || from.is_broadcast()
            || from.octets()[0] == 0
            || self.snapshot.network.is_local(from.into(), Policy::default())
    }

    /// The service of a packet, if its destination address is local.
    fn service_of(&self, key: &Key, parsed: &Parsed, rx: &RxContext) -> Option<ServiceId> {
        let (local, fwmark) = self.is_for_us(key, parsed, rx.port);
        let found = local.then(|| self.snapshot.services.lookup(key.dst(), key.protocol(), fwmark)).flatten();
        event!(self, ServiceLookup, |_| Record::of(key, [fwmark, found.is_some().into(), 0, 0]));
        found
    }

    /// Returns whether a packet's destination address is local, and its firewall mark.
    pub(crate) fn is_for_us(&self, key: &Key, parsed: &Parsed, port: u16) -> (bool, u32) {
        let fwmark = self.fwmark(key, parsed, port);
        let policy = Policy { from: Some(key.src_address()), fwmark };
        (self.snapshot.network.is_local(key.dst_address(), policy), fwmark)
    }

    /// The firewall mark that rules set on a packet with this key.
    pub(crate) fn fwmark(&self, key: &Key, parsed: &Parsed, port: u16) -> u32 {
        let ingress = Ingress { port, vlan: parsed.vlan, protocol: parsed.protocol };
        fwmarks::fwmark(&self.snapshot.fwmarks, key, ingress)
    }

    /// Returns whether a packet may open a connection. The parser shows SCTP's INIT and ABORT as TCP's SYN and RST.
    fn may_open(&self, parsed: &Parsed) -> bool {
        let settings = &self.snapshot.settings;
        let sloppy = match parsed.protocol {
            protocol::TCP => settings.sloppy_tcp,
            protocol::SCTP => settings.sloppy_sctp,
            _ => return true,
        };
        (sloppy || parsed.tcp_flags & SYN != 0) && parsed.tcp_flags & RST == 0
    }

    /// Chooses a destination for a new connection; spec 4.3 and 4.4.
    fn choose(&mut self, frame: &[u8], parsed: &Parsed, new_flow: &NewFlow, now: Tick) -> Choice {
        let key = new_flow.key;
        if key.ports().src() == FTP_DATA {
            return Choice::NotOurs;
        }
        let Some(service) = self.snapshot.services.service(new_flow.service) else { return Choice::Leave };
        if service.persistence.is_some() {
            return self.choose_persistent(frame, parsed, new_flow, now);
        }
        let dst_port = key.ports().dst();
        if matches!(service.key, ServiceKey::Address(endpoint, _) if endpoint.l4_port != dst_port) {
            return Choice::Leave;
        }
        let ops = service.ops && key.protocol() == protocol::UDP;
        let Some(id) = self.pick(new_flow, now) else { return Choice::Leave };
        let Some(destination) = self.snapshot.services.destination(id) else { return Choice::Leave };
        let l4_port = match destination.endpoint.l4_port {
            0 => dst_port,
            own => own,
        };
        let mut flags = Flags::of(destination.method);
        flags.set(Flags::OPS, ops);
        let endpoint = Endpoint { l4_port, ..destination.endpoint };
        Choice::Take(Chosen { destination: Some(id), endpoint, flags, template: None })
    }

    /// The choice of the service's scheduler.
    pub(crate) fn pick(&mut self, new_flow: &NewFlow, now: Tick) -> Option<DestinationId> {
        let NewFlow { key, service, quoted } = *new_flow;
        if !self.config_events.is_done() {
            self.apply_events_of_service(service);
        }
        let services = &self.snapshot.services;
        let configured = services.service(service)?;
        let scheduler = configured.scheduler as u32;
        event!(self, Scheduling, scheduler, |_| Record::new([0, 0, 0, scheduler]));
        let state = self.scheduler_states.get_mut(service.0 as usize)?;
        let chosen = state.pick(&PickContext {
            service: configured,
            services,
            loads: &crate::pipeline::LoadView { stats: &self.stats, quotas: &self.shared.quotas },
            client: key.src(),
            // Like Linux, for a quoted packet this is its receiver: the client.
            virtual_address: if quoted { key.src_address() } else { key.dst_address() },
            settings: &self.snapshot.settings,
            now,
        });
        match chosen {
            Some(id) => {
                event!(self, Chosen, scheduler, |pipeline| pipeline.choice_record(id, scheduler));
            }
            None => {
                event!(self, NoneAvailable, scheduler, |pipeline| pipeline
                    .service_record(service, [0, 0, 0, scheduler]));
            }
        }
        chosen
    }

    /// Makes a connection, evicting another if the table is full. `None` if there is none to evict.
    pub(crate) fn open(&mut self, key: &Key, chosen: &Chosen, now: Tick) -> Option<ConnId> {
        let client = key.src();
        let mixed = chosen.endpoint.address.is_ipv4() != client.address.is_ipv4();
        let at = if mixed { unspecified_like(client, chosen.endpoint.l4_port) } else { chosen.endpoint };
        let new = NewConnection {
            endpoints: Endpoints { client, virtual_: key.dst(), destination: at },
            protocol: key.protocol(),
            destination: chosen.destination.map_or(u32::MAX, |id| id.0),
            flags: chosen.flags,
            template: chosen.template,
            timeout: INITIAL_TIMEOUT,
        };
        let id = match self.conns.insert(&new, now) {
            Some(id) => id,
            None => {
                self.evict_one(key);
                let made = self.conns.insert(&new, now);
                if let (None, Some(template)) = (made, chosen.template) {
                    self.release_template(template, false);
                }
                if made.is_none() {
                    event!(self, TableFull, |_| Record::of(key, [0; 4]));
                }
                made?
            }
        };
        self.maintenance.opened += 1;
        if let Some(destination_id) = chosen.destination {
            self.apply_events_of_destination(destination_id);
            if let Some(counters) = self.stats.destinations.get(destination_id.0 as usize) {
                counters.connections.add(1);
                counters.count(false, 1);
            }
            if let Some(destination) = self.snapshot.services.destination(destination_id) {
                self.shared.quotas.bind(destination_id, destination);
            }
            event!(self, Bound, |pipeline| pipeline.connection_record(id));
        }
        event!(self, Scheduled, |pipeline| pipeline.connection_record(id));
        Some(id)
    }

    /// Evicts a half-open or closing connection; never an established one.
    fn evict_one(&mut self, key: &Key) {
        if let Some(victim) = self.conns.find_evictable(key, EVICTION_SEARCH, is_evictable) {
            event!(self, Evicted, |pipeline| pipeline.connection_record(victim));
            self.remove_connection(victim, false);
            self.stats.counters.evicted.add(1);
        }
    }

    /// Forwards a connection's first packet.
    pub(crate) fn first_packet(&mut self, frame: &[u8], parsed: &Parsed, id: ConnId, now: Tick) -> Outcome {
        let outcome = self.forward_to_destination(frame, parsed, id, now);
        if self.conns.entry(id).flags.has(Flags::OPS)
            && let Some(handle) = self.conns.template(id)
        {
            self.shared.templates.count_packet(handle);
        }
        outcome
    }

    /// A packet that comes from a server though no connection expects it: a reply that its method sends past us, a call
    /// of the server's own, or a reply of a connection that has ended.
    fn reply_without_connection(&mut self, frame: &[u8], parsed: &Parsed, rx: &RxContext) -> Option<Outcome> {
        let (key, services) = (parsed.key, &self.snapshot.services);
        if services.addresses.contains(&key.src_address())
            && self.direct_reply_connection(&key.reversed()).is_some()
        {
            // We are a router between server and client. The reply is counted when the kernel sends it on.
            return Some(Decision::ToKernel.into());
        }
        if let Some(server_call) = self.server_call(parsed)
            && let Some(outcome) = self.open_server_call(frame, parsed, server_call, rx)
        {
            return Some(outcome);
        }
        let (key, services) = (parsed.key, &self.snapshot.services);
        let answers = self.snapshot.settings.nat_icmp_send && parsed.kind == Kind::Flow;
        let known = || services.nat_sources.get(&(key.src(), key.protocol())) == Some(&true);
        if answers && parsed.tcp_flags & RST == 0 && known() {
            // A router has decremented the TTL by the time it finds no connection, and quotes the packet as it is then.
            let transit = Transit { decrement_ttl: true, record_route: false };
            return Some(Decision::SendIcmp(Message::new(IcmpReason::NoConnection), transit).into());
        }
        None
    }
}

fn unspecified_like(client: Endpoint, l4_port: u16) -> Endpoint {
    let address = match client.address {
        IpAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
    };
    Endpoint { address, l4_port }
}

/// Returns whether a connection may be evicted for a new one.
fn is_evictable(entry: &Entry) -> bool {
    if entry.flags.has(Flags::OPS) {
        return false;
    }
    match entry.protocol {
        protocol::TCP => tcp::State::from_number(entry.state).is_evictable(),
        protocol::SCTP => sctp::State::from_number(entry.state).is_evictable(),
        // A single datagram without a reply is worth as little as a lone SYN.
        _ => entry.in_packets <= 1 && !entry.flags.has(Flags::REPLIED),
    }
}
