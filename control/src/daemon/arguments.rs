//! The command line of `polluxd`: EAL arguments, `--`, and our own options, as with testpmd.

use std::path::PathBuf;

use clap::{Arg, ArgAction, Command, CommandFactory, Parser};

use crate::debug;
use crate::interface::request::{self, Request};
use crate::log::Level;
use crate::model::Idle;
use crate::model::validate::{SLEEP_US, is_interface_name};
use crate::state::{self, startup::Sources};

/// The command line of `polluxd`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DaemonArgs {
    /// Arguments of DPDK's EAL, after the program's name.
    pub eal: Vec<String>,
    /// Our options.
    pub options: Options,
}

/// Layer-4 load balancer on DPDK: Linux IPVS in user space.
///
/// DPDK's EAL arguments come before `--`, as with testpmd. The first core of `-l` runs control, the others run one worker
/// each. Without `--`, the options listed here are taken out and everything else goes to DPDK.
#[derive(Clone, Debug, PartialEq, Eq, Parser)]
#[command(
    name = "polluxd",
    version,
    override_usage = "polluxd [EAL ARGUMENTS] -- [OPTIONS]",
    after_help = "Examples:\n  \
        polluxd --interface eth1 --config pollux.toml\n  \
        polluxd -l 0-3 -a 0000:3b:00.0 -a 0000:3b:00.1 -- --config /etc/pollux/pollux.toml\n\n\
        `pollux check-host` checks the machine, `pollux check FILE` a configuration file."
)]
pub struct Options {
    /// Use this kernel interface as a port; repeatable. Prepares it so that the host's own stack does not see its frames,
    /// and restores it at exit.
    ///
    /// MODE is auto (the default: tap), tap, packet, xdp or xdp,zero-copy. tap redirects all frames to and from a TAP; it works
    /// with every Ethernet interface. packet and xdp use a packet or an AF_XDP socket: a virtual peer must then send complete
    /// checksums. Without EAL arguments, polluxd uses two cores, no PCI devices, and huge pages if there are any.
    #[arg(long = "interface", value_name = "IFACE[,MODE]", value_parser = request::parse)]
    pub interfaces: Vec<Request>,
    /// Move the addresses of the interfaces, and the routes through them, to their twins until polluxd stops. Without this
    /// option, an interface with addresses is refused.
    #[arg(long, requires = "interfaces", conflicts_with = "no_kernel")]
    pub take_over: bool,
    /// Undo what a killed polluxd with the same control socket changed on interfaces, and exit. The next start does so, too.
    #[arg(long, conflicts_with = "interfaces")]
    pub restore_interfaces: bool,
    /// Configuration file, TOML or JSON by its extension; read again on SIGHUP. Without it, start from the state file, or
    /// without services.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Control socket to listen on, for `pollux`. Without it: POLLUX_SOCKET of the environment, or /run/pollux/control.sock.
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// Do not use the kernel's network stack: no TAP twins, addresses and routes only from [network] in the configuration.
    #[arg(long)]
    pub no_kernel: bool,
    /// Name prefix of the TAP twins, followed by the port number.
    #[arg(long, value_name = "NAME", default_value = "pollux", value_parser = twin_prefix)]
    pub twin_prefix: String,
    /// State file: keeps the running configuration across restarts.
    #[arg(long, value_name = "PATH", default_value = state::DEFAULT_PATH)]
    pub state: PathBuf,
    /// Neither read nor write the state file; start from the configuration file.
    #[arg(long)]
    pub no_state: bool,
    /// Start from the configuration file and rename the state file to PATH.old, or to PATH.version-N if it has version N, which
    /// this polluxd does not read.
    #[arg(long)]
    pub fresh: bool,
    /// Reply to a change only after it has been written to disk.
    #[arg(long)]
    pub state_sync: bool,
    /// Idle mode: what workers do when no packets arrive. Overrides start.idle of the configuration.
    ///
    /// busy polls without a break; pause executes pause instructions between polls; sleep sleeps between polls; interrupt
    /// sleeps until a port interrupts. A sleeping worker uses a few percent of its core.
    #[arg(long, value_name = "MODE")]
    pub idle: Option<Idle>,
    /// Longest sleep of modes sleep and interrupt, 10 to 10000. Overrides start.max_sleep_us of the configuration.
    #[arg(long, value_name = "MICROSECONDS", value_parser = sleep_us)]
    pub max_sleep_us: Option<u32>,
    /// Lowest severity to log.
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    pub log_level: Level,
    /// Debug events to log from the start: a query as for `pollux debug set`, such as 'func run +p'; repeatable.
    #[arg(long, value_name = "QUERY", value_parser = query)]
    pub debug: Vec<String>,
    /// Log debug events of this level and below, 0 to 12, or -1 for none. Overrides settings.debug_level of the configuration
    /// for this run.
    #[arg(long, value_name = "N", allow_hyphen_values = true, value_parser = debug::parse_level)]
    pub debug_level: Option<i32>,
}

