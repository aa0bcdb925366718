//! A packet of no known connection: is it for a service, which destination gets it, and the new connection.

use super::{Fate, Line, Work};
use crate::conn::entry::Endpoints;
use crate::conn::{ConnId, Direction, Entry, Flags, NewConnection};
use crate::flow::{Endpoint, Key};
use crate::forward::rewrite;
use crate::icmp::Message;
use crate::packet::Packet;
use crate::parse::Parsed;
use crate::proto::tcp;
use crate::sched::Scene;
use crate::service::{DestinationId, ServiceId};
use crate::time::{Millis, Tick};
use crate::verdict::{Answer, DropReason};
use crate::wire::protocol;
use crate::wire::tcp::{RST, SYN};

/// How long a connection lives before its first packet has set its state; spec 4.4.
const NEWBORN: Millis = Millis::from_secs(3);
/// Entries looked at for one that can be given up when the table is full.
const VICTIM_REACH: u32 = 128;
/// Active FTP connects from this port to the client; it never opens a connection to a service. Spec 4.4.
const FTP_DATA: u16 = 20;

impl Line {
    /// Decides about a packet that no connection claims.
    #[cold]
    pub(super) fn admit<P: Packet>(&mut self, packet: &mut P, work: &Work, now: Tick) -> Fate {
        let parsed = &work.parsed;
        let key = parsed.key;
        let Some(service) = self.snapshot.services.lookup(key.dst(), key.protocol(), 0) else {
            return self.unclaimed(packet, parsed, now);
        };
        if !self.may_open(parsed) {
            return Fate::ToKernel;
        }
        let Some(destination) = self.pick(service, &key, now) else {
            return Fate::Answer(Message::new(Answer::NoDestination));
        };
        match self.open(&key, destination, now) {
            Some(id) => self.serve(packet, parsed, id, now),
            None => Fate::Drop(DropReason::TableFull),
        }
    }

    fn may_open(&self, parsed: &Parsed) -> bool {
        let starts = parsed.tcp_flags & SYN != 0 || self.snapshot.settings.sloppy_tcp;
        let tcp_opens = starts && parsed.tcp_flags & RST == 0;
        (parsed.key.protocol() != protocol::TCP || tcp_opens) && parsed.key.ports().src() != FTP_DATA
    }

    fn pick(&mut self, service: ServiceId, key: &Key, now: Tick) -> Option<DestinationId> {
        let services = &self.snapshot.services;
        let memory = self.memories.get_mut(service.0 as usize)?;
        memory.pick(&Scene {
            service: services.service(service)?,
            services,
            loads: &*self.board,
            client: key.src(),
            virtual_address: key.dst_address(),
            settings: &self.snapshot.settings,
            now,
        })
    }

    /// Makes a connection, giving up a lesser one if there is no room. `None` when there is none to give up.
    fn open(&mut self, key: &Key, destination: DestinationId, now: Tick) -> Option<ConnId> {
        let configured = self.snapshot.services.destination(destination)?;
        let client = key.src();
        let mixed = configured.endpoint.address.is_ipv4() != client.address.is_ipv4();
        let l4_port = configured.endpoint.l4_port;
        let at = if mixed { unspecified_like(client, l4_port) } else { configured.endpoint };
        let new = NewConnection {
            endpoints: Endpoints { client, virtual_: key.dst(), destination: at },
            protocol: key.protocol(),
            destination: destination.0,
            method: configured.method,
            timeout: NEWBORN,
        };
        let id = match self.conns.insert(&new, now) {
            Some(id) => id,
            None => {
                self.give_up_one(key)?;
                self.conns.insert(&new, now)?
            }
        };
        if let Some(counters) = self.board.destinations.get(destination.0 as usize) {
            counters.connections.add(1);
            counters.count(false, 1);
        }
        Some(id)
    }

    /// Makes room: half-open and closing connections go first, established ones never.
    fn give_up_one(&mut self, key: &Key) -> Option<()> {
        let victim = self.conns.find_victim(key, VICTIM_REACH, may_go)?;
        self.forget(victim);
        self.board.gauges.given_up.add(1);
        Some(())
    }

    /// A packet to no service: perhaps a reply that its method sends past us, perhaps one of a forgotten connection.
    fn unclaimed<P: Packet>(&mut self, packet: &mut P, parsed: &Parsed, now: Tick) -> Fate {
        let (key, services) = (parsed.key, &self.snapshot.services);
        if services.lookup(key.src(), key.protocol(), 0).is_some() {
            let reversed = key.reversed();
            let found = self.conns.find(self.conns.hash(&reversed), &reversed);
            if let Some((id, Direction::In)) = found
                && !self.conns.entry(id).flags.has(Flags::NAT)
            {
                // A router between server and client that happens to be us: count, advance, and let the kernel route.
                self.count_out(id, parsed.len);
                self.advance(parsed, id, tcp::From::Destination, now);
            }
            return Fate::ToKernel;
        }
        let resets = parsed.tcp_flags & RST != 0;
        let known = services.nat_sources.contains(&(key.src(), key.protocol()));
        if self.snapshot.settings.nat_icmp_send && known && !resets {
            // A router has taken the hop off by the time it finds no connection, and quotes what it has.
            let ipv6 = matches!(key, Key::V6(_));
            rewrite::take_hop(packet.bytes_mut(), parsed.l3, ipv6);
            return Fate::Answer(Message::new(Answer::NoConnection));
        }
        Fate::ToKernel
    }
}

fn unspecified_like(client: Endpoint, l4_port: u16) -> Endpoint {
    let address = match client.address {
        std::net::IpAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
        std::net::IpAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
    };
    Endpoint { address, l4_port }
}

/// Whether a connection may be given up for a new one.
fn may_go(entry: &Entry) -> bool {
    match entry.protocol {
        protocol::TCP => tcp::State::from_number(entry.state).may_go(),
        // One datagram and no answer is as little as a lone SYN.
        _ => entry.in_packets <= 1 && entry.flags.has(Flags::NO_OUTPUT),
    }
}
