//! Carries a command out on a configuration, and says in the kernel's words why it cannot.

use thiserror::Error;

use super::command::Command;
use crate::edit::{self, EditError, SettingsEdit};
use crate::model::{Config, ServiceKey};

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

/// Changes `config` as the command says. Commands that only read, and `-Z`, change nothing here.
///
/// # Errors
/// What the kernel would refuse; `config` is then as it was. [`refusal`] puts it in the words of `ipvsadm`.
pub fn apply(command: &Command, config: &mut Config) -> Result<(), Refusal> {
    let is_there = |config: &Config, key: &ServiceKey| config.services.iter().any(|s| s.key() == *key);
    match command {
        Command::AddService(service) => edit::add_service(config, service.clone())?,
        Command::EditService(new) => edit::replace_service(config, new.clone())?,
        Command::DeleteService(key) => edit::remove_service(config, *key)?,
        Command::Clear => edit::flush(config),
        Command::AddDestination(key, new) => edit::add_destination(config, *key, new.clone())?,
        Command::EditDestination(key, new) => edit::replace_destination(config, *key, new.clone())?,
        Command::DeleteDestination(key, gone) => edit::remove_destination(config, *key, *gone)?,
        Command::Zero(Some(key)) if !is_there(config, key) => {
            return Err(EditError::NoSuchService(*key).into());
        }
        Command::SetTimeouts { tcp, tcp_fin, udp } => {
            edit::set_settings(config, &timeouts(*tcp, *tcp_fin, *udp))?;
        }
        // The kernel looks for the service first.
        Command::NobodyHas { edit, service, name } => {
            return Err(match (edit, is_there(config, service)) {
                (false, true) => EditError::ServiceExists(*service).into(),
                (true, false) => EditError::NoSuchService(*service).into(),
                _ => Refusal::NobodyHas(name.clone()),
            });
        }
        Command::StopDaemon => return Err(Refusal::NoDaemon),
        Command::StartDaemon { interface } => return Err(no_sync(config, interface.as_deref())),
        Command::Zero(_)
        | Command::List(_)
        | Command::Save
        | Command::Restore
        | Command::Help
        | Command::Version => {}
    }
    Ok(())
}

fn no_sync(config: &Config, interface: Option<&str>) -> Refusal {
    let name = interface.unwrap_or("eth0");
    let known = config.facts.iter().flat_map(|facts| &facts.links).any(|link| link.name == name);
    if known { Refusal::NoSync } else { Refusal::NoDevice(name.to_owned()) }
}

/// What `ipvsadm` prints for an error of the kernel, before it ends with status 255.
pub fn refusal(why: &Refusal) -> &'static str {
    let error = match why {
        Refusal::Edit(error) => error,
        Refusal::NobodyHas(_) => return "Scheduler or persistence engine not found",
        Refusal::NoDaemon => return "No daemon is running",
        Refusal::NoDevice(_) => return "No such device",
        Refusal::NoSync => return "Protocol not available",
    };
    match error {
        EditError::ServiceExists(_) => "Service already exists",
        EditError::NoSuchService(_) => "No such service",
        EditError::ServiceNotDefined { .. } => "Service not defined",
        EditError::DestinationExists { .. } => "Destination already exists",
        EditError::NoSuchDestination { .. } => "No such destination",
        EditError::NoSuchSysctl(_) | EditError::NoSuchNamespace(_) => "No such file or directory",
        EditError::NamespaceExists(_) => "File exists",
        EditError::WeightOutOfRange(_) | EditError::ThresholdsCrossed { .. } => {
            "Numerical result out of range"
        }
        EditError::Full { .. } => "Memory allocation problem",
        EditError::Invalid(_) => {
            "Invalid operation.  Possibly wrong module version, address not unicast, ..."
        }
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
