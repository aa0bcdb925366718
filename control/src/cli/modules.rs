//! `pollux modules`: the modules of the balancer, as lsmod(8) lists the kernel's.

use std::fmt::Write;

use clap::Subcommand;

use super::error::CliError;
use super::session::Session;
use crate::api::request::{NoParams, Request};
use crate::api::view::{ModuleList, ModuleView};
use crate::model::edit::ModuleSet;

/// Subcommands of `pollux modules`.
#[derive(Clone, Debug, Subcommand)]
pub enum ModulesCommand {
    /// Switch modules off: packets of the protocol then pass to the kernel; a scheduler or engine cannot be used.
    Disable {
        /// Names from the list; no service may use them.
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Switch modules on again.
    Enable {
        /// Names from the list.
        #[arg(required = true)]
        names: Vec<String>,
    },
}

/// Executes a subcommand, or lists the modules.
pub(super) fn run(command: Option<&ModulesCommand>, session: &Session) -> Result<String, CliError> {
    let set = |disable: &[String], enable: &[String]| {
        session.send(&Request::ModuleSet(ModuleSet {
            disable: disable.iter().cloned().collect(),
            enable: enable.iter().cloned().collect(),
        }))
    };
    match command {
        None => session.show(&Request::ModuleList(NoParams {}), table),
        Some(ModulesCommand::Disable { names }) => set(names, &[]),
        Some(ModulesCommand::Enable { names }) => set(&[], names),
    }
}

/// One line per module.
fn table(list: &ModuleList) -> String {
    let mut out = format!("{:<14} {:<10} {:<5} {:>10}  Used by\n", "Module", "Kind", "State", "Size");
    for module in &list.modules {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{}", row(module).trim_end());
    }
    out
}

fn row(module: &ModuleView) -> String {
    let state = if module.enabled { "on" } else { "off" };
    let size = module.bytes.map_or_else(|| "-".to_owned(), |bytes| bytes.to_string());
    let users: Vec<String> = module.used_by.iter().map(ToString::to_string).collect();
    let (kind, users) = (module.kind.name(), users.join(", "));
    format!("{:<14} {kind:<10} {state:<5} {size:>10}  {} {users}", module.name, module.uses)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Config, Service, ServiceKey};

    #[test]
    fn a_line_shows_the_users_of_a_module() {
        let mut config = Config::default();
        let key = ServiceKey::Address {
            protocol: crate::model::Protocol::Tcp,
            address: [10, 9, 9, 1].into(),
            l4_port: 80,
        };
        config.services.push(Service::new(key));
        config.settings.disabled_modules.insert("ip_vs_sctp".to_owned());
        let text = table(&crate::engine::modules::list(&config, 4096));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "Module         Kind       State       Size  Used by");
        assert_eq!(lines[1], "ip_vs          core       on          4096  1 tcp 10.9.9.1:80");
        assert_eq!(lines[4], "ip_vs_sctp     protocol   off            -  0");
    }
}
