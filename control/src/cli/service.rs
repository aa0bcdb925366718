//! `pollux service`: which service, and everything that can be said about one.

use std::net::{Ipv4Addr, SocketAddr};

use clap::{Args, Subcommand, ValueEnum};

use super::run::CliError;
use crate::edit::ServiceEdit;
use crate::model::{Engine, Family, Persistence, Protocol, Scheduler, SchedulerFlags, Service, ServiceKey};
use crate::request::{Request, ServiceAdd, ServiceRemove};

/// Which service.
#[derive(Clone, Copy, Debug, Args)]
pub struct Which {
    /// What the name is: an address of this protocol, or a mark.
    #[arg(value_enum, value_name = "KIND")]
    pub kind: Kind,
    /// Virtual address and port: 10.9.9.1:80, [2001:db8::1]:80; port 0 is any. Of a mark its number.
    #[arg(value_name = "ADDRESS:PORT|MARK", value_parser = name)]
    pub name: Name,
    /// The mark is that of IPv6 packets.
    #[arg(long)]
    pub ipv6: bool,
}

/// Which service, or all.
#[derive(Clone, Copy, Debug, Args)]
pub struct WhichIfAny {
    /// What the name is: an address of this protocol, or a mark.
    #[arg(value_enum, value_name = "KIND", requires = "name")]
    pub kind: Option<Kind>,
    /// Virtual address and port, or the number of a mark.
    #[arg(value_name = "ADDRESS:PORT|MARK", value_parser = name)]
    pub name: Option<Name>,
    /// The mark is that of IPv6 packets.
    #[arg(long, requires = "kind")]
    pub ipv6: bool,
}

impl WhichIfAny {
    /// The service; none when all are meant.
    ///
    /// # Errors
    /// When kind and name do not fit.
    pub fn key(self) -> Result<Option<ServiceKey>, CliError> {
        let WhichIfAny { kind, name, ipv6 } = self;
        let which = kind.zip(name).map(|(kind, name)| Which { kind, name, ipv6 });
        which.map(ServiceKey::try_from).transpose()
    }
}

/// Kinds of services.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// TCP to an address.
    Tcp,
    /// UDP to an address.
    Udp,
    /// SCTP to an address.
    Sctp,
    /// Packets that `pollux fwmarks` gave this number.
    Fwmark,
}

/// Names of services.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    /// An address and a port.
    Address(SocketAddr),
    /// A mark.
    Fwmark(u32),
}

fn name(text: &str) -> Result<Name, String> {
    let fwmark = || text.parse().map(Name::Fwmark);
    let address = text.parse().map(Name::Address);
    address.or_else(|_| fwmark()).map_err(|_| {
        "write an address with its port, as in 10.9.9.1:80 or [2001:db8::1]:80, or the number of a fwmark"
            .to_owned()
    })
}

impl TryFrom<Which> for ServiceKey {
    type Error = CliError;

    fn try_from(which: Which) -> Result<ServiceKey, CliError> {
        let family = if which.ipv6 { Family::Ipv6 } else { Family::Ipv4 };
        let protocol = match which.kind {
            Kind::Tcp => Protocol::Tcp,
            Kind::Udp => Protocol::Udp,
            Kind::Sctp => Protocol::Sctp,
            Kind::Fwmark => {
                return match which.name {
                    Name::Fwmark(fwmark) => Ok(ServiceKey::Fwmark { fwmark, family }),
                    Name::Address(at) => {
                        Err(CliError::Usage(format!("{at} is no fwmark; write its number, as in `fwmark 7`")))
                    }
                };
            }
        };
        match which.name {
            Name::Address(_) if which.ipv6 => {
                Err(CliError::Usage("--ipv6 is for fwmarks; the address says it here".to_owned()))
            }
            Name::Address(at) => Ok(ServiceKey::Address { protocol, address: at.ip(), l4_port: at.port() }),
            Name::Fwmark(fwmark) => Err(CliError::Usage(format!(
                "{fwmark} is no address; write `{protocol} ADDRESS:PORT`, or `fwmark {fwmark}`"
            ))),
        }
    }
}

