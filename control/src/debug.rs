//! Debug events on the way out: which sites are on, what they say, who hears it.
//!
//! - [`query`]: the language in which sites are switched, that of the kernel's dynamic debug.
//! - [`sites`]: the events that control itself may tell; those of workers are in `pollux_dataplane::trace`.
//! - [`text`]: a worker's record → words.
//! - [`limit`]: how many lines a second.
//! - [`follow`]: who listens beside the log.

pub mod follow;
pub mod limit;
mod pattern;
pub mod query;
pub mod sites;
#[cfg(test)]
mod tests;
pub mod text;

use std::time::{Duration, Instant};

use pollux_dataplane::trace::{self, Record, Switches};

use self::follow::{Follow, Followers};
use self::limit::Limit;
use self::query::{Filter, Flags, Query};
use crate::log;
use crate::view::{DebugEvent, DebugSite};

/// A site with its flags.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Its module, by the kernel's name.
    pub module: &'static str,
    /// The file it is in.
    pub file: &'static str,
    /// The line there.
    pub line: u32,
    /// The function it is in.
    pub function: &'static str,
    /// Its text.
    pub format: &'static str,
    /// The level of `debug_level` from which on it is told.
    pub level: u8,
    /// What it prints, and whether.
    pub flags: Flags,
}

/// As the kernel's control file has it.
impl std::fmt::Display for Listed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Listed { file, line, module, function, flags, format, .. } = self;
        write!(f, "{file}:{line} [{module}] {function} ={flags} {format:?}")
    }
}

/// Who tells an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventSource {
    /// The control thread.
    Control,
    /// A worker.
    Worker(u16),
}

/// All sites, and where their events go.
pub struct Debug {
    /// Workers' sites by number, then control's.
    sites: Vec<Listed>,
    level: i32,
    limit: Limit,
    followers: Followers,
    began: Instant,
    /// What workers lost, when it was last looked at.
    lost: u64,
}

impl Default for Debug {
    fn default() -> Debug {
        let list = |specs| {
            trace::sites(specs).map(|site| Listed {
                module: site.module,
                file: site.spec.place.file,
                line: site.spec.place.line,
                function: site.spec.place.function(),
                format: site.spec.format,
                level: site.spec.level,
                flags: Flags::default(),
            })
        };
        let sites: Vec<Listed> = list(trace::Kind::SPECS).chain(list(sites::Kind::SPECS)).collect();
        Debug {
            limit: Limit::new(sites.len()),
            sites,
            level: 0,
            followers: Followers::default(),
            began: Instant::now(),
            lost: 0,
        }
    }
}

impl Debug {
    /// The sites that a filter means.
    pub fn list(&self, filter: &Filter) -> Vec<DebugSite> {
        let meant = self.sites.iter().filter(|site| filter.matches(site));
        meant.map(|site| DebugSite::of(site, self.tells(site))).collect()
    }

    /// Carries queries out, one after the other; gives how many sites were meant.
    pub fn set(&mut self, queries: &[Query]) -> usize {
        let mut meant = 0;
        for query in queries {
            for site in self.sites.iter_mut().filter(|site| query.filter.matches(site)) {
                site.flags = query.change.onto(site.flags);
                meant += 1;
            }
        }
        meant
    }

    /// Tells events down to this level.
    pub fn set_level(&mut self, level: i32) {
        self.level = level;
    }

    /// The level down to which events are told.
    pub fn level(&self) -> i32 {
        self.level
    }

    fn tells(&self, site: &Listed) -> bool {
        site.flags.has(Flags::PRINT) || self.level >= i32::from(site.level)
    }

    /// The workers' sites that are on.
    pub fn switches(&self) -> Switches {
        let on = (0..trace::Kind::SITES).zip(&self.sites).filter(|(_, site)| self.tells(site));
        Switches::of(on.map(|(number, _)| number))
    }

    /// Somebody who hears all that is told from now on.
    pub fn follow(&mut self) -> Follow {
        self.followers.add()
    }

