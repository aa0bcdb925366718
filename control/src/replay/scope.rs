//! Decides whether Pollux has everything a case needs, and names what it lacks.

use super::action::Action;
use super::case::Case;
use super::shell;
use super::sysctls::{self, Sysctls};
use crate::model::{Config, Scheduler};

/// Passes a case that Pollux has everything for.
///
/// # Errors
/// The name of the first feature that is missing.
pub fn check(case: &Case) -> Result<(), String> {
    let mut all = Sysctls::default();
    [Scheduler::Lblc, Scheduler::Lblcr].into_iter().for_each(|scheduler| all.load(scheduler));
    for name in case.sysctl.keys() {
        let known = sysctls::name(name).and_then(|name| all.read(name, &Config::default().settings));
        known.ok_or_else(|| format!("sysctl {name}"))?;
    }
    case.setup.iter().chain(case.cmds.iter().map(|cmd| &cmd.cmd)).try_for_each(|text| line(text))
}

/// Passes a line of commands. One that `ipvsadm` refuses is in scope: its message can be compared.
///
/// # Errors
/// The name of what is missing.
pub fn line(text: &str) -> Result<(), String> {
    let steps = foreign(text).map_or_else(
        || shell::read(text).ok_or_else(|| format!("the command `{text}`")),
        |feature| Err(feature.to_owned()),
    )?;
    steps.iter().flat_map(|step| &step.commands).try_for_each(|command| Action::read(command).map(drop))
}

/// What is not ours yet, by words that give it away however the line goes on.
fn foreign(text: &str) -> Option<&'static str> {
    let words = [("ip_vs_ftp", "the ftp helper"), ("ip_vs_conn_sync", "the sync daemon")];
    words.into_iter().find(|(word, _)| text.contains(word)).map(|(_, feature)| feature)
}
