//! Names of hosts and services, which `ipvsadm` accepts for numbers and prints without `-n`.

use std::collections::HashMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, ToSocketAddrs};

/// Lookup of names.
pub trait Names {
    /// The IPv4 address of a host. IPv6 addresses are only accepted as numbers.
    fn address(&self, host: &str) -> Option<Ipv4Addr>;
    /// The port of a service with this protocol: `tcp`, `udp` or `sctp`.
    fn l4_port(&self, service: &str, protocol: &str) -> Option<u16>;
    /// Name of a host.
    fn host(&self, address: IpAddr) -> Option<String>;
    /// Name of a port.
    fn service(&self, l4_port: u16, protocol: &str) -> Option<String>;
}

/// No names, for `-n` and for replay.
#[derive(Clone, Copy, Debug, Default)]
pub struct Numeric;

impl Names for Numeric {
    fn address(&self, _: &str) -> Option<Ipv4Addr> {
        None
    }

    fn l4_port(&self, _: &str, _: &str) -> Option<u16> {
        None
    }

    fn host(&self, _: IpAddr) -> Option<String> {
        None
    }

    fn service(&self, _: u16, _: &str) -> Option<String> {
        None
    }
}

/// Names of this machine: hosts from its resolver, services from `/etc/services`.
#[derive(Debug, Default)]
pub struct System {
    services: Services,
}

impl System {
    /// Reads `/etc/services`; a missing file has no services.
    pub fn new() -> System {
        System { services: Services::parse(&fs::read_to_string("/etc/services").unwrap_or_default()) }
    }
}

impl Names for System {
    fn address(&self, host: &str) -> Option<Ipv4Addr> {
        // The resolver takes an empty name for this machine.
        let found = Some(host).filter(|host| !host.is_empty())?;
        let found = (found, 0).to_socket_addrs().ok()?;
        found.into_iter().find_map(|address| match address.ip() {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(_) => None,
        })
    }

    fn l4_port(&self, service: &str, protocol: &str) -> Option<u16> {
        self.services.l4_port(service, protocol)
    }

    fn host(&self, address: IpAddr) -> Option<String> {
        // For an address without a name it returns the address.
        dns_lookup::lookup_addr(&address).ok().filter(|host| host.parse::<IpAddr>().is_err())
    }

    fn service(&self, l4_port: u16, protocol: &str) -> Option<String> {
        self.services.name(l4_port, protocol)
    }
}

/// Services by name and by port.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Services {
    ports: HashMap<(String, String), u16>,
    names: HashMap<(u16, String), String>,
}

impl Services {
    /// Parses lines such as `http 80/tcp www # World Wide Web`. The first line for a port wins.
    pub fn parse(text: &str) -> Services {
        let mut services = Services::default();
        for line in text.lines() {
            let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
            let (Some(name), Some(number)) = (words.next(), words.next()) else { continue };
            let Some((port, protocol)) = number.split_once('/') else { continue };
            let Ok(port) = port.parse() else { continue };
            services.names.entry((port, protocol.to_owned())).or_insert_with(|| name.to_owned());
            for name in std::iter::once(name).chain(words) {
                services.ports.entry((name.to_owned(), protocol.to_owned())).or_insert(port);
            }
        }
        services
    }

    /// The port of a service.
    pub fn l4_port(&self, service: &str, protocol: &str) -> Option<u16> {
        self.ports.get(&(service.to_owned(), protocol.to_owned())).copied()
    }

    /// The name of a port.
    pub fn name(&self, l4_port: u16, protocol: &str) -> Option<String> {
        self.names.get(&(l4_port, protocol.to_owned())).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_are_found_by_name_alias_and_port() {
        let services =
            Services::parse("# a remark\nhttp\t80/tcp www  # the web\nworld 80/tcp\nbroken\nx y/z\n");
        assert_eq!(services.l4_port("www", "tcp"), Some(80));
        assert_eq!(services.l4_port("http", "udp"), None);
        assert_eq!(services.name(80, "tcp").as_deref(), Some("http"));
        assert_eq!(services.name(81, "tcp"), None);
    }
}
