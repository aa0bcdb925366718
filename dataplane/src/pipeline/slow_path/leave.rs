//! Packets whose service has no usable destination (`ip_vs_leave` in Linux); spec 4.4.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::config::Policy;
use crate::conn::Flags;
use crate::flow::Endpoint;
use crate::parse::Parsed;
use crate::pipeline::Pipeline;
use crate::pipeline::outcome::{Decision, Outcome};
use crate::pipeline::slow_path::schedule::{Chosen, NewFlow};
use crate::service::{FTP, ServiceKey};
use crate::time::Tick;
use crate::trace::{Record, event};
use crate::verdict::{DropReason, IcmpReason};
use crate::wire::protocol;

impl Pipeline {
    /// Decides about a packet that would open a connection but gets no destination.
    pub(crate) fn leave(&mut self, frame: &[u8], parsed: &Parsed, new_flow: &NewFlow, now: Tick) -> Outcome {
        let Some(service) = self.snapshot.services.service(new_flow.service) else {
            return Decision::ToKernel.into();
        };
        let (key, ops) = (service.key, service.ops);
        event!(self, NoDestination, |_| Record::of(&new_flow.key, [0; 4]));
        if matches!(key, ServiceKey::Fwmark { .. })
            && !new_flow.quoted
            && self.may_bypass(new_flow.key.dst_address())
        {
            return self.bypass(frame, parsed, new_flow, ops, now);
        }
        if matches!(key, ServiceKey::Address(at, _) if at.l4_port == FTP) && new_flow.key.ports().dst() != FTP
        {
            return Decision::ToKernel.into();
        }
        if new_flow.quoted {
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
    fn bypass(&mut self, frame: &[u8], parsed: &Parsed, new_flow: &NewFlow, ops: bool, now: Tick) -> Outcome {
        let address = match new_flow.key.dst_address() {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        let mut flags = Flags::BYPASS.with(Flags::NO_OUTPUT);
        flags.set(Flags::OPS, ops && new_flow.key.protocol() == protocol::UDP);
        let endpoint = Endpoint { address, l4_port: 0 };
        let chosen = Chosen { destination: None, endpoint, flags, template: None };
        match self.open(&new_flow.key, &chosen, now) {
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
