//! Debug events: which sites are on, their texts, and where they are written.
//!
//! - [`query`]: the query language for switching sites, that of the kernel's dynamic debug.
//! - [`sites`]: the events of control; those of workers are in `pollux_dataplane::trace`.
//! - [`text`]: formats a worker's record.
//! - [`limit`]: rate limits.

pub mod limit;
mod pattern;
pub mod query;
pub mod sites;
#[cfg(test)]
mod tests;
pub mod text;

use std::time::{Duration, Instant};

use pollux_dataplane::trace::{self, Record, Switches};

use self::limit::RateLimiter;
use self::query::{Filter, Flags, Query};
use crate::api::follow::{EventReceiver, Followers};
use crate::api::view::{DebugEvent, DebugSite};
use crate::log;

/// A debug site with its flags.
#[derive(Clone, Debug)]
pub struct SiteState {
    /// Module, by the kernel's name.
    pub module: &'static str,
    /// Source file.
    pub file: &'static str,
    /// Line in the file.
    pub line: u32,
    /// Function.
    pub function: &'static str,
    /// Text with placeholders.
    pub format: &'static str,
    /// Lowest `debug_level` that enables it.
    pub level: u8,
    /// Flags set by queries.
    pub flags: Flags,
}

/// All sites, and the destinations of their events.
pub struct DebugLog {
    /// Workers' sites by number, then control's.
    sites: Vec<SiteState>,
    level: i32,
    limit: RateLimiter,
    followers: Followers,
    began: Instant,
    /// Events lost by workers, as of the last report.
    lost: u64,
}

impl Default for DebugLog {
    fn default() -> DebugLog {
        let list = |specs| {
            trace::sites(specs).map(|site| SiteState {
                module: site.module,
                file: site.spec.location.file,
                line: site.spec.location.line,
                function: site.spec.location.function(),
                format: site.spec.format,
                level: site.spec.level,
                flags: Flags::default(),
            })
        };
        let sites: Vec<SiteState> = list(trace::Kind::SPECS).chain(list(sites::Kind::SPECS)).collect();
        DebugLog {
            limit: RateLimiter::new(sites.len()),
            sites,
            level: 0,
            followers: Followers::default(),
            began: Instant::now(),
            lost: 0,
        }
    }
}

/// Reads a level of debug events.
///
/// # Errors
/// If it is not a number.
pub fn parse_level(text: &str) -> Result<i32, String> {
    text.parse().map_err(|_| "not a whole number; write 0 to 12, or -1 for none".to_owned())
}

impl DebugLog {
    /// Returns the sites that match a filter.
    pub fn list(&self, filter: &Filter) -> Vec<DebugSite> {
        let matching = self.sites.iter().filter(|site| filter.matches(site));
        matching.map(|site| DebugSite::of(site, self.is_on(site))).collect()
    }

    /// Applies queries in order and returns how many sites they matched.
    pub fn set(&mut self, queries: &[Query]) -> usize {
        let mut matched = 0;
        for query in queries {
            for site in self.sites.iter_mut().filter(|site| query.filter.matches(site)) {
                site.flags = query.change.apply(site.flags);
                matched += 1;
            }
        }
        matched
    }

    /// Enables the events of this level and below.
    pub fn set_level(&mut self, level: i32) {
        self.level = level;
    }

    /// The current `debug_level`.
    pub fn level(&self) -> i32 {
        self.level
    }

    fn is_on(&self, site: &SiteState) -> bool {
        site.flags.has(Flags::PRINT) || self.level >= i32::from(site.level)
    }

    /// The sites of workers that are on.
    pub fn switches(&self) -> Switches {
        let on = (0..trace::Kind::SITES).zip(&self.sites).filter(|(_, site)| self.is_on(site));
        Switches::of(on.map(|(number, _)| number))
    }

    /// Adds a follower of all events from now on.
    pub fn follow(&mut self) -> EventReceiver {
        self.followers.add()
    }

    /// Writes the event of a worker's record.
    pub fn record(&mut self, worker: u16, record: &Record) {
        let number = usize::from(record.site);
        // A record may be older than the change that switched its site off.
        if self.sites.get(number).is_some_and(|site| self.is_on(site)) {
            self.write(number, Some(worker), |site| text::text(site.format, record));
        }
    }

    /// Writes an event of control. The words replace the `{}` of the format, and are computed only if the site is on.
    /// `site` comes from `trace_site!`.
    pub fn event<const N: usize>(&mut self, site: u16, words: impl FnOnce() -> [String; N]) {
        let number = usize::from(trace::Kind::SITES + site);
        if self.sites.get(number).is_some_and(|site| self.is_on(site)) {
            self.write(number, None, |site| text::fill(site.format, &words()));
        }
    }

    /// Writes an event of a worker, or of control.
    fn write(&mut self, number: usize, worker: Option<u16>, words: impl FnOnce(&SiteState) -> String) {
        let now = self.began.elapsed();
        let site = &self.sites[number];
        if !self.limit.allows(number, site.level, now) {
            return;
        }
        let text = format!("{}IPVS: {}", prefix(site, worker), words(site));
        // Requested events are written at any log level. A failure (level 0) that was not requested is a warning.
        if site.level > 0 || site.flags.has(Flags::PRINT) || log::is_on(log::Level::Warn) {
            log::line(format_args!("{text}"));
        }
        self.followers.send(|| DebugEvent::of(site, worker, now, text));
    }

    /// Reports suppressed and lost events, once a second. `lost` is what workers have lost since the start. Call it often.
    pub fn report_lost(&mut self, lost: u64) {
        let now = self.began.elapsed();
        if let Some(suppressed) = self.limit.suppressed(now) {
            self.note(now, format!("IPVS: {suppressed} debug events suppressed"));
        }
        if lost > self.lost && self.limit.is_second(now) {
            let more = lost - self.lost;
            self.lost = lost;
            self.note(now, format!("IPVS: {more} debug events lost: workers log faster than control reads"));
        }
    }

    fn note(&mut self, now: Duration, text: String) {
        log::line(format_args!("{text}"));
        self.followers.send(|| DebugEvent::note(now, text));
    }
}

/// The prefix that the flags ask for, in the kernel's order.
fn prefix(site: &SiteState, worker: Option<u16>) -> String {
    let mut out = String::new();
    if site.flags.has(Flags::THREAD) {
        out += &worker.map_or("[control] ".to_owned(), |number| format!("[worker {number}] "));
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
    fn of(site: &SiteState, on: bool) -> DebugSite {
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
    fn of(site: &SiteState, worker: Option<u16>, now: Duration, text: String) -> DebugEvent {
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

    /// An event without a site.
    fn note(now: Duration, text: String) -> DebugEvent {
        DebugEvent { at_ms: now.as_millis() as u64, text, ..DebugEvent::default() }
    }
}
