//! Carries a command out on a configuration, and says in the kernel's words why it cannot.

use thiserror::Error;

use super::command::Command;
use crate::edit::{self, DestinationEdit, EditError, Errno, ServiceEdit, SettingsEdit};
use crate::model::{Config, ServiceKey};
use crate::request::{
    DestinationAdd, DestinationRemove, Edit, NoParams, ServiceAdd, ServiceQuery, ServiceRemove,
};

/// Why a command that was understood is not carried out.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// The edit does not fit.
    #[error("{0}")]
    Edit(#[from] EditError),
    /// Nobody has a scheduler or a persistence engine of that name.
    #[error("there is no scheduler or persistence engine {0}")]
    NobodyHas(String),
    /// There is no sync daemon to stop.
    #[error("no connection sync daemon is running")]
    NoDaemon,
    /// A sync daemon was to speak on an interface that is not there.
    #[error("there is no interface {0}")]
    NoDevice(String),
    /// Connection sync is not there yet.
    #[error("connection sync is not supported yet")]
    NoSync,
}

/// What the daemon is to change for a command.
///
/// # Errors
/// Gives the command back if it only reads, or nobody can carry it out.
pub fn edit(command: Command) -> Result<Edit, Command> {
    Ok(match command {
        Command::AddService(service) => Edit::ServiceAdd(ServiceAdd { service }),
        Command::EditService(new) => Edit::ServiceEdit(ServiceEdit::replacing(new)),
        Command::DeleteService(service) => Edit::ServiceRemove(ServiceRemove { service }),
        Command::Clear => Edit::ServiceFlush(NoParams {}),
        Command::AddDestination(service, destination) => {
            Edit::DestinationAdd(DestinationAdd { service, destination })
        }
        Command::EditDestination(service, new) => {
            Edit::DestinationEdit(DestinationEdit::replacing(service, &new))
        }
        Command::DeleteDestination(service, destination) => {
            Edit::DestinationRemove(DestinationRemove { service, destination })
        }
        Command::Zero(service) => Edit::StatsZero(ServiceQuery { service }),
        Command::SetTimeouts { tcp, tcp_fin, udp } => Edit::SettingsSet(timeouts(tcp, tcp_fin, udp)),
        other @ (Command::NobodyHas { .. }
        | Command::StartDaemon { .. }
        | Command::StopDaemon
        | Command::List(_)
        | Command::Save { .. }
        | Command::Restore
        | Command::Help
        | Command::Version) => return Err(other),
    })
}

/// Changes `config` as the command says. Commands that only read, and `-Z`, change nothing here.
///
/// # Errors
/// What the kernel would refuse; `config` is then as it was. [`refusal`] puts it in the words of `ipvsadm`.
pub fn apply(command: &Command, config: &mut Config) -> Result<(), Refusal> {
    let is_there = |config: &Config, key: &ServiceKey| config.services.iter().any(|s| s.key() == *key);
    match command {
        Command::NobodyHas { edit, service, name } => {
            return Err(nobody_has(*edit, *service, is_there(config, service), name));
        }
        Command::StopDaemon => return Err(Refusal::NoDaemon),
        Command::StartDaemon { interface } => {
            let known = |name: &str| config.network.iter().flat_map(|f| &f.links).any(|l| l.name == name);
            return Err(no_sync(interface.as_deref(), known));
        }
        _ => {}
    }
    Ok(edit(command.clone()).map_or(Ok(()), |edit| edit::carry_out(config, edit))?)
}

/// Why a service cannot have a scheduler or an engine that nobody has: the kernel looks for the service first.
pub(super) fn nobody_has(edit: bool, service: ServiceKey, is_there: bool, name: &str) -> Refusal {
    match (edit, is_there) {
        (false, true) => EditError::ServiceExists(service).into(),
        (true, false) => EditError::NoSuchService(service).into(),
        _ => Refusal::NobodyHas(name.to_owned()),
    }
}

/// Why a sync daemon does not start.
pub(super) fn no_sync(interface: Option<&str>, known: impl Fn(&str) -> bool) -> Refusal {
    let name = interface.unwrap_or("eth0");
    if known(name) { Refusal::NoSync } else { Refusal::NoDevice(name.to_owned()) }
}

/// What `ipvsadm` prints for an error of the kernel, before it ends with status 255.
pub fn refusal(why: &Refusal) -> &'static str {
    match why {
        Refusal::Edit(
            error @ (EditError::ServiceNotDefined { .. } | EditError::DestinationExists { .. }),
        ) => words(error.errno(), true),
        Refusal::Edit(error @ EditError::NoSuchDestination { .. }) => words(error.errno(), true),
        Refusal::Edit(EditError::NoSuchSysctl(_)) => "No such file or directory",
        Refusal::Edit(error) => words(error.errno(), false),
        Refusal::NobodyHas(_) => "Scheduler or persistence engine not found",
        Refusal::NoDaemon => "No daemon is running",
        Refusal::NoDevice(_) => "No such device",
        Refusal::NoSync => "connection sync is not supported by polluxd yet: no sync daemon can be started",
    }
}

/// The words for an error about a service, or about a destination.
pub(super) fn words(errno: Errno, destination: bool) -> &'static str {
    match (errno, destination) {
        (Errno::EExist, false) => "Service already exists",
        (Errno::EExist, true) => "Destination already exists",
        (Errno::ESrch, false) => "No such service",
        (Errno::ESrch, true) => "Service not defined",
        (Errno::ENoEnt, false) => "Scheduler or persistence engine not found",
        (Errno::ENoEnt, true) => "No such destination",
        (Errno::ERange, _) => "Numerical result out of range",
        (Errno::ENoMem, _) => "Memory allocation error",
        (Errno::EInval, _) => "Invalid operation.  Possibly wrong module version, address not unicast, ...",
    }
}

/// Zero keeps what is set.
fn timeouts(tcp: u32, tcp_fin: u32, udp: u32) -> SettingsEdit {
    let given = |seconds: u32| (seconds != 0).then_some(seconds);
    SettingsEdit {
        tcp_timeout: given(tcp),
        tcp_fin_timeout: given(tcp_fin),
        udp_timeout: given(udp),
        ..SettingsEdit::default()
    }
}
