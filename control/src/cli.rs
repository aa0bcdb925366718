//! The command line of `pollux`. [`run`] executes a command, [`table`] formats the replies.

pub mod debug;
pub mod destination;
pub mod error;
pub mod fwmarks;
pub mod ipvsadm;
pub mod man;
pub mod modules;
pub mod namespace;
pub mod run;
pub mod service;
mod session;
pub mod settings;
pub mod sysctl;
pub mod table;
#[cfg(test)]
mod tests;
mod values;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

pub use self::debug::DebugCommand;
pub use self::destination::DestinationCommand;
pub use self::fwmarks::FwmarksCommand;
pub use self::modules::ModulesCommand;
pub use self::namespace::NamespaceCommand;
pub use self::service::{OptionalService, ServiceCommand, ServiceSelector};
pub use self::sysctl::SysctlArgs;
use crate::api::socket;
use crate::ipvsadm::command::Table;

/// Control client for polluxd, the layer-4 load balancer.
#[derive(Debug, Parser)]
#[command(
    name = "pollux",
    version,
    after_help = "Examples:\n  \
        pollux check pollux.toml && pollux apply pollux.toml --dry-run\n  \
        pollux service add tcp 10.9.9.1:80 --scheduler wlc\n  \
        pollux destination add tcp 10.9.9.1:80 10.0.2.11:80 --method nat --weight 1\n  \
        pollux list\n  \
        pollux connections --limit 20\n\n\
        Exit status: 0 success, 1 refused or failed, 2 usage error."
)]
pub struct Cli {
    /// Print JSON instead of text.
    #[arg(long, global = true)]
    pub json: bool,
    /// Control socket of polluxd. Without it: POLLUX_SOCKET of the environment, or /run/pollux/control.sock.
    #[arg(long, global = true, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// Namespace to act on. Without it: POLLUX_NAMESPACE of the environment, or the default namespace.
    #[arg(short = 'N', long, global = true, value_name = "NAME")]
    pub namespace: Option<String>,
    /// Command to run.
    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    /// The control socket to use.
    pub fn socket(&self) -> PathBuf {
        socket::path(self.socket.as_deref())
    }

    /// The namespace to act on; `None` for the default one.
    pub fn namespace(&self) -> Option<String> {
        self.namespace.clone().or_else(namespace_of_environment)
    }
}

/// `POLLUX_NAMESPACE`; an empty one counts as unset.
fn namespace_of_environment() -> Option<String> {
    std::env::var("POLLUX_NAMESPACE").ok().filter(|name| !name.is_empty())
}

