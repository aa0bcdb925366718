//! Carries a command out on a configuration, and says in the kernel's words why it cannot.

use super::command::Command;
use crate::edit::{self, EditError, SettingsEdit};
use crate::model::Config;

/// Changes `config` as the command says. Commands that only read, and `-Z`, change nothing here.
///
/// # Errors
/// What the kernel would refuse; `config` is then as it was. [`refusal`] puts it in the words of `ipvsadm`.
pub fn apply(command: &Command, config: &mut Config) -> Result<(), EditError> {
    match command {
        Command::AddService(service) => edit::add_service(config, service.clone()),
        Command::EditService(new) => edit::replace_service(config, new.clone()),
        Command::DeleteService(key) => edit::remove_service(config, *key),
        Command::Clear => {
            edit::flush(config);
            Ok(())
        }
        Command::AddDestination(key, new) => edit::add_destination(config, *key, new.clone()),
        Command::EditDestination(key, new) => edit::replace_destination(config, *key, new.clone()),
        Command::DeleteDestination(key, gone) => edit::remove_destination(config, *key, *gone),
        Command::Zero(Some(key)) if !config.services.iter().any(|s| s.key() == *key) => {
            Err(EditError::NoSuchService(*key))
        }
        Command::SetTimeouts { tcp, tcp_fin, udp } => {
            edit::set_settings(config, &timeouts(*tcp, *tcp_fin, *udp))
        }
        Command::Zero(_) | Command::List(_) | Command::Save | Command::Restore => Ok(()),
    }
}

/// What `ipvsadm` prints for an error of the kernel, before it ends with status 255.
pub fn refusal(error: &EditError) -> &'static str {
    match error {
        EditError::ServiceExists(_) => "Service already exists",
        EditError::NoSuchService(_) => "No such service",
        EditError::ServiceNotDefined { .. } => "Service not defined",
        EditError::DestinationExists { .. } => "Destination already exists",
        EditError::NoSuchDestination { .. } => "No such destination",
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
