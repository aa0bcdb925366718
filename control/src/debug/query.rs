//! The query language of the kernel's dynamic debug, which selects sites and changes their flags.
//!
//! A query is pairs of a keyword and a value, then an operator with flags: `module ip_vs_rr func pick +p`. Queries are
//! separated by `;` or a newline, and `#` starts a comment.

#[cfg(test)]
mod tests;

use std::fmt;
use std::ops::RangeInclusive;

use super::SiteState;
use super::pattern::{self, Pattern};

/// Flags of a site.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(u8);

impl Flags {
    /// Log the event.
    pub const PRINT: Flags = Flags(1);
    /// Prefix the text with the module.
    pub const MODULE: Flags = Flags(2);
    /// Prefix the function.
    pub const FUNCTION: Flags = Flags(4);
    /// Prefix the line.
    pub const LINE: Flags = Flags(8);
    /// Prefix the thread: a worker, or control.
    pub const THREAD: Flags = Flags(16);
    /// Letters of the flags, in the kernel's order.
    const LETTERS: [(char, Flags); 5] = [
        ('p', Flags::PRINT),
        ('m', Flags::MODULE),
        ('f', Flags::FUNCTION),
        ('l', Flags::LINE),
        ('t', Flags::THREAD),
    ];

    /// Returns true if the flag is set.
    pub fn has(self, flag: Flags) -> bool {
        self.0 & flag.0 != 0
    }
}

/// The format of the kernel's dynamic_debug/control: `p`, `pmflt`, or `_` for none.
impl fmt::Display for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("_");
        }
        let set = Flags::LETTERS.iter().filter(|(_, flag)| self.has(*flag));
        set.map(|(letter, _)| *letter).try_for_each(|letter| fmt::Write::write_char(f, letter))
    }
}

/// A change of flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlagChange {
    keep: u8,
    set: u8,
}

impl FlagChange {
    /// Returns the changed flags.
    pub fn apply(self, flags: Flags) -> Flags {
        Flags(flags.0 & self.keep | self.set)
    }
}

/// Selects the sites that match all the given conditions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    module: Option<Pattern>,
    file: Option<Pattern>,
    function: Option<Pattern>,
    format: Option<String>,
    lines: Option<RangeInclusive<u32>>,
    levels: Option<RangeInclusive<u32>>,
}

impl Filter {
    /// Returns true if a site matches.
    pub fn matches(&self, site: &SiteState) -> bool {
        let name = site.file.rsplit('/').next().unwrap_or(site.file);
        let matches =
            |pattern: &Option<Pattern>, text: &str| pattern.as_ref().is_none_or(|p| p.matches(text));
        let within = |range: &Option<RangeInclusive<u32>>, n: u32| {
            range.as_ref().is_none_or(|range| range.contains(&n))
        };
        matches(&self.module, site.module)
            && self.file.as_ref().is_none_or(|file| file.matches_path(site.file) || file.matches(name))
            && matches(&self.function, site.function)
            && self.format.as_ref().is_none_or(|wanted| pattern::found(wanted, site.format))
            && within(&self.lines, site.line)
            && within(&self.levels, site.level.into())
    }
}

/// A query: a change of the flags of some sites.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// Sites it applies to.
    pub filter: Filter,
    /// Change of their flags.
    pub change: FlagChange,
}

/// Reason why a query is invalid; names the word.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{error}; {hint}")]
pub struct QueryError {
    /// The error.
    pub error: String,
    /// Hint: the words to write instead.
    pub hint: String,
}

fn wrong<T>(error: String, hint: &str) -> Result<T, QueryError> {
    Err(QueryError { error, hint: hint.to_owned() })
}

/// Parses queries.
///
/// # Errors
/// At the first invalid word; then no query must be applied.
pub fn parse(text: &str) -> Result<Vec<Query>, QueryError> {
    let mut queries = Vec::new();
    for words in split(text)? {
        let Some((operation, pairs)) = words.split_last() else { continue };
        if !operation.starts_with(['+', '-', '=']) {
            return wrong(
                format!("{operation:?} is not an operator with flags, with which a query must end"),
                "add +p to switch the sites on, or -p to switch them off",
            );
        }
        queries.push(Query { filter: pairs_to_filter(pairs)?, change: change(operation)? });
    }
    if queries.is_empty() {
        return wrong("there is no query".to_owned(), "write sites and flags, as in: module ip_vs_rr +p");
    }
    Ok(queries)
}

/// Parses a query without an operator; an empty one matches all sites.
///
/// # Errors
/// At the first invalid word, or if there is more than one query.
pub fn parse_filter(text: &str) -> Result<Filter, QueryError> {
    match split(text)?.as_slice() {
        [] => Ok(Filter::default()),
        [words] => pairs_to_filter(words),
        _ => wrong(format!("{text:?} has several queries"), "list the sites of one query at a time"),
    }
}

