//! `pollux debug`: which events are told, and hearing them.

use std::io::Write;

use clap::Subcommand;

use super::run::{Ask, CliError};
use super::sysctl;
use crate::edit::SettingsEdit;
use crate::request::{DebugQuery, Done, NoParams, Request, SysctlGet};
use crate::view::{DebugEvent, DebugSet, DebugSite, DebugSites};

/// What can be done about debug events.
#[derive(Clone, Debug, Subcommand)]
pub enum DebugCommand {
    /// List the places that may tell events, as the kernel's dynamic_debug/control does.
    Sites {
        /// Only those that are meant: pairs of module, file, func, line, format or level, and a value.
        query: Vec<String>,
    },
    /// Switch places on or off, with the words of the kernel's dynamic debug.
    #[command(after_help = "Examples:\n  \
            pollux debug set 'module ip_vs_rr +p'\n  \
            pollux debug set 'module ip_vs* level 0-6 +pmf; func tell_packet -p'\n  \
            pollux debug set 'file admit.rs line 100-200 format \"dest found\" +p'\n  \
            pollux debug set '=_'\n\n\
            Flags: p print; m module, f function, l line and t thread go before the text; _ none. + adds flags, - takes\n\
            them away, = sets exactly these. In names * stands for any letters and ? for one; quote what has blanks.")]
    Set {
        /// One query, or several parted by `;`.
        #[arg(required = true, allow_hyphen_values = true)]
        query: Vec<String>,
    },
    /// Show net.ipv4.vs.debug_level, or set it: events from this level down are told, whatever their flags.
    Level {
        /// 0 failures, 2 configuration, 6 scheduling, 7 connections, 8 states, 9 lookups, 11 packets, 12 all; -1 nothing.
        #[arg(allow_hyphen_values = true)]
        level: Option<i32>,
    },
}

/// Does it.
pub(super) fn run(command: &DebugCommand, ask: &Ask<'_>) -> Result<String, CliError> {
    match command {
        DebugCommand::Sites { query } => {
            let query = DebugQuery { query: words(query) };
            ask.show(&Request::DebugSites(query), |found: &DebugSites| found.sites.iter().map(line).collect())
        }
        DebugCommand::Set { query } => {
            let query = DebugQuery { query: words(query) };
            ask.show(&Request::DebugSet(query), |set: &DebugSet| format!("{} sites matched\n", set.matched))
        }
        DebugCommand::Level { level: Some(level) } => ask.done(&Request::SettingsSet(SettingsEdit {
            debug_level: Some(*level),
            ..SettingsEdit::default()
        })),
        DebugCommand::Level { level: None } => {
            let names = vec!["debug_level".to_owned()];
            ask.show(&Request::SysctlGet(SysctlGet { names }), sysctl::lines)
        }
    }
}

/// Prints events until it is interrupted or the daemon stops.
pub(super) fn follow(ask: &Ask<'_>) -> Result<String, CliError> {
    let mut client = ask.client()?;
    let _following: Done = client.call(&Request::DebugFollow(NoParams {}))?;
    let mut out = std::io::stdout();
    while let Some(event) = client.hear::<DebugEvent>()? {
        let text = if ask.json { serde_json::to_string(&event)? + "\n" } else { event_line(&event) };
        // A reader that has seen enough, such as `head`, ends it.
        if out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_err() {
            break;
        }
    }
    Ok(String::new())
}

/// Words that the shell has parted are one query again; a word with blanks was quoted, unless it is all there is.
fn words(parts: &[String]) -> String {
    match parts {
        [whole] => whole.clone(),
        _ => {
            let quoted = |part: &String| {
                if part.contains([' ', '\t']) { format!("\"{part}\"") } else { part.clone() }
            };
            parts.iter().map(quoted).collect::<Vec<_>>().join(" ")
        }
    }
}

/// As in the kernel's control file.
fn line(site: &DebugSite) -> String {
    let DebugSite { file, line, module, function, flags, format, .. } = site;
    format!("{file}:{line} [{module}] {function} ={flags} {format:?}\n")
}

/// As dmesg(1) has it: seconds since the start, then the text.
fn event_line(event: &DebugEvent) -> String {
    let missing =
        if event.missed > 0 { format!("({} events missed)\n", event.missed) } else { String::new() };
    format!("{missing}[{:5}.{:03}] {}\n", event.at_ms / 1000, event.at_ms % 1000, event.text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_the_shell_are_one_query() {
        let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        assert_eq!(words(&owned(&["module ip_vs_rr +p"])), "module ip_vs_rr +p");
        assert_eq!(words(&owned(&["format", "dest found", "+p"])), "format \"dest found\" +p");
        assert_eq!(words(&[]), "");
    }

    #[test]
    fn lines_are_those_of_the_kernel() {
        let site = DebugSite {
            file: "dataplane/src/line/leave.rs".to_owned(),
            line: 30,
            module: "ip_vs".to_owned(),
            function: "leave".to_owned(),
            flags: "pm".to_owned(),
            level: 1,
            on: true,
            format: "Schedule: no dest found.".to_owned(),
        };
        assert_eq!(
            line(&site),
            "dataplane/src/line/leave.rs:30 [ip_vs] leave =pm \"Schedule: no dest found.\"\n"
        );
        let event = DebugEvent { at_ms: 61_007, text: "IPVS: x".to_owned(), ..DebugEvent::default() };
        assert_eq!(event_line(&event), "[   61.007] IPVS: x\n");
        let late = DebugEvent { missed: 3, ..event };
        assert_eq!(event_line(&late), "(3 events missed)\n[   61.007] IPVS: x\n");
    }
}
