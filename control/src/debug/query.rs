//! The language of the kernel's dynamic debug: which sites are meant, and what becomes of them.
//!
//! A query is pairs of a keyword and a value, then an operator with flags: `module ip_vs_rr func pick +p`. Several are
//! parted by `;` or a line end, and `#` begins a comment.

#[cfg(test)]
mod tests;

use std::fmt;
use std::ops::RangeInclusive;

use super::Listed;
use super::pattern::{self, Pattern};

/// What a site prints, and whether.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(u8);

impl Flags {
    /// It is on.
    pub const PRINT: Flags = Flags(1);
    /// Its module goes before the text.
    pub const MODULE: Flags = Flags(2);
    /// Its function.
    pub const FUNCTION: Flags = Flags(4);
    /// Its line.
    pub const LINE: Flags = Flags(8);
    /// The thread: a worker, or control.
    pub const THREAD: Flags = Flags(16);
    /// By letter, in the kernel's order.
    const LETTERS: [(char, Flags); 5] = [
        ('p', Flags::PRINT),
        ('m', Flags::MODULE),
        ('f', Flags::FUNCTION),
        ('l', Flags::LINE),
        ('t', Flags::THREAD),
    ];

    /// Whether a flag is set.
    pub fn has(self, flag: Flags) -> bool {
        self.0 & flag.0 != 0
    }
}

/// As the kernel's control file shows them: `p`, `pmflt`, or `_` for none.
impl fmt::Display for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("_");
        }
        let set = Flags::LETTERS.iter().filter(|(_, flag)| self.has(*flag));
        set.map(|(letter, _)| *letter).try_for_each(|letter| fmt::Write::write_char(f, letter))
    }
}

/// What becomes of flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    keep: u8,
    set: u8,
}

impl Change {
    /// The flags afterwards.
    pub fn onto(self, flags: Flags) -> Flags {
        Flags(flags.0 & self.keep | self.set)
    }
}

/// Which sites are meant: those that fit in all that is given.
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
    /// Whether a site is meant.
    pub fn matches(&self, site: &Listed) -> bool {
        let name = site.file.rsplit('/').next().unwrap_or(site.file);
        let fits = |pattern: &Option<Pattern>, text: &str| pattern.as_ref().is_none_or(|p| p.matches(text));
        let within = |range: &Option<RangeInclusive<u32>>, n: u32| {
            range.as_ref().is_none_or(|range| range.contains(&n))
        };
        fits(&self.module, site.module)
            && self.file.as_ref().is_none_or(|file| file.matches_path(site.file) || file.matches(name))
            && fits(&self.function, site.function)
            && self.format.as_ref().is_none_or(|wanted| pattern::found(wanted, site.format))
            && within(&self.lines, site.line)
            && within(&self.levels, site.level.into())
    }
}

/// A query: what is to become of which sites.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// Which sites.
    pub filter: Filter,
    /// What becomes of them.
    pub change: Change,
}

/// Why a text is no query; the text names the word.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{error}; {hint}")]
pub struct QueryError {
    /// What is wrong.
    pub error: String,
    /// What helps.
    pub hint: String,
}

fn wrong<T>(error: String, hint: &str) -> Result<T, QueryError> {
    Err(QueryError { error, hint: hint.to_owned() })
}

/// Reads queries.
///
/// # Errors
/// At the first word that is not understood; nothing is to be done then.
pub fn parse(text: &str) -> Result<Vec<Query>, QueryError> {
    let mut queries = Vec::new();
    for words in split(text)? {
        let Some((operation, pairs)) = words.split_last() else { continue };
        if !operation.starts_with(['+', '-', '=']) {
            return wrong(
                format!("{operation:?} is not an operator with flags, which a query ends with"),
                "add +p to switch these sites on, -p to switch them off",
            );
        }
        queries.push(Query { filter: pairs_to_filter(pairs)?, change: change(operation)? });
    }
    if queries.is_empty() {
        return wrong("there is no query".to_owned(), "say which sites and what, as in: module ip_vs_rr +p");
    }
    Ok(queries)
}

/// Reads the part of a query that says which sites; an empty one means all.
///
/// # Errors
/// At the first word that is not understood, or when there is more than one query.
pub fn parse_filter(text: &str) -> Result<Filter, QueryError> {
    match split(text)?.as_slice() {
        [] => Ok(Filter::default()),
        [words] => pairs_to_filter(words),
        _ => wrong(format!("{text:?} are several queries"), "ask for one after the other"),
    }
}

/// The words of each query.
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
                return wrong(format!("{rest} has no closing quote"), "close it");
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
            return wrong(format!("{:?} has no value", pair[0]), "add one, or leave the word out");
        };
        let again = match keyword.as_str() {
            "module" => filter.module.replace(Pattern::new(value)).is_some(),
            "func" => filter.function.replace(Pattern::new(value)).is_some(),
            "format" => filter.format.replace(pattern::unescape(value)).is_some(),
            "line" => filter.lines.replace(range("line", value, u32::MAX)?).is_some(),
            "level" => filter.levels.replace(range("level", value, 12)?).is_some(),
            "file" => file(&mut filter, value)?,
            _ => return wrong(format!("{keyword:?} is no keyword"), KEYWORDS),
        };
        if again {
            return wrong(
                format!("{keyword:?} is given twice in one query"),
                "write two queries, parted by ;",
            );
        }
    }
    Ok(filter)
}

/// `NAME`, `NAME:LINES` or `NAME:FUNCTION`; tells whether it was given before.
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
fn range(what: &str, text: &str, most: u32) -> Result<RangeInclusive<u32>, QueryError> {
    let number = |digits: &str, absent: u32| match digits {
        "" => Ok(absent),
        _ if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse().or(Err(())),
        _ => Err(()),
    };
    let ends = match text.split_once('-') {
        Some((first, last)) => number(first, 0).and_then(|first| Ok((first, number(last, most)?))),
        None => number(text, 0).map(|only| (only, only)),
    };
    match ends {
        Ok((first, last)) if first > last => {
            wrong(format!("{what} {text:?} ends before it begins"), "write the smaller number first")
        }
        Ok((first, last)) if !text.is_empty() && text != "-" => Ok(first..=last),
        _ => {
            wrong(format!("{what} {text:?} is no range of numbers"), "write it as 100, 100-200, 100- or -200")
        }
    }
}

fn change(operation: &str) -> Result<Change, QueryError> {
    let mut flags = 0;
    for letter in operation.chars().skip(1).filter(|letter| *letter != '_') {
        match Flags::LETTERS.iter().find(|(known, _)| *known == letter) {
            Some((_, flag)) => flags |= flag.0,
            None => {
                return wrong(
                    format!("{letter:?} in {operation:?} is no flag"),
                    "use p (print), m (module), f (function), l (line), t (thread) or _ (none)",
                );
            }
        }
    }
    Ok(match operation.as_bytes()[0] {
        b'+' => Change { keep: u8::MAX, set: flags },
        b'-' => Change { keep: !flags, set: 0 },
        _ => Change { keep: 0, set: flags },
    })
}
