//! From what the daemon tells about itself to what the listings are made of.

use std::net::SocketAddr;

use super::rows::{
    ConnectionRow, Counters, DestinationRow, Forward, Rates, ServiceName, ServiceRow, Transport, Tunnel,
};
use crate::model::{Method, Protocol, Scheduler};
use crate::view::{ConnectionView, DestinationView, ServiceView, Stats};

impl From<&ServiceView> for ServiceRow {
    fn from(view: &ServiceView) -> ServiceRow {
        let socket = SocketAddr::new(view.address, view.l4_port);
        ServiceRow {
            name: ServiceName::Address(view.protocol.into(), socket),
            scheduler: scheduler(view.scheduler).to_owned(),
            flags: Vec::new(),
            persistence: None,
            one_packet: false,
            counters: view.stats.into(),
            rates: Rates::default(),
            destinations: view.destinations.iter().map(DestinationRow::from).collect(),
        }
    }
}

impl From<&DestinationView> for DestinationRow {
    fn from(view: &DestinationView) -> DestinationRow {
        DestinationRow {
            socket: SocketAddr::new(view.address, view.l4_port),
            forward: match view.method {
                Method::Nat => Forward::Masq,
                Method::Dr => Forward::Route,
                Method::Tunnel => Forward::Tunnel(Tunnel::Ipip),
            },
            weight: view.weight,
            upper: 0,
            lower: 0,
            active: view.active,
            inactive: view.inactive,
            persistent: view.persistent,
            counters: view.stats.into(),
            rates: Rates::default(),
        }
    }
}

impl From<&ConnectionView> for ConnectionRow {
    fn from(view: &ConnectionView) -> ConnectionRow {
        ConnectionRow {
            protocol: Transport::from(view.protocol).name().to_owned(),
            expires: view.expires_secs,
            state: view.state.clone(),
            client: view.client,
            service: view.r#virtual,
            destination: view.destination,
            engine: None,
        }
    }
}

impl From<Protocol> for Transport {
    fn from(protocol: Protocol) -> Transport {
        match protocol {
            Protocol::Tcp => Transport::Tcp,
            Protocol::Udp => Transport::Udp,
        }
    }
}

impl From<Stats> for Counters {
    fn from(stats: Stats) -> Counters {
        let Stats { connections, in_packets, out_packets, in_bytes, out_bytes } = stats;
        Counters { connections, in_packets, out_packets, in_bytes, out_bytes }
    }
}

fn scheduler(scheduler: Scheduler) -> &'static str {
    match scheduler {
        Scheduler::Rr => "rr",
        Scheduler::Wrr => "wrr",
        Scheduler::Lc => "lc",
        Scheduler::Wlc => "wlc",
    }
}
