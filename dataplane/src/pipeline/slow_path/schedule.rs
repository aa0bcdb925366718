//! A packet of no known connection: is it a reply after all, is it for a service, which destination gets it.

use std::net::IpAddr;

use crate::config::{Ingress, Policy, fwmarks};
use crate::conn::entry::Endpoints;
use crate::conn::template::Handle;
use crate::conn::{ConnId, Direction, Entry, Flags, NewConnection};
use crate::flow::{Endpoint, Key};
use crate::forward::rewrite;
use crate::icmp::Message;
use crate::packet::Packet;
use crate::parse::{Kind, NO_CHUNK, Parsed};
use crate::pipeline::{Decision, PacketMeta, Pipeline, RxContext};
use crate::proto::{From, sctp, tcp};
use crate::sched::PickContext;
use crate::service::{DestinationId, FTP_DATA, Name, ServiceId};
use crate::time::{Millis, Tick};
use crate::trace::{Record, event};
use crate::verdict::{DropReason, IcmpReason};
use crate::wire::protocol;
use crate::wire::tcp::{RST, SYN};

/// How long a connection lives before its first packet has set its state; spec 4.4.
const INITIAL_TIMEOUT: Millis = Millis::from_secs(3);
/// Entries looked at for one that can be given up when the table is full.
const EVICTION_SEARCH: u32 = 128;

/// A destination for a new connection, and how the connection will reach it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chosen {
    /// Whose it is; of none for a bypass.
    pub destination: Option<DestinationId>,
    /// Its address and the L4 port that packets get.
    pub endpoint: Endpoint,
    /// Method and other switches.
    pub flags: Flags,
    /// The template that decided.
    pub template: Option<Handle>,
}

/// What scheduling came to.
pub(crate) enum Choice {
    /// A destination.
    Take(Chosen),
    /// The service has none to give; spec 4.4 "leave".
    Leave,
    /// The packet is not one to schedule.
    NotOurs,
    /// It cannot be scheduled.
    Drop(DropReason),
}

/// A packet that may open a connection: what clients address, and what the packet is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewFlow {
    /// From client to virtual address.
    pub key: Key,
    /// The service it is for.
    pub service: ServiceId,
    /// It is an ICMP error about a packet that was never seen.
    pub quoted: bool,
}

impl Pipeline {
    /// Decides about a packet that no connection claims.
    #[cold]
    pub(crate) fn schedule<P: Packet>(
        &mut self,
        packet: &mut P,
        meta: &PacketMeta,
        rx: &RxContext,
    ) -> Decision {
        let (parsed, now) = (&meta.parsed, rx.now);
        let key = parsed.key;
        if self.snapshot.settings.is_off(parsed.protocol) || self.is_martian(&key) {
            return Decision::ToKernel;
        }
        if let Some(decision) = self.reply(packet, parsed, rx) {
            return decision;
        }
        if parsed.kind == Kind::TruncatedL4 {
            return Decision::Drop(DropReason::short(parsed.protocol));
        }
        if parsed.tcp_flags & NO_CHUNK != 0 && parsed.protocol == protocol::SCTP {
            return Decision::Drop(DropReason::ShortSctp);
        }
        let opens = parsed.kind == Kind::Flow && self.may_open(parsed);
        let Some(service) = opens.then(|| self.service_of(&key, parsed, rx)).flatten() else {
            self.trace_not_scheduled(parsed);
            return Decision::ToKernel;
        };
        if self.drops_at_random(&key) {
            return Decision::Drop(DropReason::Defence);
        }
        let opening = NewFlow { key, service, quoted: false };
        match self.open_for_packet(packet, parsed, &opening, now) {
            Ok(id) => self.forward_first_packet(packet, parsed, id, now),
            Err(decision) => decision,
        }
    }

    /// Makes the connection that a packet opens.
    ///
    /// # Errors
    /// The packet's fate when there is none for it.
    pub(crate) fn open_for_packet<P: Packet>(
        &mut self,
        packet: &mut P,
        parsed: &Parsed,
        opening: &NewFlow,
        now: Tick,
    ) -> Result<ConnId, Decision> {
        match self.choose(packet.bytes(), parsed, opening, now) {
            Choice::Take(chosen) => {
                self.open(&opening.key, &chosen, now).ok_or(Decision::Drop(DropReason::TableFull))
            }
            Choice::Leave => Err(self.leave(packet, parsed, opening, now)),
            Choice::NotOurs => Err(Decision::ToKernel),
            Choice::Drop(why) => Err(Decision::Drop(why)),
        }
    }

