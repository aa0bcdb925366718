//! Conversion of the model's types to the data plane's.

use pollux_dataplane::config::{ProtocolSet, Settings};
use pollux_dataplane::flow::Endpoint;
use pollux_dataplane::icmp::rate_limit::IcmpLimits;
use pollux_dataplane::proto::{Timeouts, tcp};
use pollux_dataplane::service::{self, Method, Persistence, Tunnel};
use pollux_dataplane::time::Millis;
use pollux_dataplane::wire::protocol;

use crate::engine::defence::Defence;
use crate::model::modules;
use crate::model::timeouts::{self, TimeoutKey};
use crate::model::{self, Checksum, Engine, Family, Protocol, ServiceKey};

/// Returns the protocol's number in the IP header.
pub fn protocol_number(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Tcp => protocol::TCP,
        Protocol::Udp => protocol::UDP,
        Protocol::Sctp => protocol::SCTP,
    }
}

pub(super) fn service_key(key: ServiceKey) -> service::ServiceKey {
    match key {
        ServiceKey::Address { protocol, address, l4_port } => {
            service::ServiceKey::Address(Endpoint { address, l4_port }, protocol_number(protocol))
        }
        ServiceKey::Fwmark { fwmark, family } => {
            service::ServiceKey::Fwmark { fwmark, ipv6: family == Family::Ipv6 }
        }
    }
}

pub(super) fn method(destination: &model::Destination) -> Method {
    let summed = |checksum: Checksum| checksum != Checksum::No;
    match (destination.method, destination.tunnel) {
        (model::Method::Nat, _) => Method::Nat,
        (model::Method::Dr, _) => Method::Dr,
        (model::Method::Tunnel, model::Tunnel::Ipip) => Method::Tunnel(Tunnel::Ipip),
        (model::Method::Tunnel, model::Tunnel::Gue { l4_port, checksum }) => {
            Method::Tunnel(Tunnel::Gue { l4_port, checksum: summed(checksum) })
        }
        (model::Method::Tunnel, model::Tunnel::Gre { checksum }) => {
            Method::Tunnel(Tunnel::Gre { checksum: summed(checksum) })
        }
    }
}

pub(super) fn persistence(service: &model::Service) -> Option<Persistence> {
    let wanted = service.persistence.as_ref()?;
    let mask = match service.key.family() {
        Family::Ipv4 => u128::from(wanted.netmask.map_or(u32::MAX, u32::from)),
        // The prefix is 1 to 128, so that the shift is 0 to 127.
        Family::Ipv6 => u128::MAX << (128 - u32::from(wanted.prefix_len.unwrap_or(128).clamp(1, 128))),
    };
    let timeout = Millis::from_secs(wanted.timeout);
    Some(Persistence { timeout, mask, sip: wanted.engine == Some(Engine::Sip) })
}

pub(super) fn settings(wanted: &model::Settings, defence: Defence) -> Settings {
    Settings {
        timeouts: timeouts(wanted),
        // As in IPVS, only the two lowest bits matter.
        conn_reuse_mode: wanted.conn_reuse_mode.cast_unsigned(),
        expire_nodest_conn: wanted.expire_nodest_conn != 0,
        expire_quiescent_template: wanted.expire_quiescent_template != 0,
        sloppy_tcp: wanted.sloppy_tcp != 0,
        sloppy_sctp: wanted.sloppy_sctp != 0,
        nat_icmp_send: wanted.nat_icmp_send != 0,
        pmtu_disc: wanted.pmtu_disc != 0,
        schedule_icmp: wanted.schedule_icmp != 0,
        cache_bypass: wanted.cache_bypass != 0,
        snat_reroute: wanted.snat_reroute != 0,
        drop_entry: defence.drop_entry,
        drop_rate: defence.drop_rate,
        secure_tcp: defence.secure_tcp,
        lblc_expiration: Millis::from_secs(wanted.lblc_expiration),
        lblcr_expiration: Millis::from_secs(wanted.lblcr_expiration),
        protocols_off: ProtocolSet::of(&modules::protocols_off(&wanted.disabled_modules)),
        icmp_limits: IcmpLimits {
            ratelimit: wanted.icmp_ratelimit,
            msgs_per_sec: wanted.icmp_msgs_per_sec,
            msgs_burst: wanted.icmp_msgs_burst,
        },
        like_linux_6_1: wanted.like_linux_6_1,
    }
}

fn timeouts(wanted: &model::Settings) -> Timeouts {
    let mut timeouts = Timeouts::default();
    timeouts.tcp[tcp::State::Established as usize] = Millis::from_secs(wanted.tcp_timeout);
    timeouts.tcp[tcp::State::FinWait as usize] = Millis::from_secs(wanted.tcp_fin_timeout);
    timeouts.udp = Millis::from_secs(wanted.udp_timeout);
    for (name, &secs) in &wanted.timeouts {
        match timeouts::key(name) {
            Some(TimeoutKey::Tcp(state)) => timeouts.tcp[state] = Millis::from_secs(secs),
            Some(TimeoutKey::Sctp(state)) => timeouts.sctp[state] = Millis::from_secs(secs),
            None => {}
        }
    }
    timeouts
}