impl Options {
    /// The files to start from.
    pub fn sources(&self) -> Sources<'_> {
        let state = (!self.no_state).then_some(self.state.as_path());
        Sources { config: self.config.as_deref(), state, fresh: self.fresh }
    }
}

/// Checks a query before anything is started.
fn query(text: &str) -> Result<String, String> {
    debug::query::parse(text).map(|_| text.to_owned()).map_err(|error| error.to_string())
}

fn twin_prefix(text: &str) -> Result<String, String> {
    // At least one digit follows.
    if is_interface_name(&format!("{text}0")) {
        return Ok(text.to_owned());
    }
    Err("not the beginning of an interface name; use at most 14 letters, digits, '-', '_' or '.'".to_owned())
}

fn sleep_us(text: &str) -> Result<u32, String> {
    let micros = text.parse().ok().filter(|micros| SLEEP_US.contains(micros));
    micros.ok_or_else(|| {
        format!("not a number of microseconds from {} to {}", SLEEP_US.start(), SLEEP_US.end())
    })
}

/// Parses the command line, with the program's name first.
///
/// # Errors
/// If our options are wrong, or ask for help or the version; pass the error to `clap::Error::exit`.
pub fn parse(args: impl IntoIterator<Item = String>) -> Result<DaemonArgs, clap::Error> {
    let mut args = args.into_iter();
    let program = args.next().unwrap_or_else(|| "polluxd".to_owned());
    let args: Vec<String> = args.collect();
    let mut command = Options::command();
    command.build();
    let informs = |arg: &String| {
        let action = option(&command, arg).map(Arg::get_action);
        matches!(action, Some(ArgAction::Help | ArgAction::Version))
    };
    let (eal, ours) = match args.iter().position(|arg| arg == "--") {
        // `polluxd --help -- ...` prints our help.
        Some(at) if !args[..at].iter().any(informs) => (args[..at].to_vec(), args[at + 1..].to_vec()),
        _ => split(&command, args),
    };
    let named = |rest: Vec<String>| std::iter::once(program.clone()).chain(rest).collect::<Vec<_>>();
    Ok(DaemonArgs { options: Options::try_parse_from(named(ours))?, eal: named(eal) })
}

/// Separates DPDK's arguments from our options, if there is no `--` between them.
fn split(command: &Command, args: Vec<String>) -> (Vec<String>, Vec<String>) {
    let (mut eal, mut ours) = (Vec::new(), Vec::new());
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        let Some(option) = option(command, &arg) else {
            eal.push(arg);
            continue;
        };
        let value_follows = option.get_action().takes_values() && !arg.contains('=');
        ours.push(arg);
        if value_follows {
            ours.extend(args.next());
        }
    }
    (eal, ours)
}

