//! Calls that servers open: a SIP request of a NAT destination leaves with the virtual address as its source, so that the
//! answer and the rest of the call reach that destination; spec 9.3.

use crate::config::NextHop;
use crate::conn::entry::Endpoints;
use crate::conn::{ConnId, Direction, Flags};
use crate::flow::Key;
use crate::parse::{Kind, Parsed};
use crate::pipeline::outcome::{Flow, Outcome};
use crate::pipeline::slow_path::leave::is_unicast;
use crate::pipeline::slow_path::schedule::Chosen;
use crate::pipeline::{Pipeline, RxContext};
use crate::service::{DestinationId, ServiceKey};
use crate::time::Tick;
use crate::verdict::DropReason;
use crate::wire::protocol;

/// A destination that opens a call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ServerCall {
    /// The destination.
    id: DestinationId,
    /// Endpoints of the call's connection.
    ends: Endpoints,
    /// Its service uses one-packet scheduling.
    ops: bool,
}

impl Pipeline {
    /// The call that a packet of no connection may begin.
    #[inline]
    pub(crate) fn server_call(&self, parsed: &Parsed) -> Option<ServerCall> {
        // Nearly always there are none, so this is all that a packet pays.
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
        let ServiceKey::Address(virtual_, _) = service.key else { return None };
        let ends = Endpoints { client: key.dst(), virtual_, destination: key.src() };
        let opens = parsed.kind == Kind::Flow && ends.client.l4_port != 0 && is_unicast(ends.client.address);
        opens.then_some(ServerCall { id, ends, ops: service.ops })
    }

    /// Opens the connection of a server's call and decides about the packet that begins it. `None` if it opens none: then
    /// it is a packet like any other.
    #[cold]
    pub(crate) fn open_server_call(
        &mut self,
        frame: &[u8],
        parsed: &Parsed,
        server_call: ServerCall,
        rx: &RxContext,
    ) -> Option<Outcome> {
        let route = self.return_route(&server_call.ends);
        if self.is_for_us(&parsed.key, parsed, rx.port).0
            || matches!(route.next, NextHop::Local | NextHop::None)
        {
            return None;
        }
        if let Some(refused) = self.refusal(frame, parsed, route.mtu) {
            return Some(refused.into());
        }
        let id = match self.open_for_server_call(frame, parsed, server_call, rx.now)? {
            Ok(id) => id,
            Err(why) => return Some(Outcome::drop(why)),
        };
        let outcome = self.decide_from_server(frame, parsed, id, rx.now);
        Some(Outcome { flow: Some(Flow { id, direction: Direction::Out }), ..outcome })
    }

    /// Opens the connection of a call by a destination on this machine, whose packets the kernel has routed already.
    ///
    /// # Errors
    /// Why the packet must not leave.
    pub(crate) fn local_server_call(
        &mut self,
        frame: &[u8],
        parsed: &Parsed,
        now: Tick,
    ) -> Result<Option<ConnId>, DropReason> {
        let enabled = !self.snapshot.settings.is_off(protocol::UDP);
        let Some(server_call) = self.server_call(parsed).filter(|_| enabled) else { return Ok(None) };
        self.open_for_server_call(frame, parsed, server_call, now).transpose()
    }

    /// Makes the connection, under the template of the call. `None` if the packet has no Call-ID.
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
