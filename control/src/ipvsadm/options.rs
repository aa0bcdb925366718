//! The options of a line, each value checked on its own in the order of the line. `usage` decides which options a command
//! takes.

use std::net::Ipv4Addr;

use clap::ValueEnum;

use super::command::ParseError;
use super::names::Names;
use super::numbers::{Endpoint, endpoint, host, number};
use super::words::ParsedOption;
use crate::model::{Family, Method, Protocol, ServiceKey, TunnelKind};

/// Longest timeout, 31 days.
pub(super) const MAX_TIMEOUT: u32 = 31 * 24 * 3600;
const MAX_NUMBER: u32 = i32::MAX as u32;

/// Client grouping mask, of the address family known when the option was parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mask {
    Ipv4(Ipv4Addr),
    Prefix(u8),
}

/// Values of the options of a line.
#[derive(Debug, Default)]
pub(super) struct Options {
    pub service: Option<ServiceKey>,
    pub scheduler: Option<String>,
    /// Value of `-b`, not parsed yet because it depends on the scheduler.
    pub flags: String,
    pub timeout: u32,
    pub mask: Option<Mask>,
    pub engine: Option<String>,
    pub real: Option<Endpoint>,
    pub method: Option<Method>,
    pub weight: Option<u32>,
    pub upper: u32,
    pub lower: u32,
    pub tunnel: TunnelKind,
    pub tunnel_port: u16,
    pub interface: Option<String>,
    /// Names of the given options, without the command.
    given: Vec<&'static str>,
    unsorted: bool,
}

impl Options {
    /// Parses the values of all words after the command.
    pub fn parse(words: &[ParsedOption], names: &dyn Names) -> Result<Options, ParseError> {
        let mut options = Options { timeout: 360, ..Options::default() };
        for word in words {
            let name = shared_name(word.name);
            if options.has(name) {
                return Err(ParseError::usage(format!("multiple '{name}' options specified")));
            }
            options.take(word.name, word.value.as_deref(), names)?;
            // These two may be repeated.
            if !matches!(name, "ipv6" | "sort") {
                options.given.push(name);
            }
        }
        Ok(options)
    }

    /// Returns true if the option was given. Options that exclude each other share a name: `service-address`,
    /// `forwarding-method`.
    pub fn has(&self, name: &str) -> bool {
        self.given.contains(&name)
    }

    fn take(&mut self, name: &str, value: Option<&str>, names: &dyn Names) -> Result<(), ParseError> {
        let text = value.unwrap_or_default();
        match name {
            "tcp-service" => self.address(Protocol::Tcp, text, names)?,
            "udp-service" => self.address(Protocol::Udp, text, names)?,
            "sctp-service" => self.address(Protocol::Sctp, text, names)?,
            "fwmark-service" => self.fwmark(text)?,
            "ipv6" => self.ipv6()?,
            "scheduler" => self.scheduler = Some(text.to_owned()).filter(|name| !name.is_empty()),
            "pe" => self.engine = Some(text.to_owned()).filter(|name| !name.is_empty()),
            "persistent" => self.timeout = value.map_or(Ok(360), timeout)?,
            "netmask" => self.mask = Some(self.netmask(text, names)?),
            "sched-flags" => text.clone_into(&mut self.flags),
            "real-server" => {
                let parsed = endpoint(text, self.protocol(), names);
                let mut real = parsed.ok_or_else(|| illegal("real server address[:port]"))?;
                // Default: the port of the service, if that was given before.
                if !real.has_port {
                    real.socket.set_port(self.service.map_or(0, |key| key.l4_port()));
                }
                self.real = Some(real);
            }
            "gatewaying" => self.method = Some(Method::Dr),
            "masquerading" => self.method = Some(Method::Nat),
            "ipip" => self.method = Some(Method::Tunnel),
            "weight" => self.weight = Some(bounded("weight", text, 0, MAX_NUMBER)?),
            "u-threshold" => self.upper = bounded("u_threshold", text, 0, MAX_NUMBER)?,
            "l-threshold" => self.lower = bounded("l_threshold", text, 0, MAX_NUMBER)?,
            "tun-type" => self.tunnel = tunnel(text)?,
            "tun-port" => self.tunnel_port = bounded("tunnel port", text, 1, 65535)? as u16,
            "nosort" => self.unsorted = true,
            _ => self.daemon(name, text)?,
        }
        Ok(())
    }