/// Returns our option that an argument such as `--config`, `--config=FILE` or `-h` belongs to.
fn option<'a>(command: &'a Command, arg: &str) -> Option<&'a Arg> {
    let name = arg.split('=').next().unwrap_or_default();
    command.get_arguments().find(|option| {
        let name = if option.get_action().takes_values() { name } else { arg };
        let long = option.get_long().is_some_and(|long| name.strip_prefix("--") == Some(long));
        long || option.get_short().is_some_and(|short| name == format!("-{short}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<DaemonArgs, clap::Error> {
        parse(line.split(' ').map(str::to_owned))
    }

    #[test]
    fn eal_arguments_come_before_the_dashes() {
        let args = read("polluxd -l 0,1 --vdev=net_tap0 -- --config a.toml --no-kernel").unwrap();
        assert_eq!(args.eal, ["polluxd", "-l", "0,1", "--vdev=net_tap0"]);
        assert_eq!(args.options.config, Some("a.toml".into()));
        assert!(args.options.no_kernel);
    }

    #[test]
    fn without_dashes_our_options_are_separated() {
        let args = read("polluxd -l 0,1 --config a.toml --twin-prefix=p --vdev net_tap0").unwrap();
        assert_eq!(args.eal, ["polluxd", "-l", "0,1", "--vdev", "net_tap0"]);
        assert_eq!(args.options.twin_prefix, "p");
    }

    #[test]
    fn interfaces_are_ours_not_dpdks() {
        for line in [
            "polluxd --interface eth1 --interface=eth2,packet --take-over -l 0,1",
            "polluxd -l 0,1 -- --interface eth1 --interface=eth2,packet --take-over",
        ] {
            let args = read(line).unwrap();
            assert_eq!(args.eal, ["polluxd", "-l", "0,1"]);
            assert_eq!(
                args.options.interfaces,
                ["eth1", "eth2,packet"].map(|text| request::parse(text).unwrap())
            );
            assert!(args.options.take_over);
        }
        let error = read("polluxd --interface eth1,fast").unwrap_err().to_string();
        assert!(error.contains("\"fast\" is not a mode; use auto, tap, packet, xdp"), "{error}");
        assert!(read("polluxd --restore-interfaces").unwrap().options.restore_interfaces);
        assert!(read("polluxd --restore-interfaces --interface eth1").is_err());
        assert!(read("polluxd --take-over").is_err());
        assert!(read("polluxd --interface eth1 --take-over --no-kernel").is_err());
    }

    #[test]
    fn debug_options_are_checked() {
        let args = read("polluxd --debug module=ip_vs --debug-level -1").unwrap_err().to_string();
        assert!(args.contains("is not an operator with flags"), "{args}");
        let args = read("polluxd -l 0,1 --debug +p --debug-level -1 --log-level warn").unwrap();
        assert_eq!((args.options.debug, args.options.debug_level), (vec!["+p".to_owned()], Some(-1)));
        assert_eq!(args.options.log_level, Level::Warn);
        let error = read("polluxd --debug-level 99x").unwrap_err().to_string();
        assert!(error.contains("not a whole number; write 0 to 12, or -1 for none"), "{error}");
        let error = read("polluxd --twin-prefix a/b").unwrap_err().to_string();
        assert!(error.contains("not the beginning of an interface name"), "{error}");
    }

    #[test]
    fn idle_options_are_checked() {
        let options = read("polluxd -l 0,1 --idle sleep --max-sleep-us=500 --no-pci").unwrap();
        assert_eq!((options.options.idle, options.options.max_sleep_us), (Some(Idle::Sleep), Some(500)));
        assert_eq!(options.eal, ["polluxd", "-l", "0,1", "--no-pci"]);
        let options = read("polluxd -l 0,1").unwrap().options;
        assert_eq!((options.idle, options.max_sleep_us), (None, None), "the configuration says it");
        let error = read("polluxd --idle lazy").unwrap_err().to_string();
        assert!(error.contains("[possible values: busy, pause, sleep, interrupt]"), "{error}");
        for sleep_us in ["9", "10001", "soon", "-1"] {
            let error = read(&format!("polluxd --max-sleep-us={sleep_us}")).unwrap_err().to_string();
            assert!(error.contains("not a number of microseconds from 10 to 10000"), "{error}");
        }
    }

    #[test]
    fn help_exits_with_0_and_usage_errors_with_2() {
        let help = read("polluxd --help").unwrap_err();
        assert!(help.to_string().contains("polluxd --interface eth1 --config"), "{help}");
        assert_eq!(help.exit_code(), 0);
        assert_eq!(read("polluxd -- --cofnig a").unwrap_err().exit_code(), 2);
    }
}
