//! Persistence: a client network's template names the destination; spec 4.3 and 9.3.

use std::net::IpAddr;

use crate::conn::Flags;
use crate::conn::template::{self, Claim, Handle, NewTemplate};
use crate::flow::{Endpoint, Key};
use crate::helper::sip;
use crate::parse::Parsed;
use crate::pipeline::Pipeline;
use crate::pipeline::slow_path::schedule::{Choice, Chosen, NewFlow};
use crate::service::{DestinationId, FTP, Persistence, Service, ServiceKey};
use crate::time::Tick;
use crate::trace::{Record, event};
use crate::verdict::DropReason;
use crate::wire::{protocol, udp};

impl Pipeline {
    /// Chooses the destination of the client's template, or schedules and makes one.
    pub(crate) fn choose_persistent(
        &mut self,
        frame: &[u8],
        parsed: &Parsed,
        new_flow: &NewFlow,
        now: Tick,
    ) -> Choice {
        let Some(service) = self.snapshot.services.service(new_flow.service) else { return Choice::Leave };
        let Some(persistence) = service.persistence else { return Choice::Leave };
        let ops = service.ops && new_flow.key.protocol() == protocol::UDP;
        let of_ftp = service_port(service) == FTP;
        let Some(data) = self.engine_data(frame, parsed, &new_flow.key, &persistence) else {
            return Choice::Drop(DropReason::NoCallId);
        };
        let key = template_key(&new_flow.key, service, &persistence, data);
        let to_own_port = new_flow.key.ports().dst() == service_port(service);
        let known = self.claim_template((&new_flow.key, &key), None, now);
        let hit = [known.is_some().into(), 0, 0, 0];
        let claim = match known {
            Some(claim) => claim,
            None => {
                let Some(id) = self.pick(new_flow, now) else { return Choice::Leave };
                let keeps_port = to_own_port && !of_ftp;
                match self.make_template((&new_flow.key, key), id, &persistence, keeps_port, now) {
                    Some(claim) => claim,
                    None => return Choice::Drop(DropReason::TemplatesFull),
                }
            }
        };
        let (id, template) = (claim.destination, Some(claim.template));
        let Some(destination) = self.snapshot.services.destination(id) else {
            self.release_template(claim.template, false);
            return Choice::Leave;
        };
        let at = destination.endpoint;
        event!(self, Persistent, |_| Record::of(&new_flow.key, hit).with_destination(at));
        let own = destination.endpoint.l4_port;
        let l4_port = if to_own_port && own != 0 { own } else { new_flow.key.ports().dst() };
        let mut flags = Flags::of(destination.method);
        flags.set(Flags::OPS, ops);
        let endpoint = Endpoint { l4_port, ..destination.endpoint };
        Choice::Take(Chosen { destination: Some(id), endpoint, flags, template })
    }

    /// The template of a call that destination `id` opens: the one that sends the client there, or a new one. `None` if the
    /// packet has no Call-ID.
    pub(crate) fn template_of_server_call(
        &self,
        frame: &[u8],
        parsed: &Parsed,
        (flow, id): (&Key, DestinationId),
        now: Tick,
    ) -> Option<Result<Handle, DropReason>> {
        let service = self.snapshot.services.service(self.snapshot.services.destination(id)?.service)?;
        let persistence = service.persistence?;
        let data = self.engine_data(frame, parsed, flow, &persistence)?;
        let key = template_key(flow, service, &persistence, data);
        let claim = self.claim_template((flow, &key), Some(id), now).or_else(|| {
            let keeps_port = service_port(service) != FTP;
            self.make_template((flow, key), id, &persistence, keeps_port, now)
        });
        Some(claim.map(|claim| claim.template).ok_or(DropReason::TemplatesFull))
    }

    /// The data by which the service's persistence engine distinguishes templates. `None` if the packet lacks it.
    fn engine_data(
        &self,
        frame: &[u8],
        parsed: &Parsed,
        flow: &Key,
        persistence: &Persistence,
    ) -> Option<Box<[u8]>> {
        if !persistence.sip {
            return Some(Box::default());
        }
        let call_id = call_id(frame, parsed)?;
        event!(self, CallId, |_| Record::of(flow, [call_id.len() as u32, 0, 0, 0]));
        Some(call_id.into())
    }