    /// Whether no packet can come from where this one says it does; the kernel knows what to do with those.
    fn is_martian(&self, key: &Key) -> bool {
        let IpAddr::V4(from) = key.src_address() else { return false };
        from.is_loopback()
            || from.is_multicast()
            || from.is_broadcast()
            || from.octets()[0] == 0
            || self.snapshot.network.is_local(from.into(), Policy::default())
    }

    /// The service a packet is for, if it is for this machine at all.
    fn service_of(&self, key: &Key, parsed: &Parsed, rx: &RxContext) -> Option<ServiceId> {
        let (local, fwmark) = self.is_for_us(key, parsed, rx.port);
        let found = local.then(|| self.snapshot.services.lookup(key.dst(), key.protocol(), fwmark)).flatten();
        event!(self, ServiceLookup, |_| Record::of(key, [fwmark, found.is_some().into(), 0, 0]));
        found
    }

    /// Whether a packet is for this machine, and the mark that rules give it.
    pub(crate) fn is_for_us(&self, key: &Key, parsed: &Parsed, port: u16) -> (bool, u32) {
        let fwmark = self.fwmark(key, parsed, port);
        let policy = Policy { from: Some(key.src_address()), fwmark };
        (self.snapshot.network.is_local(key.dst_address(), policy), fwmark)
    }

    /// The mark that rules give a packet with this key.
    pub(crate) fn fwmark(&self, key: &Key, parsed: &Parsed, port: u16) -> u32 {
        let ingress = Ingress { port, vlan: parsed.vlan, protocol: parsed.protocol };
        fwmarks::fwmark(&self.snapshot.fwmarks, key, ingress)
    }

    /// TCP's SYN and RST; SCTP's INIT and ABORT show as the same.
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
    fn choose(&mut self, frame: &[u8], parsed: &Parsed, opening: &NewFlow, now: Tick) -> Choice {
        let key = opening.key;
        if key.ports().src() == FTP_DATA {
            return Choice::NotOurs;
        }
        let Some(service) = self.snapshot.services.service(opening.service) else { return Choice::Leave };
        if service.persistence.is_some() {
            return self.choose_persistent(frame, parsed, opening, now);
        }
        let asked = key.ports().dst();
        if matches!(service.name, Name::Address(endpoint, _) if endpoint.l4_port != asked) {
            return Choice::Leave;
        }
        let ops = service.ops && key.protocol() == protocol::UDP;
        let Some(id) = self.pick(opening, now) else { return Choice::Leave };
        let Some(destination) = self.snapshot.services.destination(id) else { return Choice::Leave };
        let l4_port = match destination.endpoint.l4_port {
            0 => asked,
            own => own,
        };
        let mut flags = Flags::of(destination.method);
        flags.set(Flags::OPS, ops);
        let endpoint = Endpoint { l4_port, ..destination.endpoint };
        Choice::Take(Chosen { destination: Some(id), endpoint, flags, template: None })
    }