/// Splits the text into queries, and these into words.
fn split(text: &str) -> Result<Vec<Vec<String>>, QueryError> {
    let mut queries = vec![Vec::new()];
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches([' ', '\t', '\r']);
        let Some(first) = rest.chars().next() else { break };
        if let ';' | '\n' = first {
            queries.push(Vec::new());
            rest = &rest[1..];
            continue;
        }
        if first == '#' {
            rest = rest.find('\n').map_or("", |end| &rest[end..]);
            continue;
        }
        let (word, left) = if let '"' | '\'' = first {
            let Some(end) = rest[1..].find(first) else {
                return wrong(format!("{rest} has no closing quote"), "add the closing quote");
            };
            (&rest[1..=end], &rest[end + 2..])
        } else {
            let end = rest.find([' ', '\t', '\r', '\n', ';']).unwrap_or(rest.len());
            rest.split_at(end)
        };
        if let Some(query) = queries.last_mut() {
            query.push(word.to_owned());
        }
        rest = left;
    }
    queries.retain(|words| !words.is_empty());
    Ok(queries)
}

const KEYWORDS: &str = "use module, file, func, line, format or level";

fn pairs_to_filter(words: &[String]) -> Result<Filter, QueryError> {
    let mut filter = Filter::default();
    for pair in words.chunks(2) {
        let [keyword, value] = pair else {
            return wrong(format!("{:?} has no value", pair[0]), "add a value, or remove the word");
        };
        let again = match keyword.as_str() {
            "module" => filter.module.replace(Pattern::new(value)).is_some(),
            "func" => filter.function.replace(Pattern::new(value)).is_some(),
            "format" => filter.format.replace(pattern::unescape(value)).is_some(),
            "line" => filter.lines.replace(range("line", value, u32::MAX)?).is_some(),
            "level" => filter.levels.replace(range("level", value, 12)?).is_some(),
            "file" => file(&mut filter, value)?,
            _ => return wrong(format!("{keyword:?} is not a keyword"), KEYWORDS),
        };
        if again {
            return wrong(
                format!("{keyword:?} is given twice in one query"),
                "write two queries, separated by ;",
            );
        }
    }
    Ok(filter)
}

/// `NAME`, `NAME:LINES` or `NAME:FUNCTION`. Returns true if the condition was given before.
fn file(filter: &mut Filter, value: &str) -> Result<bool, QueryError> {
    let (name, more) = value.split_once(':').map_or((value, None), |(name, more)| (name, Some(more)));
    let again = match more {
        None => false,
        Some(more) if more.starts_with(|c: char| c.is_ascii_digit() || c == '-') => {
            filter.lines.replace(range("line", more, u32::MAX)?).is_some()
        }
        Some(more) => filter.function.replace(Pattern::new(more)).is_some(),
    };
    Ok(filter.file.replace(Pattern::new(name)).is_some() || again)
}

/// `N`, `N-M`, `N-` or `-M`.
fn range(what: &str, text: &str, max: u32) -> Result<RangeInclusive<u32>, QueryError> {
    let number = |digits: &str, absent: u32| match digits {
        "" => Ok(absent),
        _ if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse().or(Err(())),
        _ => Err(()),
    };
    let ends = match text.split_once('-') {
        Some((first, last)) => number(first, 0).and_then(|first| Ok((first, number(last, max)?))),
        None => number(text, 0).map(|only| (only, only)),
    };
    match ends {
        Ok((first, last)) if first > last => {
            wrong(format!("{what} {text:?} ends before it begins"), "write the smaller number first")
        }
        Ok((first, last)) if !text.is_empty() && text != "-" => Ok(first..=last),
        _ => wrong(
            format!("{what} {text:?} is not a number or range"),
            "write it as 100, 100-200, 100- or -200",
        ),
    }
}

fn change(operation: &str) -> Result<FlagChange, QueryError> {
    let mut flags = 0;
    for letter in operation.chars().skip(1).filter(|letter| *letter != '_') {
        match Flags::LETTERS.iter().find(|(known, _)| *known == letter) {
            Some((_, flag)) => flags |= flag.0,
            None => {
                return wrong(
                    format!("{letter:?} in {operation:?} is not a flag"),
                    "use p (print), m (module), f (function), l (line), t (thread) or _ (none)",
                );
            }
        }
    }
    Ok(match operation.as_bytes()[0] {
        b'+' => FlagChange { keep: u8::MAX, set: flags },
        b'-' => FlagChange { keep: !flags, set: 0 },
        _ => FlagChange { keep: 0, set: flags },
    })
}
