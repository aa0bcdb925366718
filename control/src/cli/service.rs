//! `pollux service`: adds, changes and removes services.

use std::net::{Ipv4Addr, SocketAddr};

use clap::{Args, Subcommand, ValueEnum};

use super::error::CliError;
use super::values;
use crate::api::request::{Request, ServiceAdd, ServiceRemove};
use crate::model::edit::{FlagsEdit, PersistenceEdit, ServiceEdit};
use crate::model::{Engine, Family, Persistence, Protocol, Scheduler, SchedulerFlags, Service, ServiceKey};

/// Arguments that name one service.
#[derive(Clone, Copy, Debug, Args)]
pub struct ServiceSelector {
    /// Service type: the protocol, or fwmark.
    #[arg(value_enum, value_name = "TYPE")]
    pub kind: Kind,
    /// Virtual address and port, such as 10.9.9.1:80 or [2001:db8::1]:80, port 0 for all ports; or the firewall mark.
    #[arg(value_name = "ADDRESS:PORT|FWMARK", value_parser = name)]
    pub name: Name,
    /// The fwmark service is for IPv6 packets.
    #[arg(long)]
    pub ipv6: bool,
}

/// Arguments that name one service, or none for all of them.
#[derive(Clone, Copy, Debug, Args)]
pub struct OptionalService {
    /// Service type: the protocol, or fwmark.
    #[arg(value_enum, value_name = "TYPE", requires = "name")]
    pub kind: Option<Kind>,
    /// Virtual address and port, or the firewall mark.
    #[arg(value_name = "ADDRESS:PORT|FWMARK", value_parser = name)]
    pub name: Option<Name>,
    /// The fwmark service is for IPv6 packets.
    #[arg(long, requires = "kind")]
    pub ipv6: bool,
}

impl OptionalService {
    /// The service, or `None` for all.
    ///
    /// # Errors
    /// If the name does not match the type.
    pub fn key(self) -> Result<Option<ServiceKey>, CliError> {
        let OptionalService { kind, name, ipv6 } = self;
        let service = kind.zip(name).map(|(kind, name)| ServiceSelector { kind, name, ipv6 });
        service.map(ServiceKey::try_from).transpose()
    }
}

/// Service types.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// TCP connections to the address.
    Tcp,
    /// UDP packets to the address.
    Udp,
    /// SCTP associations to the address.
    Sctp,
    /// Packets with this firewall mark, set by `pollux fwmarks`.
    Fwmark,
}

/// The name of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    /// An address and a port.
    Address(SocketAddr),
    /// A firewall mark.
    Fwmark(u32),
}

fn name(text: &str) -> Result<Name, String> {
    let number = text.parse().map(Name::Fwmark);
    let address = |_| values::socket(text).map(Name::Address);
    number.or_else(address).map_err(|why| {
        if text.contains(['.', ':']) {
            return why;
        }
        format!(
            "{text:?} is neither a firewall mark, as in `fwmark 7`, nor an address with a port, as in `tcp 10.9.9.1:80`"
        )
    })
}

impl TryFrom<ServiceSelector> for ServiceKey {
    type Error = CliError;

    fn try_from(selector: ServiceSelector) -> Result<ServiceKey, CliError> {
        let family = if selector.ipv6 { Family::Ipv6 } else { Family::Ipv4 };
        let protocol = match selector.kind {
            Kind::Tcp => Protocol::Tcp,
            Kind::Udp => Protocol::Udp,
            Kind::Sctp => Protocol::Sctp,
            Kind::Fwmark => {
                return match selector.name {
                    Name::Fwmark(fwmark) => Ok(ServiceKey::Fwmark { fwmark, family }),
                    Name::Address(at) => Err(CliError::Usage(format!(
                        "{at} is not a firewall mark; write `fwmark 7`, or `tcp {at}`"
                    ))),
                };
            }
        };
        match selector.name {
            Name::Address(_) if selector.ipv6 => Err(CliError::Usage(
                "--ipv6 applies only to fwmark services; remove it, the address has its family".to_owned(),
            )),
            Name::Address(at) => Ok(ServiceKey::Address { protocol, address: at.ip(), l4_port: at.port() }),
            Name::Fwmark(fwmark) => Err(CliError::Usage(format!(
                "{fwmark} is not an address and port; write `{protocol} 10.9.9.1:{fwmark}`, or `fwmark {fwmark}`"
            ))),
        }
    }
}

/// Subcommands of `pollux service`.
#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:\n  \
    pollux service add tcp 10.9.9.1:80 --scheduler wlc\n  \
    pollux service add tcp 10.9.9.1:0 --persistence 600 --netmask 255.255.255.0\n  \
    pollux service add udp 10.9.9.1:53 --scheduler sh --hash-l4-port --ops\n  \
    pollux service add fwmark 7 --ipv6 --persistence --prefix-len 64\n  \
    pollux service edit tcp 10.9.9.1:80 --scheduler mh --no-persistence\n  \
    pollux service edit tcp 10.9.9.1:0 --persistence 900")]
