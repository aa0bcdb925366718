//! The command line of `polluxd`: DPDK's arguments, `--`, and our own options, as testpmd has it.

use std::path::PathBuf;

use clap::Parser;

use crate::debug;
use crate::model::Idle;
use crate::socket::DEFAULT_PATH;
use crate::state;
use crate::validate::SLEEP_US;

/// What `polluxd` was started with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DaemonArgs {
    /// For DPDK's EAL, the program's name first.
    pub eal: Vec<String>,
    /// Our own.
    pub options: Options,
}

/// A layer-4 load balancer on DPDK: all of Linux IPVS, in user space.
///
/// DPDK's own arguments go before `--`, as with testpmd; the first core of `-l` is for control, the others forward.
/// Without `--`, the options below are ours and everything else is DPDK's.
#[derive(Clone, Debug, PartialEq, Eq, Parser)]
#[command(
    name = "polluxd",
    version,
    override_usage = "polluxd [EAL ARGUMENTS] -- [OPTIONS]",
    after_help = "Examples:\n  \
        polluxd -l 0,1 --vdev=net_af_packet0,iface=veth0 -- --config pollux.toml\n  \
        polluxd -l 0-3 -a 0000:3b:00.0 -a 0000:3b:00.1 -- --config /etc/pollux/pollux.toml\n\n\
        `pollux check-host` tells what the machine still lacks, `pollux check FILE` whether a configuration is right."
)]
pub struct Options {
    /// Configuration to start with, TOML or JSON, read again on SIGHUP; none starts with what was kept, or without
    /// services.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where to listen for `pollux`.
    #[arg(long, value_name = "PATH", env = "POLLUX_SOCKET", default_value = DEFAULT_PATH)]
    pub socket: PathBuf,
    /// Leave the kernel alone: no twins, facts from the configuration only.
    #[arg(long)]
    pub no_kernel: bool,
    /// Twins are called this and the port's number.
    #[arg(long, value_name = "NAME", default_value = "pollux")]
    pub twin_prefix: String,
    /// Where to keep what is configured, so that it survives a restart.
    #[arg(long, value_name = "PATH", default_value = state::DEFAULT_PATH)]
    pub state: PathBuf,
    /// Keep nothing, and start from the configuration file alone.
    #[arg(long)]
    pub no_state: bool,
    /// Start from the configuration file alone; what was kept is set aside.
    #[arg(long)]
    pub fresh: bool,
    /// Answer changes only when they are on the disk, not already when they are on their way there.
    #[arg(long)]
    pub state_sync: bool,
    /// What workers do when no packet comes; goes before start.idle of the configuration.
    ///
    /// busy looks again at once; pause lets the processor pause in between; sleep takes naps; interrupt takes naps and
    /// lets ports end them. An idle worker that sleeps takes a few percent of its core.
    #[arg(long, value_name = "MODE")]
    pub idle: Option<Idle>,
    /// The longest nap of sleep and interrupt, 10 to 10000; goes before start.longest_nap of the configuration.
    #[arg(long, value_name = "MICROSECONDS", value_parser = sleep_us)]
    pub max_sleep_us: Option<u32>,
    /// How much to log: error, warn, info or debug.
    #[arg(long, value_name = "LEVEL", default_value = "info", value_parser = ["error", "warn", "info", "debug"])]
    pub log_level: String,
    /// Debug events that are told from the start: queries as for `pollux debug set`, such as 'func run +p'.
    #[arg(long, value_name = "QUERY", value_parser = query)]
    pub debug: Vec<String>,
    /// Tell debug events from this level down, 0 to 12; goes before settings.debug_level of the configuration.
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub debug_level: Option<i32>,
}

/// Queries that are wrong are found before anything is started.
fn query(text: &str) -> Result<String, String> {
    debug::query::parse(text).map(|_| text.to_owned()).map_err(|error| error.to_string())
}

fn sleep_us(text: &str) -> Result<u32, String> {
    let micros = text.parse().ok().filter(|micros| SLEEP_US.contains(micros));
    micros.ok_or_else(|| {
        format!("not a number of microseconds from {} to {}", SLEEP_US.start(), SLEEP_US.end())
    })
}