    fn address(&mut self, protocol: Protocol, text: &str, names: &dyn Names) -> Result<(), ParseError> {
        let parsed = endpoint(text, Some(&protocol.to_string()), names);
        let socket = parsed.ok_or_else(|| illegal("virtual server address[:port]"))?.socket;
        self.set_key(ServiceKey::Address { protocol, address: socket.ip(), l4_port: socket.port() });
        Ok(())
    }

    /// The protocol for looking up the name of a server's port: that of the service, if that was given before.
    fn protocol(&self) -> Option<&'static str> {
        self.service.map(|key| match key {
            ServiceKey::Address { protocol: Protocol::Udp, .. } => "udp",
            ServiceKey::Address { protocol: Protocol::Sctp, .. } => "sctp",
            ServiceKey::Address { protocol: Protocol::Tcp, .. } | ServiceKey::Fwmark { .. } => "tcp",
        })
    }

    fn fwmark(&mut self, text: &str) -> Result<(), ParseError> {
        let invalid = || ParseError::usage(format!("invalid fwmark value `{text}' specified"));
        let fwmark = number(text, 1, u32::MAX).ok_or_else(invalid)?;
        self.set_key(ServiceKey::Fwmark { fwmark, family: Family::Ipv4 });
        Ok(())
    }

    fn ipv6(&mut self) -> Result<(), ParseError> {
        match self.service {
            Some(ServiceKey::Fwmark { fwmark, .. }) => {
                self.set_key(ServiceKey::Fwmark { fwmark, family: Family::Ipv6 });
                Ok(())
            }
            // The original ends this message with an empty line.
            _ => Err(ParseError::usage("-6 used before -f\n")),
        }
    }

    /// A mask given before an IPv6 service is dropped.
    fn set_key(&mut self, key: ServiceKey) {
        if key.family() == Family::Ipv6 {
            self.mask = None;
        }
        self.service = Some(key);
    }

    fn netmask(&self, text: &str, names: &dyn Names) -> Result<Mask, ParseError> {
        if self.service.is_some_and(|key| key.family() == Family::Ipv6) {
            return Ok(Mask::Prefix(bounded("ipv6 netmask", text, 1, 128)? as u8));
        }
        host(text, names).map(Mask::Ipv4).ok_or_else(|| illegal("virtual server persistent mask"))
    }

    fn daemon(&mut self, name: &str, text: &str) -> Result<(), ParseError> {
        match name {
            "syncid" => drop(bounded(name, text, 0, 255)?),
            "sync-maxlen" => drop(bounded(name, text, 1, 65535 - 20 - 8)?),
            "mcast-port" => drop(bounded(name, text, 1, 65535)?),
            "mcast-ttl" => drop(bounded(name, text, 1, 255)?),
            "mcast-interface" => self.interface = Some(text.to_owned()),
            "mcast-group" => {
                let known = text.parse::<std::net::IpAddr>().is_ok_and(|group| group.is_multicast());
                let version = if text.contains(':') { 6 } else { 4 };
                if !known {
                    return Err(ParseError::usage(format!("invalid IPv{version} mcast-group `{text}'")));
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Returns true if the kernel's order is kept.
    pub fn unsorted(&self) -> bool {
        self.unsorted
    }
}

/// Name of the option in messages.
fn shared_name(name: &'static str) -> &'static str {
    match name {
        "tcp-service" | "udp-service" | "sctp-service" | "fwmark-service" => "service-address",
        "gatewaying" | "masquerading" | "ipip" => "forwarding-method",
        other => other,
    }
}

fn illegal(what: &str) -> ParseError {
    ParseError::usage(format!("illegal {what} specified"))
}

fn bounded(what: &str, text: &str, min: u32, max: u32) -> Result<u32, ParseError> {
    number(text, min, max).ok_or_else(|| illegal(what))
}

/// Persistence timeout in seconds, from 1 to 31 days.
fn timeout(text: &str) -> Result<u32, ParseError> {
    number(text, 1, MAX_TIMEOUT).ok_or_else(|| invalid_timeout(text))
}

pub(super) fn invalid_timeout(text: &str) -> ParseError {
    ParseError::usage(format!("invalid timeout value `{text}' specified"))
}

fn tunnel(text: &str) -> Result<TunnelKind, ParseError> {
    TunnelKind::from_str(text, false).map_err(|_| illegal("tunnel type"))
}
