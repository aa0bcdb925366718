//! Parses a command of a recording.

use super::fwmarks::FwmarkChange;
use super::network::NetworkChange;
use super::shell::SimpleCommand;
use super::sysctls;
use super::topology::port_of;
use crate::ipvsadm::names::Numeric;
use crate::ipvsadm::{Command, ParseError, parse_words};
use crate::model::Scheduler;

/// A parsed command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// `ipvsadm`; the message of a wrong line is compared too.
    Ipvsadm(Result<Command, ParseError>),
    /// `iptables`, `ip6tables`
    Fwmark(FwmarkChange),
    /// `ip`
    Network(NetworkChange),
    /// `sysctl -w NAME=VALUE`, any number of them
    SetSysctls {
        /// Names and values.
        values: Vec<(String, String)>,
        /// Prints nothing on success.
        quiet: bool,
    },
    /// `sysctl NAME`
    GetSysctl {
        /// Full name.
        name: String,
        /// Print the value without the name.
        value_only: bool,
    },
    /// `echo VALUE > /proc/sys/...`
    WriteFile {
        /// Name of the sysctl without the common prefix.
        name: String,
        /// Text to write.
        text: String,
    },
    /// `cat` or `sort` of a file of `/proc`
    ReadFile {
        /// The file.
        path: String,
        /// Sort the lines.
        sorted: bool,
    },
    /// `sort` at the end of a pipe
    Sort,
    /// `modprobe` of a scheduler
    Load(Scheduler),
    /// `modprobe` of another module, `true`, `sleep`
    Nothing,
    /// `false`
    Fail,
}

/// The services in `/proc/net`.
pub const SERVICES: &str = "/proc/net/ip_vs";
/// The connections in `/proc/net`.
pub const CONNECTIONS: &str = "/proc/net/ip_vs_conn";

/// Modules that need no action when they are loaded.
const MODULES: &[&str] =
    &["ip_vs", "fou", "fou6", "ip_gre", "ip6_gre", "ipip", "sit", "nf_conntrack", "nf_nat", "xt_mark"];

impl Action {
    /// Parses a command.
    ///
    /// # Errors
    /// The name of an unsupported feature that it needs, or the command if it is unknown.
    pub fn parse(command: &SimpleCommand) -> Result<Action, String> {
        let words: Vec<&str> = command.words.iter().map(String::as_str).collect();
        let unknown = || format!("the command `{}`", words.join(" "));
        let outside = |feature: &str| Err(feature.to_owned());
        if let Some(path) = command.output.as_deref().filter(|path| *path != "/dev/null") {
            return written(&words, path).ok_or_else(unknown);
        }
        match words.as_slice() {
            ["ipvsadm", ..] => {
                let read = parse_words(command.words[1..].to_vec(), &Numeric);
                if let Ok(Command::StartDaemon { interface: Some(device) }) = &read
                    && port_of(device).is_some()
                {
                    return outside("the sync daemon");
                }
                Ok(Action::Ipvsadm(read))
            }
            ["iptables" | "ip6tables", ..] => {
                FwmarkChange::parse(&command.words).map(Action::Fwmark).ok_or_else(unknown)
            }
            ["ip", ..] => NetworkChange::parse(&command.words).map(Action::Network).ok_or_else(unknown),
            ["sysctl", rest @ ..] => sysctl(rest).ok_or_else(unknown),
            ["modprobe" | "rmmod", "ip_vs_ftp", ..] => outside("the ftp helper"),
            ["modprobe", module] => module_named(module).ok_or_else(unknown),
            [_, .., path] if path.starts_with("/proc/net/ip_vs_conn_sync") => outside("the sync daemon"),
            ["cat", path] => file(path, false).ok_or_else(unknown),
            ["sort", path] => file(path, true).ok_or_else(unknown),
            ["sort"] => Ok(Action::Sort),
            ["true" | ":"] | ["sleep", _] => Ok(Action::Nothing),
            ["false"] => Ok(Action::Fail),
            _ => Err(unknown()),
        }
    }
}

/// `echo [-n] TEXT > PATH`
fn written(words: &[&str], path: &str) -> Option<Action> {
    let ["echo", text @ ..] = words else { return None };
    let text = text.strip_prefix(&["-n"]).unwrap_or(text).join(" ");
    Some(Action::WriteFile { name: sysctls::name(path)?.to_owned(), text })
}

fn file(path: &str, sorted: bool) -> Option<Action> {
    let known = path == SERVICES || path == CONNECTIONS || sysctls::name(path).is_some();
    known.then(|| Action::ReadFile { path: path.to_owned(), sorted })
}

fn sysctl(words: &[&str]) -> Option<Action> {
    let (flags, rest): (Vec<&str>, Vec<&str>) = words.iter().partition(|word| word.starts_with('-'));
    let has = |letter| flags.iter().any(|flag| flag.contains(letter));
    if flags.iter().any(|flag| flag[1..].contains(|c| !"wqn".contains(c))) {
        return None;
    }
    let pair = |word: &&str| {
        let (name, value) = word.split_once('=')?;
        sysctls::name(name).map(|_| (name.to_owned(), value.to_owned()))
    };
    match rest.as_slice() {
        [name] if !name.contains('=') && !has('w') => {
            sysctls::name(name)?;
            Some(Action::GetSysctl { name: (*name).to_owned(), value_only: has('n') })
        }
        [] => None,
        pairs => {
            let values = pairs.iter().map(pair).collect::<Option<_>>()?;
            Some(Action::SetSysctls { values, quiet: has('q') })
        }
    }
}

fn module_named(module: &str) -> Option<Action> {
    use clap::ValueEnum;
    let scheduler = module.strip_prefix("ip_vs_").and_then(|name| Scheduler::from_str(name, false).ok());
    let known = scheduler.map(Action::Load);
    known.or_else(|| MODULES.contains(&module).then_some(Action::Nothing))
}
