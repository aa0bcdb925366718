//! Packets whose service has no usable destination (`ip_vs_leave` in Linux); spec 4.4.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::config::Policy;
use crate::conn::Flags;
use crate::flow::Endpoint;
use crate::parse::Parsed;
use crate::pipeline::Pipeline;
use crate::pipeline::outcome::{Decision, Outcome};
use crate::pipeline::slow_path::schedule::{Chosen, NewFlow};
use crate::service::Name;
use crate::time::Tick;
use crate::trace::{Record, event};
use crate::verdict::{DropReason, IcmpReason};
use crate::wire::protocol;

/// Port of FTP's control connection.
const FTP: u16 = 21;

impl Pipeline {
    /// Decides about a packet that would open a connection but gets no destination.
    pub(crate) fn leave(&mut self, frame: &[u8], parsed: &Parsed, opening: &NewFlow, now: Tick) -> Outcome {
        let Some(service) = self.snapshot.services.service(opening.service) else {
            return Decision::ToKernel.into();
        };
        let (name, ops) = (service.name, service.ops);
        event!(self, NoDestination, |_| Record::of(&opening.key, [0; 4]));
        if matches!(name, Name::Fwmark { .. })
            && !opening.quoted
            && self.may_bypass(opening.key.dst_address())
        {
            return self.bypass(frame, parsed, opening, ops, now);
        }
        if matches!(name, Name::Address(at, _) if at.l4_port == FTP) && opening.key.ports().dst() != FTP {
            return Decision::ToKernel.into();
        }
        if opening.quoted {
            return Outcome::drop(DropReason::NoDestination);
        }
        Decision::icmp(IcmpReason::NoDestination).into()
    }

    fn may_bypass(&self, to: IpAddr) -> bool {
        self.snapshot.settings.cache_bypass
            && is_unicast(to)
            && !self.snapshot.network.is_local(to, Policy::default())
    }

    /// Opens a bypass connection: packets go to the address that they carry.
    fn bypass(&mut self, frame: &[u8], parsed: &Parsed, opening: &NewFlow, ops: bool, now: Tick) -> Outcome {
        let address = match opening.key.dst_address() {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        let mut flags = Flags::BYPASS.with(Flags::NO_OUTPUT);
        flags.set(Flags::OPS, ops && opening.key.protocol() == protocol::UDP);
        let endpoint = Endpoint { address, l4_port: 0 };
        let chosen = Chosen { destination: None, endpoint, flags, template: None };
        match self.open(&opening.key, &chosen, now) {
            Some(id) => self.first_packet(frame, parsed, id, now),
            None => Outcome::drop(DropReason::TableFull),
        }
    }
}

/// Returns whether an address is unicast.
pub(crate) fn is_unicast(to: IpAddr) -> bool {
    match to {
        IpAddr::V4(to) => !to.is_multicast() && !to.is_broadcast() && !to.is_unspecified(),
        IpAddr::V6(to) => !to.is_multicast() && !to.is_unspecified(),
    }
}
