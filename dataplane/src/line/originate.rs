//! Connections that servers open: a request of a NAT destination leaves with the virtual address as its source, so that
//! the answer, and the rest of the call, find their way to the destination; spec 9.3.

use super::leave::is_unicast;
use super::{Arrival, Fate, Line};
use crate::config::NextHop;
use crate::conn::entry::Endpoints;
use crate::conn::{ConnId, Direction, Flags};
use crate::flow::Key;
use crate::forward::rewrite;
use crate::icmp::Message;
use crate::packet::Packet;
use crate::parse::{Kind, Parsed};
use crate::proto::From;
use crate::service::{DestinationId, Name};
use crate::time::Tick;
use crate::verdict::{Answer, DropReason};
use crate::wire::protocol;

use super::admit::Chosen;

/// A destination that sends a request of its own.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caller {
    /// Which.
    id: DestinationId,
    /// The ends that its connection will have.
    ends: Endpoints,
    /// It opens connections of one packet.
    one_packet: bool,
}

impl Line {
    /// The destination that a packet, which no connection claims, may be a request of.
    #[inline]
    pub(super) fn caller(&self, parsed: &Parsed) -> Option<Caller> {
        // Nearly always there are none, and that is all that a packet pays.
        if self.snapshot.services.callers.is_empty() || parsed.protocol != protocol::UDP {
            return None;
        }
        self.find_caller(parsed)
    }

    #[cold]
    fn find_caller(&self, parsed: &Parsed) -> Option<Caller> {
        let (key, services) = (&parsed.key, &self.snapshot.services);
        let id = *services.callers.get(&key.src())?;
        let service = services.service(services.destination(id)?.service)?;
        let Name::Address(virtual_, _) = service.name else { return None };
        let ends = Endpoints { client: key.dst(), virtual_, destination: key.src() };
        let goes = parsed.kind == Kind::Flow && ends.client.l4_port != 0 && is_unicast(ends.client.address);
        goes.then_some(Caller { id, ends, one_packet: service.one_packet })
    }

    /// Opens the connection of a server's request and sends the request on. `None` when it opens none: then it is a
    /// packet like others.
    #[cold]
    pub(super) fn originate<P: Packet>(
        &mut self,
        packet: &mut P,
        parsed: &Parsed,
        caller: Caller,
        arrival: &Arrival,
    ) -> Option<Fate> {
        let way = self.way_back(&caller.ends);
        if self.is_for_us(&parsed.key, parsed, arrival.port).0
            || matches!(way.next, NextHop::Local | NextHop::None)
        {
            return None;
        }
        // A router looks at hops and size before the balancer sees the packet.
        if rewrite::hops_left(packet.bytes(), parsed) <= 1 {
            return Some(Fate::Answer(Message::new(Answer::TtlExceeded)));
        }
        if let Some(fate) = super::way::too_big(packet.bytes(), parsed, way.mtu) {
            return Some(fate);
        }
        let id = match self.open_for_caller(packet.bytes(), parsed, caller, arrival.now)? {
            Ok(id) => id,
            Err(why) => return Some(Fate::Drop(why)),
        };
        let fate = self.outwards(packet, parsed, id, arrival.now);
        if caller.one_packet {
            self.served_one(id, Direction::Out);
        }
        Some(fate)
    }

    /// The same of a destination on this machine, whose packets the kernel has routed already: gives the connection to
    /// translate by, which is over then if it served one packet.
    ///
    /// # Errors
    /// Why the packet must not leave.
    pub(super) fn originate_here(
        &mut self,
        frame: &[u8],
        parsed: &Parsed,
        now: Tick,
    ) -> Result<Option<ConnId>, DropReason> {
        let Some(caller) = self.caller(parsed).filter(|_| !self.snapshot.settings.is_off(protocol::UDP))
        else {
            return Ok(None);
        };
        let Some(id) = self.open_for_caller(frame, parsed, caller, now).transpose()? else {
            return Ok(None);
        };
        self.count_out(id, parsed.len);
        self.advance(frame, parsed, id, From::Destination, now);
        if caller.one_packet {
            self.last_one_packet = Some((id, Direction::Out));
        }
        Ok(Some(id))
    }

    /// Makes the connection, under the template that all of the call share. `None` when the packet does not say which
    /// call it is of.
    fn open_for_caller(
        &mut self,
        frame: &[u8],
        parsed: &Parsed,
        caller: Caller,
        now: Tick,
    ) -> Option<Result<ConnId, DropReason>> {
        let Caller { id, ends, one_packet } = caller;
        let flow = Key::between(ends.client, ends.virtual_, protocol::UDP)?;
        let template = match self.template_of_caller(frame, parsed, (&flow, id), now)? {
            Ok(template) => Some(template),
            Err(why) => return Some(Err(why)),
        };
        let mut flags = Flags::NAT;
        flags.set(Flags::ONE_PACKET, one_packet);
        let chosen = Chosen { destination: Some(id), endpoint: ends.destination, flags, template };
        Some(self.open(&flow, &chosen, now).ok_or(DropReason::TableFull))
    }
}
