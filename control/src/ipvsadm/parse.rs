//! Turns a line into a [`Command`], with the usage errors of `ipvsadm` in its words.

use super::command::{Command, Listing, ParseError, Table};
use super::options::Options;
use super::words::{Word, split};
use crate::model::{Destination, DestinationKey, Family, Method, Service, ServiceKey};

/// The commands: long name of the option, and the name used in messages.
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
];

const SERVICES: &[&str] = &["tcp-service", "udp-service", "sctp-service", "fwmark-service"];
const ABOUT_SERVICE: &[&str] = &["scheduler", "persistent", "netmask", "pe", "sched-flags", "ops"];
const ABOUT_DESTINATION: &[&str] = &[
    "gatewaying",
    "ipip",
    "masquerading",
    "weight",
    "u-threshold",
    "l-threshold",
    "tun-type",
    "tun-port",
    "tun-nocsum",
    "tun-csum",
    "tun-remcsum",
];
const ABOUT_LIST: &[&str] = &[
    "connection",
    "stats",
    "rate",
    "exact",
    "timeout",
    "daemon",
    "thresholds",
    "persistent-conn",
    "tun-info",
    "sort",
    "nosort",
    "numeric",
];

/// Reads one line, with or without the leading word `ipvsadm`.
///
/// # Errors
/// The message `ipvsadm` prints for a wrong line, or the name of the feature we do not have yet.
pub fn parse(line: &str) -> Result<Command, ParseError> {
    let line = line.trim();
    let line = match line.strip_prefix("ipvsadm") {
        Some(rest) if rest.is_empty() || rest.starts_with(char::is_whitespace) => rest,
        _ => line,
    };
    let (words, strays) = split(line)?;
    if words.is_empty() && strays.is_empty() {
        // `ipvsadm` alone lists.
        return Ok(Command::List(Listing::default()));
    }
    let (command, message_name) = the_command(&words)?;
    let options = Options::read(&words)?;
    if command == "set" {
        return set_timeouts(&strays);
    }
    if let Some(stray) = strays.first() {
        return Err(ParseError::Unknown(format!("unexpected argument {stray}\n")));
    }
    check_use(command, message_name, &options)?;
    if options.has("ops") && !options.has("udp-service") && !options.has("fwmark-service") {
        return Err(ParseError::usage("One-Packet Scheduling is only for UDP virtual services"));
    }
    if options.has("tun-type") && options.method != Some(Method::Tunnel) {
        return Err(ParseError::usage("Tunnel options conflict with forward method"));
    }
    if let Some(feature) = &options.unsupported {
        return Err(ParseError::unsupported(feature));
    }
    build(command, &options)
}

/// The first option is the command, and no other may be one.
fn the_command(words: &[Word]) -> Result<(&'static str, &'static str), ParseError> {
    let command_of = |word: &Word| COMMANDS.iter().find(|(name, _)| *name == word.name).copied();
    let first = words.first().and_then(command_of);
    let first = first.ok_or_else(|| ParseError::Unknown(String::new()))?;
    match words[1..].iter().find(|word| command_of(word).is_some()) {
        Some(second) => Err(ParseError::usage(format!("invalid option `{}'", second.typed))),
        None => Ok(first),
    }
}

/// Which options a command needs and which it refuses.
fn check_use(command: &str, name: &str, options: &Options) -> Result<(), ParseError> {
    let services = || SERVICES.iter().any(|s| options.has(s));
    let (needs_service, takes_service, needs_real) = match command {
        "add-service" | "edit-service" | "delete-service" => (true, true, false),
        "add-server" | "edit-server" | "delete-server" => (true, true, true),
        "list" | "zero" => (false, true, false),
        _ => (false, false, false),
    };
    let missing =
        |o| ParseError::usage(format!("You need to supply the '{o}' option for the '{name}' command"));
    let illegal = |o: &str| ParseError::usage(format!("Illegal '{o}' option with the '{name}' command"));
    if needs_service && !services() {
        return Err(missing("service-address"));
    }
    if needs_real && !options.has("real-server") {
        return Err(missing("real-server"));
    }
    if !takes_service && services() {
        return Err(illegal("service-address"));
    }
    if !needs_real && options.has("real-server") {
        return Err(illegal("real-server"));
    }
    let is_about = |list: &[&str]| list.iter().copied().find(|o| options.has(o)).map(str::to_owned);
    let wrong = match command {
        "add-service" | "edit-service" => is_about(ABOUT_DESTINATION).or_else(|| is_about(ABOUT_LIST)),
        "add-server" | "edit-server" => is_about(ABOUT_SERVICE).or_else(|| is_about(ABOUT_LIST)),
        "list" | "save" => is_about(ABOUT_SERVICE).or_else(|| is_about(ABOUT_DESTINATION)),
        "start-daemon" | "stop-daemon" => None,
        _ => is_about(ABOUT_SERVICE).or_else(|| is_about(ABOUT_DESTINATION)).or_else(|| is_about(ABOUT_LIST)),
    };
    wrong.map_or(Ok(()), |option| Err(illegal(&option)))
}

