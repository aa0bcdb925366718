//! The command line of `pollux`: what can be typed. [`run`] does it, [`table`] prints what comes back.

pub mod debug;
pub mod destination;
pub mod fwmarks;
pub mod ipvsadm;
pub mod man;
pub mod modules;
pub mod namespace;
pub mod run;
pub mod service;
pub mod settings;
pub mod sysctl;
pub mod table;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

pub use self::debug::DebugCommand;
pub use self::destination::DestinationCommand;
pub use self::fwmarks::FwmarksCommand;
pub use self::modules::ModulesCommand;
pub use self::namespace::NamespaceCommand;
pub use self::service::{ServiceCommand, Which, WhichIfAny};
pub use self::sysctl::SysctlArgs;
use crate::ipvsadm::command::Table;
use crate::socket::DEFAULT_PATH;

/// Steers polluxd, the layer-4 load balancer.
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
        Exit status: 0 done, 1 refused or failed, 2 not understood."
)]
pub struct Cli {
    /// Print JSON instead of text.
    #[arg(long, global = true)]
    pub json: bool,
    /// The daemon's control socket.
    #[arg(long, global = true, value_name = "PATH", env = "POLLUX_SOCKET", default_value = DEFAULT_PATH)]
    pub socket: PathBuf,
    /// The namespace that is meant; the default one when absent.
    #[arg(short = 'N', long, global = true, value_name = "NAME", env = "POLLUX_NAMESPACE")]
    pub namespace: Option<String>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What `pollux` can do. A new command is a variant here and an arm in [`run::run`].
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Replace the configuration by a file's, all or nothing.
    Apply {
        /// TOML or JSON, by its extension.
        file: PathBuf,
        /// Only show what would change.
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
    /// Change time-outs and switches.
    #[command(subcommand)]
    Settings(SettingsCommand),
    /// Show or replace the rules that mark packets, for services that are named by a mark.
    #[command(subcommand)]
    Fwmarks(FwmarksCommand),
    /// Add, remove or show namespaces: services, settings and connections of their own for some ports or VLANs.
    #[command(subcommand)]
    Namespace(NamespaceCommand),
    /// Show or set variables by the names of net.ipv4.vs.*, as sysctl(8) does.
    Sysctl(SysctlArgs),
    /// Make the counters and rates that `list` shows zero, of one service or of all, as `ipvsadm -Z` does.
    Zero(WhichIfAny),
    /// Show services and destinations as `ipvsadm -Ln` does.
    List(ListArgs),
    /// Show connections as `ipvsadm -Lnc` does.
    Connections {
        /// How many at most.
        #[arg(long, default_value_t = 1000)]
        limit: u32,
        /// All there are.
        #[arg(long, conflicts_with = "limit")]
        all: bool,
    },
    /// Show counters of services, workers and ports.
    Stats,
    /// Tell what happens inside, as the kernel's debug_level and dynamic debug do.
    #[command(args_conflicts_with_subcommands = true, arg_required_else_help = true)]
    Debug {
        /// Print events as they are told, until interrupted.
        #[arg(long)]
        follow: bool,
        /// What to do.
        #[command(subcommand)]
        command: Option<DebugCommand>,
    },
    /// List protocols, schedulers, engines and methods with who uses them, or switch them.
    Modules {
        /// What to do; none lists.
        #[command(subcommand)]
        command: Option<ModulesCommand>,
    },
    /// Show the configuration that runs, as TOML.
    Config,
    /// Print the JSON Schema of the configuration and of the control socket.
    Schema,
    /// Tell everything that is wrong with a configuration file; needs no daemon.
    Check {
        /// TOML or JSON, by its extension.
        file: PathBuf,
    },
    /// Tell whether this machine is ready for polluxd, and what helps if not; changes nothing.
    CheckHost,
    /// Run recorded conversations through the core and tell what differs; needs neither a daemon nor DPDK nor root.
    Replay {
        /// A case file, or a directory of them.
        path: PathBuf,
    },
    /// Print the manual page of pollux, or write the pages of all commands and of polluxd into a directory.
    Man {
        /// Where to write; it must exist.
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
    /// Do what ipvsadm 1.31 does, on polluxd: `pollux ipvsadm -Ln`. Called by the name ipvsadm, through a link, pollux does
    /// so at once.
    #[command(disable_help_flag = true)]
    Ipvsadm {
        /// The command line of ipvsadm.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGS")]
        args: Vec<String>,
    },
    /// Show the daemon's version.
    Version,
    /// Stop the daemon.
    Stop,
}

/// What to show of services.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct ListArgs {
    /// Connections, packets and bytes, as of the last look of the estimator, which comes every 2 s.
    #[arg(long, group = "table")]
    pub stats: bool,
    /// The same by the second.
    #[arg(long, group = "table")]
    pub rate: bool,
    /// Thresholds.
    #[arg(long, group = "table")]
    pub thresholds: bool,
    /// Persistence templates.
    #[arg(long, group = "table")]
    pub persistent: bool,
    /// Kinds of tunnel.
    #[arg(long, group = "table")]
    pub tunnels: bool,
    /// Numbers in full.
    #[arg(long)]
    pub exact: bool,
}

impl ListArgs {
    /// The table that is meant.
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

/// What can be done to settings.
#[derive(Debug, Subcommand)]
#[command(
    after_help = "Example: pollux settings set tcp_timeout=600 timeouts.tcp.SYN_RECV=30 expire_nodest_conn=1\n\n`pollux schema` lists them all."
)]
pub enum SettingsCommand {
    /// Change some; what is not given stays.
    Set {
        /// A setting of the configuration file and its new value.
        #[arg(required = true, value_name = "KEY=VALUE", value_parser = settings::change)]
        changes: Vec<settings::Change>,
    },
}