    /// Puts a worker's record into words.
    pub fn record(&mut self, worker: u16, record: &Record) {
        let number = usize::from(record.site);
        // A record may be older than the change that switched its site off.
        if self.sites.get(number).is_some_and(|site| self.tells(site)) {
            self.tell(number, EventSource::Worker(worker), |site| text::text(site.format, record));
        }
    }

    /// Tells an event of control; the words go into the format's braces, and are made only when it is told. `site` is
    /// what `trace_site!` gives.
    pub fn event<const N: usize>(&mut self, site: u16, words: impl FnOnce() -> [String; N]) {
        let number = usize::from(trace::Kind::SITES + site);
        if self.sites.get(number).is_some_and(|site| self.tells(site)) {
            self.tell(number, EventSource::Control, |site| text::fill(site.format, &words()));
        }
    }

    fn tell(&mut self, number: usize, teller: EventSource, words: impl FnOnce(&Listed) -> String) {
        let now = self.began.elapsed();
        let site = &self.sites[number];
        if !self.limit.allows(number, site.level, now) {
            return;
        }
        let text = format!("{}IPVS: {}", prefix(site, teller), words(site));
        // What was asked for is written whatever the log's level is; failures that nobody asked for are warnings.
        if site.level > 0 || site.flags.has(Flags::PRINT) || log::is_on(log::Level::Warn) {
            log::line(format_args!("{text}"));
        }
        self.followers.tell(|| DebugEvent::of(site, teller, now, text));
    }

    /// To be called often: says how many events were left out, `lost` of them by workers since the start.
    pub fn tend(&mut self, lost: u64) {
        let now = self.began.elapsed();
        if let Some(suppressed) = self.limit.suppressed(now) {
            self.note(now, format!("IPVS: {suppressed} debug events suppressed"));
        }
        if lost > self.lost && self.limit.is_second(now) {
            let more = lost - self.lost;
            self.lost = lost;
            self.note(now, format!("IPVS: {more} debug events lost: workers tell faster than they are read"));
        }
    }

    fn note(&mut self, now: Duration, text: String) {
        log::line(format_args!("{text}"));
        self.followers.tell(|| DebugEvent::note(now, text));
    }
}

/// What the flags put before the text, in the kernel's order.
fn prefix(site: &Listed, teller: EventSource) -> String {
    let mut out = String::new();
    if site.flags.has(Flags::THREAD) {
        out += &match teller {
            EventSource::Control => "[control] ".to_owned(),
            EventSource::Worker(number) => format!("[worker {number}] "),
        };
    }
    let parts = [
        (Flags::MODULE, site.module.to_owned()),
        (Flags::FUNCTION, site.function.to_owned()),
        (Flags::LINE, site.line.to_string()),
    ];
    let wanted: Vec<String> =
        parts.into_iter().filter(|(flag, _)| site.flags.has(*flag)).map(|(_, part)| part).collect();
    if !wanted.is_empty() {
        out += &format!("{}: ", wanted.join(":"));
    }
    out
}

impl DebugSite {
    fn of(site: &Listed, on: bool) -> DebugSite {
        DebugSite {
            file: site.file.to_owned(),
            line: site.line,
            module: site.module.to_owned(),
            function: site.function.to_owned(),
            flags: site.flags.to_string(),
            level: site.level,
            on,
            format: site.format.to_owned(),
        }
    }
}

impl DebugEvent {
    fn of(site: &Listed, teller: EventSource, now: Duration, text: String) -> DebugEvent {
        let worker = match teller {
            EventSource::Control => None,
            EventSource::Worker(number) => Some(number),
        };
        DebugEvent {
            module: site.module.to_owned(),
            function: site.function.to_owned(),
            file: site.file.to_owned(),
            line: site.line,
            level: site.level,
            worker,
            ..DebugEvent::note(now, text)
        }
    }

    /// Something that no site tells.
    fn note(now: Duration, text: String) -> DebugEvent {
        DebugEvent { at_ms: now.as_millis() as u64, text, ..DebugEvent::default() }
    }
}
