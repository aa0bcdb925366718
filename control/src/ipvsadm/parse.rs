//! Parses a line into a [`Command`], with the usage errors of `ipvsadm`.

use std::net::Ipv4Addr;

use clap::ValueEnum;

use super::command::{Command, Listing, ParseError, Table};
use super::names::{Names, Numeric};
use super::options::{MAX_TIMEOUT, Mask, Options, invalid_timeout};
use super::words::{ParsedOption, arguments, split};
use super::{flags, numbers, usage};
use crate::model::{
    Checksum, Destination, DestinationKey, Engine, Family, Method, Persistence, Protocol, Scheduler, Service,
    ServiceKey, Tunnel, TunnelKind,
};

/// Commands: long name of the option, and name in messages.
const COMMANDS: &[(&str, &str)] = &[
    ("add-service", "add-service"),
    ("edit-service", "edit-service"),
    ("delete-service", "delete-service"),
    ("clear", "flush"),
    ("restore", "restore"),
    ("save", "save"),
    ("add-server", "add-server"),
    ("edit-server", "edit-server"),
    ("delete-server", "delete-server"),
    ("list", "list"),
    ("zero", "zero"),
    ("set", "set"),
    ("start-daemon", "start-daemon"),
    ("stop-daemon", "stop-daemon"),
    ("help", "help"),
    ("version", "version"),
];

/// Parses a line, with or without the leading word `ipvsadm`.
///
/// # Errors
/// The message of `ipvsadm` for a wrong line.
pub fn parse(line: &str) -> Result<Command, ParseError> {
    parse_words(arguments(line), &Numeric)
}

/// Parses the words of a line, without the leading word `ipvsadm`.
///
/// # Errors
/// See [`parse`].
pub fn parse_words(line: Vec<String>, names: &dyn Names) -> Result<Command, ParseError> {
    if line.is_empty() {
        // Without arguments `ipvsadm` lists.
        return Ok(Command::List(Listing::default()));
    }
    let words = split(line);
    let (command, first) = command_of(&words.options)?;
    if matches!(command, "help" | "version") {
        return Ok(if command == "help" { Command::Help } else { Command::Version });
    }
    role(first)?;
    let rest = &words.options[1..];
    // Errors before a second command are reported first.
    let second = rest.iter().position(|word| COMMANDS.iter().any(|(name, _)| *name == word.name));
    let options = Options::parse(&rest[..second.unwrap_or(rest.len())], names)?;
    if let Some(at) = second {
        return Err(ParseError::usage(format!("invalid option `{}'", rest[at].typed)));
    }
    if let Some(broken) = words.broken {
        return Err(broken);
    }
    let timeouts = if command == "set" { Some(set_timeouts(&words.strays)?) } else { None };
    if let Some(stray) = words.strays.get(if timeouts.is_some() { 3 } else { 0 }) {
        return Err(ParseError::usage(format!("unexpected argument {stray}")));
    }
    let (scheduler, flags) = (scheduler(&options), options.flags.as_str());
    let flags = flags::parse(flags, scheduler)?;
    let name = COMMANDS.iter().find(|(known, _)| *known == command).map_or(command, |(_, name)| *name);
    usage::check(command, name, &options)?;
    if let Some(command) = timeouts {
        return Ok(command);
    }
    build(command, &options, Service { scheduler: scheduler.unwrap_or_default(), flags, ..blank() })
}

/// The command, which must be the first option.
fn command_of(words: &[ParsedOption]) -> Result<(&'static str, &ParsedOption), ParseError> {
    let first = words.first().ok_or(ParseError::NoCommand)?;
    let found = COMMANDS.iter().find(|(name, _)| *name == first.name);
    found.map(|(name, _)| (*name, first)).ok_or(ParseError::NoCommand)
}

/// Checks the value of the two sync daemon commands.
fn role(command: &ParsedOption) -> Result<(), ParseError> {
    let known = matches!(command.value.as_deref(), Some("master" | "backup"));
    match command.name {
        "start-daemon" if !known => Err(ParseError::usage("illegal start-daemon parameter specified")),
        "stop-daemon" if !known => Err(ParseError::usage("illegal start_daemon specified")),
        _ => Ok(()),
    }
}

/// The scheduler, or `None` if there is none of that name.
fn scheduler(options: &Options) -> Option<Scheduler> {
    match &options.scheduler {
        None => Some(Scheduler::default()),
        Some(name) => named(name),
    }
}

fn named(name: &str) -> Option<Scheduler> {
    Scheduler::from_str(name, false).ok()
}

/// A service to fill in.
fn blank() -> Service {
    Service::new(ServiceKey::Fwmark { fwmark: 0, family: Family::Ipv4 })
}

fn build(command: &str, options: &Options, service: Service) -> Result<Command, ParseError> {
    // `usage` has checked that the service and the destination are given where needed.
    let key = options.service.unwrap_or(service.key);
    Ok(match command {
        "add-service" | "edit-service" => about_service(command == "edit-service", key, options, service)?,
        "delete-service" => Command::DeleteService(key),
        "add-server" => Command::AddDestination(key, destination(key, options)?),
        "edit-server" => Command::EditDestination(key, destination(key, options)?),
        "delete-server" => Command::DeleteDestination(key, real_server(options)?),
        "clear" => Command::Clear,
        "zero" => Command::Zero(options.service),
        "save" => Command::Save { numeric: options.has("numeric") },
        "restore" => Command::Restore,
        "stop-daemon" => Command::StopDaemon,
        "start-daemon" => Command::StartDaemon { interface: options.interface.clone() },
        _ => {
            usage::check_list(options)?;
            Command::List(listing(options))
        }
    })
}

