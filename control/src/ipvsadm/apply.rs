//! Applies a command to a configuration, with the kernel's error messages.

use thiserror::Error;

use super::command::Command;
use crate::api::request::{
    DestinationAdd, DestinationRemove, Edit, NoParams, ServiceAdd, ServiceQuery, ServiceRemove,
};
use crate::model::edit::{self, DestinationEdit, EditError, Errno, ServiceEdit, SettingsEdit, Step};
use crate::model::{Config, ServiceKey};

/// Reason for refusing a valid command.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// The edit does not fit.
    #[error("{0}")]
    Edit(#[from] EditError),
    /// There is no scheduler or persistence engine of that name.
    #[error("there is no scheduler or persistence engine {0}")]
    UnknownName(String),
    /// There is no sync daemon to stop.
    #[error("no connection sync daemon is running")]
    NoDaemon,
    /// The interface for the sync daemon does not exist.
    #[error("there is no interface {0}")]
    NoDevice(String),
    /// Connection sync is not supported yet.
    #[error("connection sync is not supported yet")]
    NoSync,
}

/// The edit that a command asks for.
///
/// # Errors
/// Returns the command if it only reads or cannot be carried out.
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
        Command::SetTimeouts { tcp, tcp_fin, udp } => {
            Edit::SettingsSet(Box::new(timeouts(tcp, tcp_fin, udp)))
        }
        other @ (Command::UnknownName { .. }
        | Command::StartDaemon { .. }
        | Command::StopDaemon
        | Command::List(_)
        | Command::Save { .. }
        | Command::Restore
        | Command::Help
        | Command::Version) => return Err(other),
    })
}

/// Applies the command to `config` and returns the steps. Commands that only read, and `-Z`, change nothing here.
///
/// # Errors
/// If the kernel would refuse it; `config` is then unchanged. [`refusal`] gives the message of `ipvsadm`.
pub fn apply(command: &Command, config: &mut Config) -> Result<Vec<Step>, Refusal> {
    let exists = |config: &Config, key: &ServiceKey| config.services.iter().any(|s| s.key == *key);
    match command {
        Command::UnknownName { edit, service, name } => {
            return Err(unknown_name(*edit, *service, exists(config, service), name));
        }
        Command::StopDaemon => return Err(Refusal::NoDaemon),
        Command::StartDaemon { interface } => {
            let known = |name: &str| {
                config.network.iter().flat_map(|state| &state.links).any(|link| link.name == name)
            };
            return Err(no_sync(interface.as_deref(), known));
        }
        _ => {}
    }
    Ok(edit(command.clone()).map_or(Ok(Vec::new()), |edit| edit::apply_edit(config, edit))?)
}

/// The error for an unknown scheduler or engine. The kernel looks for the service first.
pub(super) fn unknown_name(edit: bool, service: ServiceKey, exists: bool, name: &str) -> Refusal {
    match (edit, exists) {
        (false, true) => EditError::ServiceExists(service).into(),
        (true, false) => EditError::NoSuchService(service).into(),
        _ => Refusal::UnknownName(name.to_owned()),
    }
}

/// The error for starting a sync daemon.
pub(super) fn no_sync(interface: Option<&str>, known: impl Fn(&str) -> bool) -> Refusal {
    let name = interface.unwrap_or("eth0");
    if known(name) { Refusal::NoSync } else { Refusal::NoDevice(name.to_owned()) }
}

/// The message of `ipvsadm` for an error of the kernel; the exit status is 255.
pub fn refusal(why: &Refusal) -> &'static str {
    match why {
        Refusal::Edit(
            error @ (EditError::ServiceNotDefined { .. } | EditError::DestinationExists { .. }),
        ) => words(error.errno(), true),
        Refusal::Edit(error @ EditError::NoSuchDestination { .. }) => words(error.errno(), true),
        Refusal::Edit(EditError::NoSuchSysctl(_)) => "No such file or directory",
        Refusal::Edit(error) => words(error.errno(), false),
        Refusal::UnknownName(_) => "Scheduler or persistence engine not found",
        Refusal::NoDaemon => "No daemon is running",
        Refusal::NoDevice(_) => "No such device",
        Refusal::NoSync => "connection sync is not supported by polluxd yet: no sync daemon can be started",
    }
}

/// The message for an error number, about a service or a destination.
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

/// Zero keeps the current value.
fn timeouts(tcp: u32, tcp_fin: u32, udp: u32) -> SettingsEdit {
    let given = |seconds: u32| (seconds != 0).then_some(seconds);
    SettingsEdit {
        tcp_timeout: given(tcp),
        tcp_fin_timeout: given(tcp_fin),
        udp_timeout: given(udp),
        ..SettingsEdit::default()
    }
}
