//! Checks that Pollux supports everything a case needs.

use super::action::Action;
use super::case::Case;
use super::shell;
use super::sysctls::{self, Sysctls};
use crate::model::{Config, Scheduler};

/// Checks a case.
///
/// # Errors
/// The first unsupported feature.
pub fn check(case: &Case) -> Result<(), String> {
    let mut all = Sysctls::default();
    [Scheduler::Lblc, Scheduler::Lblcr].into_iter().for_each(|scheduler| all.load(scheduler));
    for name in case.sysctl.keys() {
        let known = sysctls::name(name).and_then(|name| all.read(name, &Config::default().settings));
        known.ok_or_else(|| format!("sysctl {name}"))?;
    }
    case.setup.iter().chain(case.cmds.iter().map(|cmd| &cmd.cmd)).try_for_each(|text| line(text))
}

/// Checks a line of commands. A line that `ipvsadm` refuses is supported: its message is compared.
///
/// # Errors
/// The unsupported feature.
pub fn line(text: &str) -> Result<(), String> {
    let steps = unsupported(text).map_or_else(
        || shell::parse(text).ok_or_else(|| format!("the command `{text}`")),
        |feature| Err(feature.to_owned()),
    )?;
    steps.iter().flat_map(|step| &step.commands).try_for_each(|command| Action::parse(command).map(drop))
}

/// An unsupported feature that can be recognised by a word anywhere in the line.
fn unsupported(text: &str) -> Option<&'static str> {
    let words = [("ip_vs_ftp", "the ftp helper"), ("ip_vs_conn_sync", "the sync daemon")];
    words.into_iter().find(|(word, _)| text.contains(word)).map(|(_, feature)| feature)
}
