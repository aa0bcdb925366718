//! `pollux namespace`: namespaces, and the ports and VLANs bound to them.

use std::fmt::Write;

use clap::{ArgMatches, Args, Command, FromArgMatches, Subcommand};

use super::values;
use crate::api::request::{NamespaceAdd, NamespaceRemove, NoParams, Request};
use crate::api::view::NamespaceList;
use crate::model::{Binding, Namespace, NamespaceStart};

/// Subcommands of `pollux namespace`.
#[derive(Clone, Debug, Subcommand)]
#[command(after_help = "Examples:\n  \
    pollux namespace add blue --port 1 --vlan 100\n  \
    pollux namespace add green --port 0 --port 1 --connections-ipv4 1000000\n  \
    pollux -N blue service add tcp 10.9.9.1:80\n  \
    pollux -N blue list\n  \
    pollux namespace remove blue\n\n\
    --vlan applies to the --port before it. A port without --vlan means its untagged frames and the VLANs that no other \
    namespace has.")]
pub enum NamespaceCommand {
    /// Add a namespace.
    Add(Box<AddArgs>),
    /// Remove a namespace with its services and connections.
    Remove {
        /// Name of the namespace.
        name: String,
    },
    /// List the namespaces.
    List,
}

/// A new namespace.
#[derive(Clone, Debug, Args)]
pub struct AddArgs {
    /// Name of the namespace.
    pub name: String,
    /// Ports and VLANs bound to it.
    #[command(flatten)]
    pub bindings: Bindings,
    /// Linux network namespace of its TAP twins, as in `ip netns`; by default the one of the same name.
    #[arg(long, value_name = "NAME")]
    pub netns: Option<String>,
    /// Capacity of the IPv4 connection table.
    #[arg(long, value_name = "N", value_parser = values::count)]
    pub connections_ipv4: Option<u32>,
    /// Capacity of the IPv6 connection table.
    #[arg(long, value_name = "N", value_parser = values::count)]
    pub connections_ipv6: Option<u32>,
    /// Create no TAP twins: take addresses and routes only from its static network configuration.
    #[arg(long)]
    pub no_kernel: bool,
}

/// Ports and VLANs in command-line order: a VLAN belongs to the port before it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Bindings(pub Vec<Binding>);

/// The two options as clap parses them.
#[derive(Args)]
struct Options {
    /// DPDK port, by name or number; repeatable.
    #[arg(long, value_name = "PORT")]
    port: Vec<String>,
    /// VLAN of the preceding --port, instead of the whole port; repeatable.
    #[arg(long, value_name = "1-4094", value_parser = clap::value_parser!(u16).range(1..=4094), requires = "port")]
    vlan: Vec<u16>,
}

impl Args for Bindings {
    fn augment_args(command: Command) -> Command {
        Options::augment_args(command)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Options::augment_args_for_update(command)
    }
}

impl FromArgMatches for Bindings {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Bindings, clap::Error> {
        let at = |name| matches.indices_of(name).into_iter().flatten();
        let ports = at("port").zip(matches.get_many::<String>("port").into_iter().flatten());
        let vlans: Vec<_> = at("vlan").zip(matches.get_many::<u16>("vlan").into_iter().flatten()).collect();
        let ports: Vec<_> = ports.collect();
        if let (Some((first, _)), Some((port, _))) = (vlans.first(), ports.first())
            && first < port
        {
            let why = "--vlan comes before --port; a VLAN belongs to the port before it, so write --port PORT --vlan VLAN\n";
            return Err(clap::Error::raw(clap::error::ErrorKind::ValueValidation, why));
        }
        let mut bindings = Vec::new();
        for (index, (from, port)) in ports.iter().enumerate() {
            let to = ports.get(index + 1).map_or(usize::MAX, |(next, _)| *next);
            let own = vlans.iter().filter(|(at, _)| (*from..to).contains(at));
            let before = bindings.len();
            bindings.extend(own.map(|(_, vlan)| Binding { port: (*port).clone(), vlan: Some(**vlan) }));
            if bindings.len() == before {
                bindings.push(Binding { port: (*port).clone(), vlan: None });
            }
        }
        Ok(Bindings(bindings))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Bindings::from_arg_matches(matches)?;
        Ok(())
    }
}

