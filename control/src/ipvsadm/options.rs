//! Everything one line said, each value checked on its own; which of it a command may use is decided in `parse`.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use super::command::{Endpoint, ParseError};
use super::words::Word;
use crate::model::{Method, Protocol, Scheduler, ServiceKey};

/// The values of a line's options; what Pollux cannot do yet is remembered as the feature's name.
#[derive(Debug, Default)]
pub(super) struct Options {
    pub service: Option<ServiceKey>,
    pub scheduler: Option<Scheduler>,
    pub real: Option<Endpoint>,
    pub method: Option<Method>,
    pub weight: Option<u32>,
    /// The first feature met that is not supported.
    pub unsupported: Option<String>,
    /// Long names of all options given, the command's included.
    pub given: Vec<&'static str>,
}

impl Options {
    /// Reads the values of all words.
    pub fn read(words: &[Word]) -> Result<Options, ParseError> {
        let mut options = Options::default();
        for word in words {
            options.take(word)?;
            options.given.push(word.name);
        }
        Ok(options)
    }

    /// Whether the option with this long name was given.
    pub fn has(&self, name: &str) -> bool {
        self.given.contains(&name)
    }

    fn take(&mut self, word: &Word) -> Result<(), ParseError> {
        let value = word.value.as_deref().unwrap_or_default();
        match word.name {
            "tcp-service" => self.service = Some(service(Protocol::Tcp, value)?),
            "udp-service" => self.service = Some(service(Protocol::Udp, value)?),
            "sctp-service" => self.lacks("sctp services"),
            "fwmark-service" => self.mark(value)?,
            "ipv6" if !self.has("fwmark-service") => return Err(ParseError::usage("-6 used before -f\n")),
            "scheduler" => self.scheduler(value),
            "pe" => self.lacks("persistence engines"),
            "persistent" => self.persistence(value)?,
            "sched-flags" => self.lacks("scheduler flags"),
            "ops" => self.lacks("one-packet scheduling"),
            "real-server" => {
                let illegal = || ParseError::usage("illegal real server address[:port] specified");
                self.real = Some(endpoint(value).ok_or_else(illegal)?);
            }
            "gatewaying" => self.method = Some(Method::Dr),
            "masquerading" => self.method = Some(Method::Nat),
            "ipip" => self.method = Some(Method::Tunnel),
            "weight" => self.weight = Some(weight(value)?),
            "u-threshold" | "l-threshold" => self.threshold(word.name, value)?,
            "tun-type" if !matches!(value, "ipip" | "gue" | "gre") => {
                return Err(ParseError::usage("illegal tunnel type specified"));
            }
            "tun-type" if value != "ipip" => self.lacks(&format!("tunnel type {value}")),
            "tun-csum" | "tun-nocsum" | "tun-remcsum" | "tun-port" => self.lacks("tunnel options"),
            "start-daemon" | "stop-daemon" => self.daemon(word.name, value)?,
            "daemon" => self.lacks("the sync daemon"),
            _ => {}
        }
        Ok(())
    }

    fn lacks(&mut self, feature: &str) {
        self.unsupported.get_or_insert_with(|| feature.to_owned());
    }

    fn mark(&mut self, value: &str) -> Result<(), ParseError> {
        if !value.parse::<u32>().is_ok_and(|mark| mark > 0) {
            return Err(ParseError::usage(format!("invalid fwmark value `{value}' specified")));
        }
        self.lacks("mark services");
        Ok(())
    }

    fn scheduler(&mut self, name: &str) {
        match name {
            "rr" => self.scheduler = Some(Scheduler::Rr),
            "wrr" => self.scheduler = Some(Scheduler::Wrr),
            "lc" => self.scheduler = Some(Scheduler::Lc),
            "wlc" => self.scheduler = Some(Scheduler::Wlc),
            other => self.lacks(&format!("scheduler {other}")),
        }
    }

    fn persistence(&mut self, value: &str) -> Result<(), ParseError> {
        const LONGEST: u32 = 31 * 24 * 3600;
        let valid = value.is_empty() || value.parse().is_ok_and(|t: u32| (1..=LONGEST).contains(&t));
        if !valid {
            return Err(ParseError::usage(format!("invalid timeout value `{value}' specified")));
        }
        self.lacks("persistence");
        Ok(())
    }

    fn threshold(&mut self, name: &str, value: &str) -> Result<(), ParseError> {
        match value.parse::<u32>() {
            Ok(0) => {}
            Ok(_) => self.lacks("thresholds"),
            Err(_) => {
                return Err(ParseError::usage(format!("illegal {} specified", name.replace('-', "_"))));
            }
        }
        Ok(())
    }

    fn daemon(&mut self, name: &str, role: &str) -> Result<(), ParseError> {
        if !matches!(role, "master" | "backup") {
            return Err(ParseError::usage(format!("illegal {name} parameter specified")));
        }
        self.lacks("the sync daemon");
        Ok(())
    }
}

fn weight(value: &str) -> Result<u32, ParseError> {
    let largest = i32::MAX.unsigned_abs();
    let weight = value.parse::<u32>().ok().filter(|w| *w <= largest);
    weight.ok_or_else(|| ParseError::usage("illegal weight specified"))
}

fn service(protocol: Protocol, value: &str) -> Result<ServiceKey, ParseError> {
    let illegal = || ParseError::usage("illegal virtual server address[:port] specified");
    let socket = endpoint(value).ok_or_else(illegal)?.socket;
    Ok(ServiceKey::Address { protocol, address: socket.ip(), l4_port: socket.port() })
}

/// Reads `1.2.3.4`, `1.2.3.4:80`, `[2001:db8::1]`, `[2001:db8::1]:80`. Names are left to the resolver of whoever
/// typed them: a configuration that depends on DNS at the moment of a restore is not one we want to follow.
fn endpoint(text: &str) -> Option<Endpoint> {
    let (address, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']')?;
            let port = if port.is_empty() { None } else { Some(port.strip_prefix(':')?) };
            (IpAddr::V6(address.parse::<Ipv6Addr>().ok()?), port)
        }
        None => match text.split_once(':') {
            Some((address, port)) => (IpAddr::V4(address.parse().ok()?), Some(port)),
            None => (IpAddr::V4(text.parse().ok()?), None),
        },
    };
    let number = port.map_or(Some(0), |p| p.parse::<u16>().ok())?;
    Some(Endpoint { socket: SocketAddr::new(address, number), has_port: port.is_some() })
}