/// Our options that are followed by a value, and those that are not: what tells ours from DPDK's without `--`.
const VALUED: [&str; 9] = [
    "--config",
    "--socket",
    "--state",
    "--twin-prefix",
    "--idle",
    "--max-sleep-us",
    "--log-level",
    "--debug",
    "--debug-level",
];
const BARE: [&str; 8] =
    ["--no-kernel", "--no-state", "--fresh", "--state-sync", "--help", "-h", "--version", "-V"];
/// Of these, those that ask for a text.
const ASKING: [&str; 4] = ["--help", "-h", "--version", "-V"];

/// Reads the command line, the program's name first.
///
/// # Errors
/// When our part of it is wrong, or asks for help or the version; `clap::Error::exit` then does the right thing.
pub fn parse(args: impl IntoIterator<Item = String>) -> Result<DaemonArgs, clap::Error> {
    let mut args = args.into_iter();
    let program = args.next().unwrap_or_else(|| "polluxd".to_owned());
    let args: Vec<String> = args.collect();
    let (eal, ours) = match args.iter().position(|arg| arg == "--") {
        // `polluxd --help -- ...` asks for our help, which says where DPDK's is.
        Some(at) if !args[..at].iter().any(|arg| ASKING.contains(&arg.as_str())) => {
            (args[..at].to_vec(), args[at + 1..].to_vec())
        }
        _ => split(args),
    };
    let named = |rest: Vec<String>| std::iter::once(program.clone()).chain(rest).collect::<Vec<_>>();
    Ok(DaemonArgs { options: Options::try_parse_from(named(ours))?, eal: named(eal) })
}

fn split(args: Vec<String>) -> (Vec<String>, Vec<String>) {
    let (mut eal, mut ours) = (Vec::new(), Vec::new());
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        let name = arg.split('=').next().unwrap_or_default();
        if VALUED.contains(&name) {
            let value_follows = !arg.contains('=');
            ours.push(arg);
            if value_follows {
                ours.extend(args.next());
            }
        } else if BARE.contains(&arg.as_str()) {
            ours.push(arg);
        } else {
            eal.push(arg);
        }
    }
    (eal, ours)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<DaemonArgs, clap::Error> {
        parse(line.split(' ').map(str::to_owned))
    }

    #[test]
    fn dpdk_comes_before_the_dashes_and_we_after() {
        let args = read("polluxd -l 0,1 --vdev=net_tap0 -- --config a.toml --no-kernel").unwrap();
        assert_eq!(args.eal, ["polluxd", "-l", "0,1", "--vdev=net_tap0"]);
        assert_eq!(args.options.config, Some("a.toml".into()));
        assert!(args.options.no_kernel);
    }

    #[test]
    fn without_dashes_our_options_are_picked_out() {
        let args = read("polluxd -l 0,1 --config a.toml --twin-prefix=p --vdev net_tap0").unwrap();
        assert_eq!(args.eal, ["polluxd", "-l", "0,1", "--vdev", "net_tap0"]);
        assert_eq!(args.options.twin_prefix, "p");
    }

    #[test]
    fn debugging_begins_with_the_start() {
        let args = read("polluxd --debug module=ip_vs --debug-level -1").unwrap_err().to_string();
        assert!(args.contains("is not an operator with flags"), "{args}");
        let args = read("polluxd -l 0,1 --debug +p --debug-level -1 --log-level warn").unwrap();
        assert_eq!((args.options.debug, args.options.debug_level), (vec!["+p".to_owned()], Some(-1)));
        assert_eq!(args.options.log_level, "warn");
    }

    #[test]
    fn idle_is_a_word_and_a_nap_is_short() {
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
    fn help_teaches_and_mistakes_end_with_2() {
        let help = read("polluxd --help").unwrap_err();
        assert!(help.to_string().contains("-l 0,1 --vdev=net_af_packet0,iface=veth0 --"), "{help}");
        assert_eq!(help.exit_code(), 0);
        assert_eq!(read("polluxd -- --cofnig a").unwrap_err().exit_code(), 2);
    }
}