/// The request for a subcommand.
pub fn request(command: &NamespaceCommand) -> Request {
    match command {
        NamespaceCommand::Add(args) => Request::NamespaceAdd(NamespaceAdd { namespace: args.namespace() }),
        NamespaceCommand::Remove { name } => Request::NamespaceRemove(NamespaceRemove { name: name.clone() }),
        NamespaceCommand::List => Request::NamespaceList(NoParams {}),
    }
}

impl AddArgs {
    fn namespace(&self) -> Namespace {
        let usual = NamespaceStart::default();
        let start = NamespaceStart {
            connections_ipv4: self.connections_ipv4.unwrap_or(usual.connections_ipv4),
            connections_ipv6: self.connections_ipv6.unwrap_or(usual.connections_ipv6),
            kernel: !self.no_kernel,
            ..usual
        };
        let (name, bindings, netns) = (self.name.clone(), self.bindings.0.clone(), self.netns.clone());
        Namespace { name, bindings, netns, start, ..Namespace::default() }
    }
}

/// One line per namespace.
pub fn table(list: &NamespaceList) -> String {
    let mut out = format!(
        "{:<16} {:>8} {:>12} {:>23} {:>10}  {}\n",
        "NAME", "SERVICES", "DESTINATIONS", "CONNECTIONS (IPv4+IPv6)", "TABLE", "BINDINGS"
    );
    for namespace in &list.namespaces {
        let bindings: Vec<_> = namespace.bindings.iter().map(ToString::to_string).collect();
        let bound = match (bindings.is_empty(), namespace.name == crate::model::namespace::DEFAULT) {
            (true, true) => "everything else".to_owned(),
            (true, false) => "none".to_owned(),
            (false, _) => bindings.join(", "),
        };
        let netns = namespace.netns.as_ref().map(|netns| format!("; netns {netns}")).unwrap_or_default();
        let connections = format!("{}/{}", namespace.connections, namespace.connection_capacity);
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            "{:<16} {:>8} {:>12} {connections:>23} {:>6} MiB  {bound}{netns}",
            namespace.name,
            namespace.services,
            namespace.destinations,
            namespace.table_bytes.div_ceil(1 << 20),
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    fn bindings(words: &str) -> Result<String, String> {
        let line = format!("pollux namespace add blue {words}");
        let cli = Cli::try_parse_from(line.split_whitespace()).map_err(|error| error.to_string())?;
        let Command::Namespace(NamespaceCommand::Add(args)) = cli.command else { panic!("it is an add") };
        let all: Vec<_> = args.bindings.0.iter().map(ToString::to_string).collect();
        Ok(all.join(", "))
    }

    #[test]
    fn a_vlan_belongs_to_the_port_before_it() {
        let rows = [
            ("", ""),
            ("--port 1", "1"),
            ("--port 1 --vlan 100", "1 VLAN 100"),
            ("--port 1 --vlan 100 --vlan 200 --port net_tap0", "1 VLAN 100, 1 VLAN 200, net_tap0"),
            ("--port 0 --port 1 --vlan=7 --netns n", "0, 1 VLAN 7"),
        ];
        for (words, wanted) in rows {
            assert_eq!(bindings(words).unwrap(), wanted, "{words}");
        }
    }

    #[test]
    fn wrong_bindings_are_refused() {
        let rows = [
            ("--vlan 7", "--port"),
            ("--port 1 --vlan 4095", "4095"),
            ("--vlan 7 --port 1", "before --port"),
        ];
        for (words, expected) in rows {
            let error = bindings(words).unwrap_err();
            assert!(error.contains(expected), "{words}: {error}");
        }
    }

    #[test]
    fn table_sizes_and_kernel_options_are_taken() {
        let line = "pollux namespace add blue --port 0 --connections-ipv4 500 --no-kernel --netns b";
        let cli = Cli::try_parse_from(line.split_whitespace()).unwrap();
        let Command::Namespace(command) = &cli.command else { panic!("it is about namespaces") };
        let Request::NamespaceAdd(add) = request(command) else { panic!("it is an add") };
        let start = NamespaceStart { connections_ipv4: 500, kernel: false, ..NamespaceStart::default() };
        assert_eq!((add.namespace.start, add.namespace.netns.as_deref()), (start, Some("b")));
    }
}