fn build(command: &str, options: &Options) -> Result<Command, ParseError> {
    let key = || {
        options.service.ok_or_else(|| ParseError::usage("illegal virtual server address[:port] specified"))
    };
    Ok(match command {
        "add-service" => Command::AddService(service(key()?, options)?),
        "edit-service" => Command::EditService(service(key()?, options)?),
        "delete-service" => Command::DeleteService(key()?),
        "add-server" => Command::AddDestination(key()?, destination(key()?, options)?),
        "edit-server" => Command::EditDestination(key()?, destination(key()?, options)?),
        "delete-server" => {
            let key = key()?;
            let real = real_server(key, options)?;
            Command::DeleteDestination(key, real)
        }
        "clear" => Command::Clear,
        "zero" => Command::Zero(options.service),
        "save" => Command::Save,
        "restore" => Command::Restore,
        "list" => Command::List(listing(options)?),
        other => return Err(ParseError::unsupported(other)),
    })
}

fn service(key: ServiceKey, options: &Options) -> Result<Service, ParseError> {
    // Any port needs persistence, or each port of a client would land on another server.
    if key.l4_port() == 0 {
        return Err(ParseError::usage("Zero port specified for non-persistent service"));
    }
    Ok(Service { scheduler: options.scheduler.unwrap_or_default(), ..Service::new(key) })
}

fn real_server(service: ServiceKey, options: &Options) -> Result<DestinationKey, ParseError> {
    let missing = || ParseError::usage("illegal real server address[:port] specified");
    let real = options.real.ok_or_else(missing)?;
    let l4_port = if real.has_port { real.socket.port() } else { service.l4_port() };
    Ok(DestinationKey { address: real.socket.ip(), l4_port })
}

fn destination(service: ServiceKey, options: &Options) -> Result<Destination, ParseError> {
    let real = real_server(service, options)?;
    let method = options.method.unwrap_or(Method::Dr);
    if real.address.is_ipv6() != (service.family() == Family::Ipv6) && method != Method::Tunnel {
        return Err(ParseError::usage("Different address family is allowed only for tunneling servers"));
    }
    // Only NAT rewrites ports: a packet that keeps its own can reach no other port.
    let l4_port = if method == Method::Nat { real.l4_port } else { service.l4_port() };
    let new = Destination::new(real.address, l4_port, method);
    Ok(Destination { weight: options.weight.unwrap_or(new.weight), ..new })
}

fn set_timeouts(values: &[String]) -> Result<Command, ParseError> {
    let [tcp, tcp_fin, udp] = values else {
        return Err(ParseError::usage("--set option requires 3 timeout values"));
    };
    let seconds = |text: &String| {
        let longest = i32::MAX.unsigned_abs();
        let value = text.parse::<u32>().ok().filter(|s| *s <= longest);
        value.ok_or_else(|| ParseError::usage(format!("invalid timeout value `{text}' specified")))
    };
    Ok(Command::SetTimeouts { tcp: seconds(tcp)?, tcp_fin: seconds(tcp_fin)?, udp: seconds(udp)? })
}

fn listing(options: &Options) -> Result<Listing, ParseError> {
    let has = |name| options.has(name);
    if has("connection") && (has("stats") || has("rate")) {
        return Err(ParseError::usage("options conflicts in the list command"));
    }
    // Where several tables are asked for, the first of this list wins.
    let table = match () {
        () if has("connection") => Table::Connections { engine: has("persistent-conn") },
        () if has("timeout") => Table::Timeouts,
        () if has("stats") => Table::Stats,
        () if has("rate") => Table::Rate,
        () if has("thresholds") => Table::Thresholds,
        () if has("persistent-conn") => Table::Persistent,
        () if has("tun-info") => Table::TunnelInfo,
        () => Table::Plain,
    };
    Ok(Listing { table, service: options.service, exact: has("exact"), unsorted: has("nosort") })
}
