//! `pollux debug`: enables debug events and prints them.

use std::io::Write;

use clap::Subcommand;

use super::error::CliError;
use super::session::Session;
use super::sysctl;
use crate::api::request::{DebugQuery, Done, NoParams, Request, SysctlGet};
use crate::api::view::{DebugEvent, DebugSet, DebugSite, DebugSites};
use crate::debug;
use crate::model::edit::SettingsEdit;
use crate::plural::count;

/// Subcommands of `pollux debug`.
#[derive(Clone, Debug, Subcommand)]
pub enum DebugCommand {
    /// List the debug sites, in the format of the kernel's dynamic_debug/control.
    Sites {
        /// Filter: pairs of a keyword (module, file, func, line, format, level) and a value.
        query: Vec<String>,
    },
    /// Switch debug sites on or off, with the query language of the kernel's dynamic debug.
    #[command(after_help = "Examples:\n  \
            pollux debug set 'module ip_vs_rr +p'\n  \
            pollux debug set 'module ip_vs* level 0-6 +pmf; func open -p'\n  \
            pollux debug set 'file leave.rs line 20-100 format \"dest found\" +p'\n  \
            pollux debug set '=_'\n\n\
            Flags: p prints the event; m, f, l and t put the module, function, line and thread before its text; _ is no flag. \
            + adds flags, - removes them, = sets exactly these. In names, * matches any string and ? one character. Quote \
            values that contain blanks.")]
    Set {
        /// One query, or several separated by `;`.
        #[arg(required = true, allow_hyphen_values = true)]
        query: Vec<String>,
    },
    /// Show or set net.ipv4.vs.debug_level: events of this level and below are logged, whatever their flags.
    Level {
        /// 0 failures, 1 drops, 2 configuration, 3 removed destinations, 4 defences, 6 scheduling, 7 connections, 8 states,
        /// 9 lookups, 10 verdicts, 11 packets, 12 all; -1 none.
        #[arg(allow_hyphen_values = true, value_parser = debug::parse_level)]
        level: Option<i32>,
    },
}

/// Executes a subcommand, or prints events with `--follow`.
pub(super) fn run(
    command: Option<&DebugCommand>,
    follow: bool,
    session: &Session,
) -> Result<String, CliError> {
    match (command, follow) {
        (Some(command), false) => execute(command, session),
        (None, true) => self::follow(session),
        _ => Err(CliError::Usage("give either --follow or a subcommand to `pollux debug`".to_owned())),
    }
}

fn execute(command: &DebugCommand, session: &Session) -> Result<String, CliError> {
    match command {
        DebugCommand::Sites { query } => {
            let query = DebugQuery { query: joined(query) };
            session.show(&Request::DebugSites(query), |found: &DebugSites| {
                found.sites.iter().map(line).collect()
            })
        }
        DebugCommand::Set { query } => {
            let query = DebugQuery { query: joined(query) };
            session.show(&Request::DebugSet(query), matched)
        }
        DebugCommand::Level { level: Some(level) } => session.send(&Request::SettingsSet(SettingsEdit {
            debug_level: Some(*level),
            ..SettingsEdit::default()
        })),
        DebugCommand::Level { level: None } => {
            let names = vec!["debug_level".to_owned()];
            session.show(&Request::SysctlGet(SysctlGet { names }), sysctl::lines)
        }
    }
}

/// Prints events until it is interrupted or the daemon stops.
fn follow(session: &Session) -> Result<String, CliError> {
    let mut client = session.client()?;
    let _following: Done = client.call(&Request::DebugFollow(NoParams {}))?;
    eprintln!("pollux: following debug events; Ctrl-C ends");
    let mut out = std::io::stdout();
    while let Some(event) = client.next_notification::<DebugEvent>()? {
        let text = if session.json { serde_json::to_string(&event)? + "\n" } else { event_line(&event) };
        // A closed pipe, such as after `| head`, ends it.
        if out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_err() {
            break;
        }
    }
    Ok(String::new())
}

/// Joins the arguments into one query. An argument with blanks was quoted for the shell and is quoted again, unless it
/// is the only one.
fn joined(parts: &[String]) -> String {
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

/// Number of sites that a query matched.
fn matched(set: &DebugSet) -> String {
    let hint = if set.matched == 0 { "; `pollux debug sites` lists them all" } else { "" };
    format!("{} matched{hint}\n", count(set.matched, "site"))
}

/// The format of the kernel's dynamic_debug/control.
fn line(site: &DebugSite) -> String {
    let DebugSite { file, line, module, function, flags, format, .. } = site;
    format!("{file}:{line} [{module}] {function} ={flags} {format:?}\n")
}

/// The format of dmesg(1): seconds since the daemon started, then the text.
fn event_line(event: &DebugEvent) -> String {
    let missing =
        if event.missed > 0 { format!("({} events missed)\n", event.missed) } else { String::new() };
    format!("{missing}[{:5}.{:03}] {}\n", event.at_ms / 1000, event.at_ms % 1000, event.text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shell_words_are_joined_into_one_query() {
        let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        assert_eq!(joined(&owned(&["module ip_vs_rr +p"])), "module ip_vs_rr +p");
        assert_eq!(joined(&owned(&["format", "dest found", "+p"])), "format \"dest found\" +p");
        assert_eq!(joined(&[]), "");
    }

    #[test]
    fn lines_have_the_kernels_format() {
        let site = DebugSite {
            file: "dataplane/src/pipeline/slow_path/leave.rs".to_owned(),
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
            "dataplane/src/pipeline/slow_path/leave.rs:30 [ip_vs] leave =pm \"Schedule: no dest found.\"\n"
        );
        let event = DebugEvent { at_ms: 61_007, text: "IPVS: x".to_owned(), ..DebugEvent::default() };
        assert_eq!(event_line(&event), "[   61.007] IPVS: x\n");
        let late = DebugEvent { missed: 3, ..event };
        assert_eq!(event_line(&late), "(3 events missed)\n[   61.007] IPVS: x\n");
    }
}
