//! The command line of `pollux`: what can be typed. [`run`] does it, [`table`] prints what comes back.

pub mod man;
pub mod run;
pub mod settings;
pub mod table;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::model::{Method, Protocol, Scheduler, ServiceKey};
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
    /// Show services and destinations as `ipvsadm -Ln` does.
    List,
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
    /// Show the daemon's version.
    Version,
    /// Stop the daemon.
    Stop,
}

/// Which service.
#[derive(Clone, Copy, Debug, Args)]
pub struct Which {
    /// Transport protocol.
    #[arg(value_enum)]
    pub protocol: Protocol,
    /// Virtual address and port: 10.9.9.1:80, [2001:db8::1]:80.
    #[arg(value_name = "ADDRESS:PORT")]
    pub service: SocketAddr,
}

impl From<Which> for ServiceKey {
    fn from(which: Which) -> ServiceKey {
        let Which { protocol, service } = which;
        ServiceKey::Address { protocol, address: service.ip(), l4_port: service.port() }
    }
}

/// What can be done to a service.
#[derive(Debug, Subcommand)]
#[command(after_help = "Example: pollux service add tcp 10.9.9.1:80 --scheduler wlc")]
pub enum ServiceCommand {
    /// Add a service.
    Add {
        #[command(flatten)]
        #[allow(missing_docs, reason = "described by its type")]
        which: Which,
        /// How destinations are chosen.
        #[arg(long, value_enum, default_value = "wlc")]
        scheduler: Scheduler,
    },
    /// Change a service.
    Edit {
        #[command(flatten)]
        #[allow(missing_docs, reason = "described by its type")]
        which: Which,
        /// How destinations are chosen from now on.
        #[arg(long, value_enum)]
        scheduler: Scheduler,
    },
    /// Remove a service and its destinations.
    Remove {
        #[command(flatten)]
        #[allow(missing_docs, reason = "described by its type")]
        which: Which,
    },
}

/// What can be done to settings.
#[derive(Debug, Subcommand)]
#[command(
    after_help = "Example: pollux settings set tcp_timeout=600 expire_nodest_conn=true\n\n`pollux schema` lists them all."
)]
pub enum SettingsCommand {
    /// Change some; what is not given stays.
    Set {
        /// A setting of the configuration file and its new value.
        #[arg(required = true, value_name = "KEY=VALUE", value_parser = settings::change)]
        changes: Vec<settings::Change>,
    },
}

/// What can be done to a destination.
#[derive(Debug, Subcommand)]
#[command(
    after_help = "Example: pollux destination add tcp 10.9.9.1:80 10.0.2.11:80 --method nat --weight 1"
)]
pub enum DestinationCommand {
    /// Add a destination.
    Add {
        #[command(flatten)]
        #[allow(missing_docs, reason = "described by its type")]
        which: Which,
        /// The server's address and port.
        destination: SocketAddr,
        /// How packets reach it.
        #[arg(long, value_enum)]
        method: Method,
        /// Its share of new connections.
        #[arg(long, default_value_t = 1)]
        weight: u32,
    },
    /// Change a destination; what is not given stays.
    Edit {
        #[command(flatten)]
        #[allow(missing_docs, reason = "described by its type")]
        which: Which,
        /// The server's address and port.
        destination: SocketAddr,
        /// How packets of new connections reach it.
        #[arg(long, value_enum)]
        method: Option<Method>,
        /// Its share of new connections; 0 lets it run empty.
        #[arg(long)]
        weight: Option<u32>,
    },
    /// Remove a destination.
    Remove {
        #[command(flatten)]
        #[allow(missing_docs, reason = "described by its type")]
        which: Which,
        /// The server's address and port.
        destination: SocketAddr,
    },
}
