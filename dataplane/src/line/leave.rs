//! A service that has no destination to give: what becomes of the packet; spec 4.4.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::admit::{Chosen, Opening};
use super::{Fate, Line};
use crate::config::Policy;
use crate::conn::Flags;
use crate::flow::Endpoint;
use crate::icmp::Message;
use crate::packet::Packet;
use crate::parse::Parsed;
use crate::service::Name;
use crate::time::Tick;
use crate::trace::{Record, event};
use crate::verdict::{Answer, DropReason};
use crate::wire::protocol;

/// The port of FTP's control connection.
const FTP: u16 = 21;

impl Line {
    /// Decides about a packet that would open a connection but gets no destination.
    pub(super) fn leave<P: Packet>(
        &mut self,
        packet: &mut P,
        parsed: &Parsed,
        opening: &Opening,
        now: Tick,
    ) -> Fate {
        let Some(service) = self.snapshot.services.service(opening.service) else { return Fate::ToKernel };
        let (name, one_packet) = (service.name, service.one_packet);
        event!(self, NoDestination, |_| Record::of(&opening.key, [0; 4]));
        if matches!(name, Name::Mark { .. }) && !opening.quoted && self.may_bypass(opening.key.dst_address())
        {
            return self.bypass(packet, parsed, opening, one_packet, now);
        }
        if matches!(name, Name::Address(at, _) if at.l4_port == FTP) && opening.key.ports().dst() != FTP {
            return Fate::ToKernel;
        }
        if opening.quoted {
            return Fate::Drop(DropReason::NoDestination);
        }
        Fate::Answer(Message::new(Answer::NoDestination))
    }

    fn may_bypass(&self, to: IpAddr) -> bool {
        self.snapshot.settings.cache_bypass
            && is_unicast(to)
            && !self.snapshot.network.is_local(to, Policy::default())
    }

    /// Lets the flow through to where it was addressed.
    fn bypass<P: Packet>(
        &mut self,
        packet: &mut P,
        parsed: &Parsed,
        opening: &Opening,
        one_packet: bool,
        now: Tick,
    ) -> Fate {
        let address = match opening.key.dst_address() {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        let mut flags = Flags::BYPASS.with(Flags::NO_OUTPUT);
        flags.set(Flags::ONE_PACKET, one_packet && opening.key.protocol() == protocol::UDP);
        let endpoint = Endpoint { address, l4_port: 0 };
        let chosen = Chosen { destination: None, endpoint, flags, template: None };
        match self.open(&opening.key, &chosen, now) {
            Some(id) => self.serve_first(packet, parsed, id, now),
            None => Fate::Drop(DropReason::TableFull),
        }
    }
}

/// Whether one host has this address.
pub(super) fn is_unicast(to: IpAddr) -> bool {
    match to {
        IpAddr::V4(to) => !to.is_multicast() && !to.is_broadcast() && !to.is_unspecified(),
        IpAddr::V6(to) => !to.is_multicast() && !to.is_unspecified(),
    }
}
