//! Carries a command out on a configuration, and refuses what the kernel would refuse, in its words.

use std::net::IpAddr;

use thiserror::Error;

use super::command::Command;
use crate::model::{Config, Destination, DestinationKey, Service, ServiceKey};

/// What the kernel says instead of doing as it is told; `ipvsadm` prints it and ends with status 255.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// EEXIST for a service.
    #[error("Service already exists")]
    ServiceExists,
    /// ESRCH for a service.
    #[error("No such service")]
    NoSuchService,
    /// ESRCH for the service of a destination.
    #[error("Service not defined")]
    ServiceNotDefined,
    /// EEXIST for a destination.
    #[error("Destination already exists")]
    DestinationExists,
    /// ENOENT for a destination.
    #[error("No such destination")]
    NoSuchDestination,
    /// EINVAL.
    #[error("Invalid operation.  Possibly wrong module version, address not unicast, ...")]
    Invalid,
}

/// Changes `config` as the command says. Commands that only read, and `-Z`, change nothing here.
///
/// # Errors
/// What the kernel would refuse; `config` is then as it was.
pub fn apply(command: &Command, config: &mut Config) -> Result<(), Refusal> {
    match command {
        Command::AddService(service) => add_service(config, service),
        Command::EditService(new) => {
            find(config, new.key(), Refusal::NoSuchService)?.scheduler = new.scheduler;
            Ok(())
        }
        Command::DeleteService(key) => {
            let at = config.services.iter().position(|s| s.key() == *key).ok_or(Refusal::NoSuchService)?;
            config.services.remove(at);
            Ok(())
        }
        Command::Clear => {
            config.services.clear();
            Ok(())
        }
        Command::AddDestination(key, new) => add_destination(config, *key, new),
        Command::EditDestination(key, new) => edit_destination(config, *key, new),
        Command::DeleteDestination(key, gone) => delete_destination(config, *key, gone),
        Command::Zero(Some(key)) => find(config, *key, Refusal::NoSuchService).map(drop),
        Command::SetTimeouts { tcp, tcp_fin, udp } => {
            set_timeouts(config, [*tcp, *tcp_fin, *udp]);
            Ok(())
        }
        Command::Zero(None) | Command::List(_) | Command::Save | Command::Restore => Ok(()),
    }
}

fn find(config: &mut Config, key: ServiceKey, refusal: Refusal) -> Result<&mut Service, Refusal> {
    config.services.iter_mut().find(|s| s.key() == key).ok_or(refusal)
}

fn add_service(config: &mut Config, service: &Service) -> Result<(), Refusal> {
    if config.services.iter().any(|s| s.key() == service.key()) {
        return Err(Refusal::ServiceExists);
    }
    config.services.push(service.clone());
    Ok(())
}

fn add_destination(config: &mut Config, key: ServiceKey, new: &Destination) -> Result<(), Refusal> {
    let service = find(config, key, Refusal::ServiceNotDefined)?;
    if service.destinations.iter().any(|d| d.key() == new.key()) {
        return Err(Refusal::DestinationExists);
    }
    if !is_unicast(new.address) {
        return Err(Refusal::Invalid);
    }
    service.destinations.push(new.clone());
    Ok(())
}

fn edit_destination(config: &mut Config, key: ServiceKey, new: &Destination) -> Result<(), Refusal> {
    let service = find(config, key, Refusal::ServiceNotDefined)?;
    let found = service.destinations.iter_mut().find(|d| d.key() == new.key());
    *found.ok_or(Refusal::NoSuchDestination)? = new.clone();
    Ok(())
}

fn delete_destination(config: &mut Config, key: ServiceKey, gone: &DestinationKey) -> Result<(), Refusal> {
    let service = find(config, key, Refusal::ServiceNotDefined)?;
    let at = service.destinations.iter().position(|d| d.key() == *gone);
    service.destinations.remove(at.ok_or(Refusal::NoSuchDestination)?);
    Ok(())
}

/// Zero keeps what is set.
fn set_timeouts(config: &mut Config, [tcp, tcp_fin, udp]: [u32; 3]) {
    let settings = &mut config.settings;
    let fields = [&mut settings.tcp_timeout, &mut settings.tcp_fin_timeout, &mut settings.udp_timeout];
    for (field, seconds) in fields.into_iter().zip([tcp, tcp_fin, udp]) {
        if seconds != 0 {
            *field = seconds;
        }
    }
}

fn is_unicast(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => !v4.is_multicast() && !v4.is_broadcast() && !v4.is_unspecified(),
        IpAddr::V6(v6) => !v6.is_multicast() && !v6.is_unspecified(),
    }
}