/// Commands of `pollux`. A new command is a variant here and an arm in [`run::run`].
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Replace the running configuration with a file, all or nothing.
    Apply {
        /// Configuration file, TOML or JSON by its extension.
        file: PathBuf,
        /// Show the changes without making them.
        #[arg(long)]
        dry_run: bool,
    },
    /// Add, change or remove a service.
    #[command(subcommand)]
    Service(ServiceCommand),
    /// Add, change or remove a destination of a service.
    #[command(subcommand)]
    Destination(DestinationCommand),
    /// Remove every service, as `ipvsadm -C` does.
    Flush,
    /// Change timeouts and switches.
    #[command(subcommand)]
    Settings(SettingsCommand),
    /// Show or replace the rules that set the firewall mark (fwmark) of packets.
    #[command(subcommand)]
    Fwmarks(FwmarksCommand),
    /// Add, remove or list namespaces: ports or VLANs with their own services, settings and connections.
    #[command(subcommand)]
    Namespace(NamespaceCommand),
    /// Show or set the net.ipv4.vs.* variables, with the syntax of sysctl(8).
    Sysctl(SysctlArgs),
    /// Zero the counters and rates of one service or of all, as `ipvsadm -Z` does.
    Zero(OptionalService),
    /// List services and destinations, as `ipvsadm -Ln` does.
    List(ListArgs),
    /// List connections, as `ipvsadm -Lnc` does.
    Connections {
        /// Show at most this many connections.
        #[arg(long, value_name = "N", default_value_t = 1000, value_parser = values::count)]
        limit: u32,
        /// Show all connections.
        #[arg(long, conflicts_with = "limit")]
        all: bool,
    },
    /// Show the counters of workers and ports, and the totals of all services.
    Stats,
    /// Choose and follow debug events, as with the kernel's debug_level and dynamic debug.
    #[command(arg_required_else_help = true)]
    Debug {
        /// Print the enabled debug events as they happen; Ctrl-C ends.
        #[arg(long)]
        follow: bool,
        /// Subcommand.
        #[command(subcommand)]
        command: Option<DebugCommand>,
    },
    /// List protocols, schedulers, persistence engines and forwarding methods with their users, or switch them on and off.
    Modules {
        /// Subcommand; without one, list the modules.
        #[command(subcommand)]
        command: Option<ModulesCommand>,
    },
    /// Print the running configuration as TOML.
    Config,
    /// Print the JSON Schema of the configuration and of the control socket.
    Schema,
    /// Report every error in a configuration file. Needs no daemon.
    Check {
        /// Configuration file, TOML or JSON by its extension.
        file: PathBuf,
    },
    /// Check whether this machine is ready for polluxd, with a fix for each problem. Changes nothing.
    CheckHost,
    /// Replay recorded packet traces and report differences. Needs no daemon, no DPDK and no root.
    Replay {
        /// Case file, or a directory of case files.
        path: PathBuf,
    },
    /// Print the manual page of pollux, or write all manual pages to a directory.
    Man {
        /// Existing directory to write all pages to, polluxd(8) and ipvsadm(8) included.
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
    /// Run an ipvsadm 1.31 command line on polluxd, such as `pollux ipvsadm -Ln`. Through a link named ipvsadm, pollux behaves
    /// as ipvsadm.
    #[command(disable_help_flag = true)]
    Ipvsadm {
        /// Arguments as for ipvsadm.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGS")]
        args: Vec<String>,
    },
    /// Show the daemon's version.
    Version,
    /// Stop the daemon.
    Stop,
}

/// Options of `pollux list`.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct ListArgs {
    /// Show connection, packet and byte counters, updated every 2 s by the estimator.
    #[arg(long, group = "table")]
    pub stats: bool,
    /// Show the rates per second instead.
    #[arg(long, group = "table")]
    pub rate: bool,
    /// Show the connection thresholds of destinations.
    #[arg(long, group = "table")]
    pub thresholds: bool,
    /// Show the number of persistent connections.
    #[arg(long, group = "table")]
    pub persistent: bool,
    /// Show the tunnel type of destinations.
    #[arg(long, group = "table")]
    pub tunnels: bool,
    /// Print exact numbers, without K, M and G.
    #[arg(long)]
    pub exact: bool,
}

impl ListArgs {
    /// The table selected by the options.
    pub fn table(&self) -> Table {
        match self {
            ListArgs { stats: true, .. } => Table::Stats,
            ListArgs { rate: true, .. } => Table::Rate,
            ListArgs { thresholds: true, .. } => Table::Thresholds,
            ListArgs { persistent: true, .. } => Table::Persistent,
            ListArgs { tunnels: true, .. } => Table::TunnelInfo,
            _ => Table::Plain,
        }
    }
}

/// Subcommands of `pollux settings`.
#[derive(Debug, Subcommand)]
#[command(
    after_help = "Example: pollux settings set tcp_timeout=600 timeouts.tcp.SYN_RECV=30 expire_nodest_conn=1\n\n`pollux schema` lists every setting with its meaning."
)]
pub enum SettingsCommand {
    /// Change the given settings; all others keep their values.
    Set {
        /// A key of [settings] in the configuration file and its new value.
        #[arg(required = true, value_name = "KEY=VALUE", value_parser = settings::change)]
        changes: Vec<settings::Change>,
    },
}