fn about_service(
    edit: bool,
    key: ServiceKey,
    options: &Options,
    mut service: Service,
) -> Result<Command, ParseError> {
    let is_fwmark = matches!(key, ServiceKey::Fwmark { .. });
    let is_udp = matches!(key, ServiceKey::Address { protocol: Protocol::Udp, .. });
    // Port 0 needs persistence, or each port of a client could go to another server.
    if !is_fwmark && key.l4_port() == 0 && !options.has("persistent") {
        return Err(ParseError::usage("Zero port specified for non-persistent service"));
    }
    if options.has("ops") && !is_fwmark && !is_udp {
        return Err(ParseError::usage("One-Packet Scheduling is only for UDP virtual services"));
    }
    service.key = key;
    service.ops = options.has("ops");
    let engine = match options.engine.as_deref() {
        Some("sip") => Some(Engine::Sip),
        Some(name) => return Ok(Command::UnknownName { edit, service: key, name: name.to_owned() }),
        None => None,
    };
    if let Some(name) = options.scheduler.as_ref().filter(|name| named(name).is_none()) {
        return Ok(Command::UnknownName { edit, service: key, name: name.clone() });
    }
    if options.has("persistent") {
        let netmask = match options.mask {
            Some(Mask::Ipv4(mask)) if mask != Ipv4Addr::BROADCAST => Some(mask),
            _ => None,
        };
        let prefix_len = match options.mask {
            Some(Mask::Prefix(length)) if length != 128 => Some(length),
            _ => None,
        };
        service.persistence = Some(Persistence { timeout: options.timeout, netmask, prefix_len, engine });
    }
    Ok(if edit { Command::EditService(service) } else { Command::AddService(service) })
}

fn real_server(options: &Options) -> Result<DestinationKey, ParseError> {
    let missing = || ParseError::usage("illegal real server address[:port] specified");
    let socket = options.real.ok_or_else(missing)?.socket;
    Ok(DestinationKey { address: socket.ip(), l4_port: socket.port() })
}

fn destination(service: ServiceKey, options: &Options) -> Result<Destination, ParseError> {
    let real = real_server(options)?;
    let method = options.method.unwrap_or(Method::Dr);
    if real.address.is_ipv6() != (service.family() == Family::Ipv6) && method != Method::Tunnel {
        return Err(ParseError::usage("Different address family is allowed only for tunneling servers"));
    }
    usage::check_tunnel(options)?;
    // Only NAT can change the port.
    let keeps_port = method != Method::Nat && matches!(service, ServiceKey::Address { .. });
    let l4_port = if keeps_port { service.l4_port() } else { real.l4_port };
    let new = Destination::new(real.address, l4_port, method);
    Ok(Destination {
        weight: options.weight.unwrap_or(new.weight),
        upper_threshold: options.upper,
        lower_threshold: options.lower,
        tunnel: tunnel(options),
        ..new
    })
}

fn tunnel(options: &Options) -> Tunnel {
    let checksum = match () {
        () if options.has("tun-csum") => Checksum::Full,
        () if options.has("tun-remcsum") => Checksum::Remote,
        () => Checksum::No,
    };
    match options.tunnel {
        TunnelKind::Ipip => Tunnel::Ipip,
        TunnelKind::Gue => Tunnel::Gue { l4_port: options.tunnel_port, checksum },
        TunnelKind::Gre => Tunnel::Gre { checksum },
    }
}

/// The three values after `--set`.
fn set_timeouts(values: &[String]) -> Result<Command, ParseError> {
    let [tcp, tcp_fin, udp, ..] = values else {
        return Err(ParseError::usage("--set option requires 3 timeout values"));
    };
    let seconds = |text: &String| numbers::number(text, 0, MAX_TIMEOUT).ok_or_else(|| invalid_timeout(text));
    Ok(Command::SetTimeouts { tcp: seconds(tcp)?, tcp_fin: seconds(tcp_fin)?, udp: seconds(udp)? })
}

fn listing(options: &Options) -> Listing {
    let has = |name| options.has(name);
    // The first of these options determines the table.
    let table = match () {
        () if has("connection") => Table::Connections { engine: has("persistent-conn") },
        () if has("timeout") => Table::Timeouts,
        () if has("daemon") => Table::Daemons,
        () if has("stats") => Table::Stats,
        () if has("rate") => Table::Rate,
        () if has("thresholds") => Table::Thresholds,
        () if has("persistent-conn") => Table::Persistent,
        () if has("tun-info") => Table::TunnelInfo,
        () => Table::Plain,
    };
    Listing {
        table,
        service: options.service,
        exact: has("exact"),
        unsorted: options.unsorted(),
        numeric: has("numeric"),
    }
}
