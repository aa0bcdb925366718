//! Connections that servers open: a request of a NAT destination leaves with the virtual address as its source, so that
//! the answer, and the rest of the call, find their way to the destination; spec 9.3.

use crate::config::NextHop;
use crate::conn::entry::Endpoints;
use crate::conn::{ConnId, Direction, Flags};
use crate::flow::Key;
use crate::forward::rewrite;
use crate::icmp::Message;
use crate::packet::Packet;
use crate::parse::{Kind, Parsed};
use crate::pipeline::slow_path::leave::is_unicast;
use crate::pipeline::{Decision, Pipeline, RxContext};
use crate::proto::From;
use crate::service::{DestinationId, Name};
use crate::time::Tick;
use crate::verdict::{DropReason, IcmpReason};
use crate::wire::protocol;

use crate::pipeline::slow_path::schedule::Chosen;

/// A destination that sends a request of its own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ServerCall {
    /// Which.
    id: DestinationId,
    /// The ends that its connection will have.
    ends: Endpoints,
    /// It opens connections of one packet.
    ops: bool,
}

impl Pipeline {
    /// The destination that a packet, which no connection claims, may be a request of.
    #[inline]
    pub(crate) fn server_call(&self, parsed: &Parsed) -> Option<ServerCall> {
        // Nearly always there are none, and that is all that a packet pays.
        if self.snapshot.services.call_openers.is_empty() || parsed.protocol != protocol::UDP {
            return None;
        }
        self.find_server_call(parsed)
    }

    #[cold]
    fn find_server_call(&self, parsed: &Parsed) -> Option<ServerCall> {
        let (key, services) = (&parsed.key, &self.snapshot.services);
        let id = *services.call_openers.get(&key.src())?;
        let service = services.service(services.destination(id)?.service)?;
        let Name::Address(virtual_, _) = service.name else { return None };
        let ends = Endpoints { client: key.dst(), virtual_, destination: key.src() };
        let goes = parsed.kind == Kind::Flow && ends.client.l4_port != 0 && is_unicast(ends.client.address);
        goes.then_some(ServerCall { id, ends, ops: service.ops })
    }

    /// Opens the connection of a server's request and sends the request on. `None` when it opens none: then it is a
    /// packet like others.
    #[cold]
    pub(crate) fn open_server_call<P: Packet>(
        &mut self,
        packet: &mut P,
        parsed: &Parsed,
        server_call: ServerCall,
        rx: &RxContext,
    ) -> Option<Decision> {
        let way = self.return_route(&server_call.ends);
        if self.is_for_us(&parsed.key, parsed, rx.port).0
            || matches!(way.next, NextHop::Local | NextHop::None)
        {
            return None;
        }
        // A router looks at hops and size before the balancer sees the packet.
        if rewrite::hops_left(packet.bytes(), parsed) <= 1 {
            return Some(Decision::SendIcmp(Message::new(IcmpReason::TtlExceeded)));
        }
        if let Some(decision) = crate::pipeline::egress::route::too_big(packet.bytes(), parsed, way.mtu) {
            return Some(decision);
        }
        let id = match self.open_for_server_call(packet.bytes(), parsed, server_call, rx.now)? {
            Ok(id) => id,
            Err(why) => return Some(Decision::Drop(why)),
        };
        let decision = self.from_server(packet, parsed, id, rx.now);
        if server_call.ops {
            self.end_after_packet(id, Direction::Out);
        }
        Some(decision)
    }

    /// The same of a destination on this machine, whose packets the kernel has routed already: gives the connection to
    /// translate by, which is over then if it served one packet.
    ///
    /// # Errors
    /// Why the packet must not leave.
    pub(crate) fn open_local_server_call(
        &mut self,
        frame: &[u8],
        parsed: &Parsed,
        now: Tick,
    ) -> Result<Option<ConnId>, DropReason> {
        let Some(server_call) =
            self.server_call(parsed).filter(|_| !self.snapshot.settings.is_off(protocol::UDP))
        else {
            return Ok(None);
        };
        let Some(id) = self.open_for_server_call(frame, parsed, server_call, now).transpose()? else {
            return Ok(None);
        };
        self.count_out(id, parsed.len);
        self.advance(frame, parsed, id, From::Destination, now);
        if server_call.ops {
            self.last_ops = Some((id, Direction::Out));
        }
        Ok(Some(id))
    }

    /// Makes the connection, under the template that all of the call share. `None` when the packet does not say which
    /// call it is of.
    fn open_for_server_call(
        &mut self,
        frame: &[u8],
        parsed: &Parsed,
        server_call: ServerCall,
        now: Tick,
    ) -> Option<Result<ConnId, DropReason>> {
        let ServerCall { id, ends, ops } = server_call;
        let flow = Key::between(ends.client, ends.virtual_, protocol::UDP)?;
        let template = match self.template_of_server_call(frame, parsed, (&flow, id), now)? {
            Ok(template) => Some(template),
            Err(why) => return Some(Err(why)),
        };
        let mut flags = Flags::NAT;
        flags.set(Flags::OPS, ops);
        let chosen = Chosen { destination: Some(id), endpoint: ends.destination, flags, template };
        Some(self.open(&flow, &chosen, now).ok_or(DropReason::TableFull))
    }
}