    /// Asks the service's scheduler.
    pub(crate) fn pick(&mut self, opening: &NewFlow, now: Tick) -> Option<DestinationId> {
        let NewFlow { key, service, quoted } = *opening;
        if !self.config_events.is_over() {
            self.apply_events_of_service(service);
        }
        let services = &self.snapshot.services;
        let asked = services.service(service)?;
        let scheduler = asked.scheduler as u32;
        event!(self, Scheduling, scheduler, |_| Record::new([0, 0, 0, scheduler]));
        let state = self.scheduler_states.get_mut(service.0 as usize)?;
        let chosen = state.pick(&PickContext {
            service: asked,
            services,
            loads: &crate::pipeline::LoadView { stats: &self.stats, quotas: &self.shared.quotas },
            client: key.src(),
            // Of a quoted packet it is the receiver as it stands there: the client.
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

    /// Makes a connection, giving up a lesser one if there is no room. `None` when there is none to give up.
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
        self.opened += 1;
        if let Some(of) = chosen.destination {
            self.apply_events_of_destination(of);
            if let Some(counters) = self.stats.destinations.get(of.0 as usize) {
                counters.connections.add(1);
                counters.count(false, 1);
            }
            if let Some(destination) = self.snapshot.services.destination(of) {
                self.shared.quotas.bind(of, destination);
            }
            event!(self, Bound, |pipeline| pipeline.connection_record(id));
        }
        event!(self, Scheduled, |pipeline| pipeline.connection_record(id));
        Some(id)
    }

    /// Makes room: half-open and closing connections go first, established ones never.
    fn evict_one(&mut self, key: &Key) {
        if let Some(victim) = self.conns.find_evictable(key, EVICTION_SEARCH, may_go) {
            event!(self, GivenUp, |pipeline| pipeline.connection_record(victim));
            self.remove(victim, false);
            self.stats.counters.evicted.add(1);
        }
    }

    /// Carries a connection's first packet, which for some is the last.
    pub(crate) fn forward_first_packet<P: Packet>(
        &mut self,
        packet: &mut P,
        parsed: &Parsed,
        id: ConnId,
        now: Tick,
    ) -> Decision {
        let decision = self.serve(packet, parsed, id, now);
        if self.conns.entry(id).flags.has(Flags::OPS) {
            if let Some(handle) = self.conns.template(id) {
                self.shared.templates.count_packet(handle);
            }
            self.end_after_packet(id, Direction::In);
        }
        decision
    }

    /// The packet in hand is the only one of its connection, which ends with it.
    pub(crate) fn end_after_packet(&mut self, id: ConnId, direction: Direction) {
        self.last_ops = Some((id, direction));
        if !self.in_datagram {
            self.end_ops();
        }
    }

    /// Forgets the connection that served one packet.
    pub(crate) fn end_ops(&mut self) {
        if let Some((id, _)) = self.last_ops.take() {
            self.remove(id, false);
        }
    }

    /// A packet that comes from a server: a reply that its method sends past us, a request of the server's own, or a
    /// reply of a forgotten connection.
    fn reply<P: Packet>(&mut self, packet: &mut P, parsed: &Parsed, rx: &RxContext) -> Option<Decision> {
        let (key, services) = (parsed.key, &self.snapshot.services);
        if services.addresses.contains(&key.src_address())
            && self.direct_reply_connection(&key.reversed()).is_some()
        {
            // A router between server and client that happens to be us. It is counted when the kernel sends it on.
            return Some(Decision::ToKernel);
        }
        if let Some(server_call) = self.server_call(parsed)
            && let Some(decision) = self.open_server_call(packet, parsed, server_call, rx)
        {
            return Some(decision);
        }
        let (key, services) = (parsed.key, &self.snapshot.services);
        let answers = self.snapshot.settings.nat_icmp_send && parsed.kind == Kind::Flow;
        let known = || services.nat_sources.get(&(key.src(), key.protocol())) == Some(&true);
        if answers && parsed.tcp_flags & RST == 0 && known() {
            // A router has taken the hop off by the time it finds no connection, and quotes what it has.
            let ipv6 = matches!(key, Key::V6(_));
            rewrite::take_hop(packet.bytes_mut(), parsed.l3, ipv6);
            return Some(Decision::SendIcmp(Message::new(IcmpReason::NoConnection)));
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

/// Whether a connection may be given up for a new one.
fn may_go(entry: &Entry) -> bool {
    if entry.flags.has(Flags::OPS) {
        return false;
    }
    match entry.protocol {
        protocol::TCP => tcp::State::from_number(entry.state).may_go(),
        protocol::SCTP => sctp::State::from_number(entry.state).may_go(),
        // One datagram and no answer is as little as a lone SYN.
        _ => entry.in_packets <= 1 && !entry.flags.has(Flags::REPLIED),
    }
}

/// Whether a connection in this state was really opened; its template then survives floods. Spec 4.3.
pub(crate) fn assures(protocol: u8, state: u8, from: From) -> bool {
    match protocol {
        protocol::TCP => tcp::State::from_number(state) == tcp::State::Established,
        protocol::SCTP => sctp::State::from_number(state) == sctp::State::Established,
        _ => from == From::Destination,
    }
}