/// What can be done to a service.
#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:\n  \
    pollux service add tcp 10.9.9.1:80 --scheduler wlc\n  \
    pollux service add tcp 10.9.9.1:0 --persistence 600 --netmask 255.255.255.0\n  \
    pollux service add udp 10.9.9.1:53 --scheduler sh --hash-l4-port --ops\n  \
    pollux service add fwmark 7 --ipv6 --persistence --prefix-len 64\n  \
    pollux service edit tcp 10.9.9.1:80 --scheduler mh --no-persistence")]
pub enum ServiceCommand {
    /// Add a service.
    Add {
        #[command(flatten)]
        #[allow(missing_docs, reason = "described by its type")]
        which: Which,
        #[command(flatten)]
        #[allow(missing_docs, reason = "described by its type")]
        options: ServiceOptions,
    },
    /// Change a service; what is not given stays.
    Edit {
        #[command(flatten)]
        #[allow(missing_docs, reason = "described by its type")]
        which: Which,
        #[command(flatten)]
        #[allow(missing_docs, reason = "described by its type")]
        options: ServiceOptions,
        /// Clients no longer stick to a destination.
        #[arg(long, conflicts_with = "persistence")]
        no_persistence: bool,
    },
    /// Remove a service and its destinations.
    Remove {
        #[command(flatten)]
        #[allow(missing_docs, reason = "described by its type")]
        which: Which,
    },
}

/// What can be said about a service. A switch may be given as `--switch=false`, too.
#[derive(Clone, Debug, Default, Args)]
pub struct ServiceOptions {
    /// How destinations are chosen; wlc unless given.
    #[arg(long, value_enum)]
    pub scheduler: Option<Scheduler>,
    /// sh, mh: look further when the first choice cannot be used. Of this and the two below, those not given are off if
    /// one is given.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub fallback: Option<bool>,
    /// sh, mh: hash the client's port, too.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub hash_l4_port: Option<bool>,
    /// A switch that IPVS keeps and no scheduler uses.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub flag_3: Option<bool>,
    /// Clients stick to a destination for so many seconds after their last new connection; 360 unless given.
    #[arg(long, num_args = 0..=1, value_name = "SECONDS", default_missing_value = "360")]
    pub persistence: Option<u32>,
    /// Which IPv4 clients are one: 255.255.255.0 makes a /24 one client.
    #[arg(long, value_name = "MASK", requires = "persistence")]
    pub netmask: Option<Ipv4Addr>,
    /// Which IPv6 clients are one: so many bits of their addresses.
    #[arg(long, value_name = "BITS", requires = "persistence")]
    pub prefix_len: Option<u8>,
    /// Tell clients apart by what they say, too: the Call-ID of SIP over UDP.
    #[arg(long, value_enum, requires = "persistence")]
    pub engine: Option<Engine>,
    /// UDP: every packet is scheduled anew.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub ops: Option<bool>,
}

impl ServiceOptions {
    fn flags(&self) -> Option<SchedulerFlags> {
        let given = [self.fallback, self.hash_l4_port, self.flag_3];
        let [fallback, l4_port, flag_3] = given.map(Option::unwrap_or_default);
        given.iter().any(Option::is_some).then_some(SchedulerFlags { fallback, l4_port, flag_3 })
    }

    fn persistence(&self) -> Option<Persistence> {
        let ServiceOptions { netmask, prefix_len, engine, .. } = *self;
        self.persistence.map(|timeout| Persistence { timeout, netmask, prefix_len, engine })
    }
}

/// What the daemon is asked for.
///
/// # Errors
/// When kind and name of the service do not fit.
pub fn request(command: &ServiceCommand) -> Result<Request, CliError> {
    Ok(match command {
        ServiceCommand::Add { which, options } => {
            let new = Service::new((*which).try_into()?);
            let service = Service {
                scheduler: options.scheduler.unwrap_or(new.scheduler),
                flags: options.flags().unwrap_or_default(),
                persistence: options.persistence(),
                ops: options.ops.unwrap_or_default(),
                ..new
            };
            Request::ServiceAdd(ServiceAdd { service })
        }
        ServiceCommand::Edit { which, options, no_persistence } => Request::ServiceEdit(ServiceEdit {
            service: (*which).try_into()?,
            scheduler: options.scheduler,
            flags: options.flags(),
            persistence: if *no_persistence { Some(None) } else { options.persistence().map(Some) },
            ops: options.ops,
        }),
        ServiceCommand::Remove { which } => {
            Request::ServiceRemove(ServiceRemove { service: (*which).try_into()? })
        }
    })
}