    /// Claims an existing template if it can be used; with `only`, if it names that destination.
    fn claim_template(
        &self,
        (flow, key): (&Key, &template::Key),
        only: Option<DestinationId>,
        now: Tick,
    ) -> Option<Claim> {
        let (services, settings) = (&self.snapshot.services, &self.snapshot.settings);
        let usable = |id| {
            only.is_none_or(|only| only == id)
                && services
                    .destination(id)
                    .is_some_and(|d| d.available && !(settings.expire_quiescent_template && d.weight == 0))
        };
        let known = self.shared.templates.claim(key, now, usable);
        event!(self, TemplateLookup, |_| Record::of(flow, [known.is_some().into(), 0, 0, 0]));
        known
    }

    /// Releases a template whose connection ended or was never made.
    pub(crate) fn release_template(&self, template: Handle, forced: bool) {
        if let Some(destination) = self.shared.templates.release_child(template, forced) {
            self.shared.quotas.count_template(destination, false);
        }
    }

    fn make_template(
        &self,
        (flow, key): (&Key, template::Key),
        id: DestinationId,
        persistence: &Persistence,
        keeps_port: bool,
        now: Tick,
    ) -> Option<Claim> {
        let destination = self.snapshot.services.destination(id)?;
        let service = self.snapshot.services.service(destination.service);
        let l4_port = if keeps_port { destination.endpoint.l4_port } else { 0 };
        let new = NewTemplate {
            destination: id,
            endpoint: Endpoint { l4_port, ..destination.endpoint },
            method: destination.method,
            timeout: persistence.timeout,
            ops: service.is_some_and(|service| service.ops),
        };
        let claim = self.shared.templates.make(key, new, now);
        match claim {
            Some(claim) if claim.fresh => self.shared.quotas.count_template(id, true),
            Some(_) => {}
            None => {
                event!(self, TemplatesFull, |_| Record::of(flow, [0; 4]));
            }
        }
        claim
    }

    /// Removes expired templates of this worker's share.
    pub(crate) fn expire_templates(&self, now: Tick) {
        let share = template::Share { worker: self.worker_id.0, workers: self.steering.workers };
        self.shared.templates.expire(share, now, |id| self.shared.quotas.count_template(id, false));
    }
}

fn service_port(service: &Service) -> u16 {
    match service.key {
        ServiceKey::Address(endpoint, _) => endpoint.l4_port,
        ServiceKey::Fwmark { .. } => 0,
    }
}

/// The key of a packet's template; the table of spec 4.3.
fn template_key(key: &Key, service: &Service, persistence: &Persistence, data: Box<[u8]>) -> template::Key {
    let client = masked(key.src_address(), persistence.mask);
    let dst = key.dst();
    let (protocol, template_service) = match service.key {
        ServiceKey::Fwmark { fwmark, .. } => (0, template::TemplateService::Fwmark(fwmark)),
        ServiceKey::Address(own, _) => {
            let kept = dst.l4_port == own.l4_port && own.l4_port != FTP;
            let l4_port = if kept { dst.l4_port } else { 0 };
            (key.protocol(), template::TemplateService::Address(dst.address, l4_port))
        }
    };
    template::Key { protocol, client, service: template_service, data }
}

fn masked(address: IpAddr, mask: u128) -> IpAddr {
    match address {
        IpAddr::V4(v4) => IpAddr::V4((v4.to_bits() & mask as u32).into()),
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() & mask).into()),
    }
}

/// The Call-ID of a SIP message over UDP.
fn call_id<'a>(frame: &'a [u8], parsed: &Parsed) -> Option<&'a [u8]> {
    let end = frame.len().min(parsed.end(frame)?);
    let payload = frame.get(usize::from(parsed.l4) + udp::LEN..end)?;
    (parsed.protocol == protocol::UDP).then(|| sip::call_id(payload)).flatten()
}