pub enum ServiceCommand {
    /// Add a service.
    Add {
        #[command(flatten)]
        #[allow(missing_docs, reason = "described by its type")]
        service: ServiceSelector,
        #[command(flatten)]
        #[allow(missing_docs, reason = "described by its type")]
        options: ServiceOptions,
    },
    /// Change a service; options that are not given keep their values.
    Edit {
        #[command(flatten)]
        #[allow(missing_docs, reason = "described by its type")]
        service: ServiceSelector,
        #[command(flatten)]
        #[allow(missing_docs, reason = "described by its type")]
        options: ServiceOptions,
        /// Turn persistence off.
        #[arg(long, conflicts_with_all = ["persistence", "netmask", "prefix_len", "engine", "no_engine"])]
        no_persistence: bool,
        /// Remove the persistence engine.
        #[arg(long, conflicts_with = "engine")]
        no_engine: bool,
    },
    /// Remove a service and its destinations.
    Remove {
        #[command(flatten)]
        #[allow(missing_docs, reason = "described by its type")]
        service: ServiceSelector,
    },
}

/// Options of a service. Switches also take a value: `--ops=false`.
#[derive(Clone, Debug, Default, Args)]
pub struct ServiceOptions {
    /// Scheduling algorithm. A new service has wlc.
    #[arg(long, value_enum)]
    pub scheduler: Option<Scheduler>,
    /// sh, mh: use another server if the chosen one is unusable.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub fallback: Option<bool>,
    /// sh, mh: include the client's port in the hash.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub hash_l4_port: Option<bool>,
    /// Third scheduler flag of IPVS; no scheduler uses it.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub flag_3: Option<bool>,
    /// Send a client's new connections to the same server until this many seconds after the last one; 360 without a value.
    #[arg(long, num_args = 0..=1, value_name = "SECONDS", default_missing_value = "360")]
    pub persistence: Option<u32>,
    /// Client grouping mask for persistence: 255.255.255.0 treats each /24 as one client.
    #[arg(long, value_name = "MASK")]
    pub netmask: Option<Ipv4Addr>,
    /// Client grouping prefix length for IPv6 persistence: 64 treats each /64 as one client.
    #[arg(long, value_name = "BITS")]
    pub prefix_len: Option<u8>,
    /// Persistence engine: sip keeps the packets of a SIP call (Call-ID, over UDP) on one server.
    #[arg(long, value_enum)]
    pub engine: Option<Engine>,
    /// UDP and fwmark services: one-packet scheduling (OPS), which schedules each UDP packet on its own.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub ops: Option<bool>,
}

impl ServiceOptions {
    fn flags(&self) -> SchedulerFlags {
        let [fallback, hash_l4_port, flag_3] =
            [self.fallback, self.hash_l4_port, self.flag_3].map(Option::unwrap_or_default);
        SchedulerFlags { fallback, hash_l4_port, flag_3 }
    }

    fn flags_edit(&self) -> Option<Option<FlagsEdit>> {
        let edit =
            FlagsEdit { fallback: self.fallback, hash_l4_port: self.hash_l4_port, flag_3: self.flag_3 };
        (edit != FlagsEdit::default()).then_some(Some(edit))
    }

    fn persistence(&self) -> Result<Option<Persistence>, CliError> {
        let ServiceOptions { persistence, netmask, prefix_len, engine, .. } = *self;
        if persistence.is_none() && (netmask.is_some() || prefix_len.is_some() || engine.is_some()) {
            return Err(CliError::Usage(
                "--netmask, --prefix-len and --engine need persistence; add --persistence".to_owned(),
            ));
        }
        Ok(persistence.map(|timeout| Persistence { timeout, netmask, prefix_len, engine }))
    }

    fn persistence_edit(&self, no_engine: bool) -> Option<Option<PersistenceEdit>> {
        let edit = PersistenceEdit {
            timeout: self.persistence.map(Some),
            netmask: self.netmask.map(Some),
            prefix_len: self.prefix_len.map(Some),
            engine: if no_engine { Some(None) } else { self.engine.map(Some) },
        };
        (edit != PersistenceEdit::default()).then_some(Some(edit))
    }
}

/// The request for a subcommand.
///
/// # Errors
/// If the service name does not match its type, or options need others.
pub fn request(command: &ServiceCommand) -> Result<Request, CliError> {
    Ok(match command {
        ServiceCommand::Add { service, options } => {
            let new = Service::new((*service).try_into()?);
            let service = Service {
                scheduler: options.scheduler.unwrap_or(new.scheduler),
                flags: options.flags(),
                persistence: options.persistence()?,
                ops: options.ops.unwrap_or_default(),
                ..new
            };
            Request::ServiceAdd(ServiceAdd { service })
        }
        ServiceCommand::Edit { service, options, no_persistence, no_engine } => {
            let persistence = if *no_persistence { Some(None) } else { options.persistence_edit(*no_engine) };
            Request::ServiceEdit(ServiceEdit {
                service: (*service).try_into()?,
                scheduler: options.scheduler,
                flags: options.flags_edit(),
                persistence,
                ops: options.ops,
            })
        }
        ServiceCommand::Remove { service } => {
            Request::ServiceRemove(ServiceRemove { service: (*service).try_into()? })
        }
    })
}
