//! Parser for the syntax of sysctl.conf(5), restricted to `net.ipv4.vs.*`.

use super::{PREFIX, names};
use crate::model::input_error::InputErrors;
use crate::wildcard;

/// A line that sets a variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// `FILE:LINE`.
    pub location: String,
    /// The variable, without [`PREFIX`].
    pub name: String,
    /// Its value.
    pub value: String,
    /// The line begins with `-`: failing to set it is not an error.
    pub optional: bool,
}

/// The contents of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// Variables to set, in order.
    pub lines: Vec<Line>,
    /// Ignored lines about other variables, as `FILE:LINE: NAME`.
    pub skipped: Vec<String>,
}

/// Parses a file. A pattern is expanded to the variables it matches, except those excluded by a line `-PATTERN` and those
/// with a line of their own. With `lenient`, unknown names are ignored.
///
/// # Errors
/// All errors in the file; then nothing must be set.
pub fn parse(file: &str, text: &str, lenient: bool) -> Result<Contents, InputErrors> {
    let (mut contents, mut errors, mut excluded, mut patterns) =
        (Contents::default(), InputErrors::default(), Vec::new(), Vec::new());
    for (number, line) in (1..).zip(text.lines()) {
        let location = format!("{file}:{number}");
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        let (optional, line) = line.strip_prefix('-').map_or((false, line), |rest| (true, rest.trim_start()));
        let Some((name, value)) = line.split_once('=') else {
            if optional {
                excluded.push(dotted(line));
            } else {
                errors.add(
                    location,
                    format!("{line:?} has no value"),
                    "write NAME = VALUE, or begin the line with # for a comment",
                );
            }
            continue;
        };
        let (name, value) = (dotted(name.trim()), value.trim().to_owned());
        let Some(bare_name) = bare(&name) else {
            contents.skipped.push(format!("{location}: {name}"));
            continue;
        };
        let lines = if is_pattern(bare_name) { &mut patterns } else { &mut contents.lines };
        lines.push(Line { location, name: bare_name.to_owned(), value, optional });
    }
    check(&contents.lines, lenient, &mut errors);
    errors.into_result()?;
    contents.lines.retain(|line| names().any(|name| name == line.name));
    let own: Vec<String> = contents.lines.iter().map(|line| line.name.clone()).collect();
    let is_excluded =
        |name: &str| excluded.iter().filter_map(|line| bare(line)).any(|line| matches(line, name));
    let expanded = patterns.iter().flat_map(|line| {
        let matching = names().filter(|name| matches(&line.name, name) && !own.iter().any(|own| own == name));
        matching.filter(|name| !is_excluded(name)).map(|name| Line { name: name.to_owned(), ..line.clone() })
    });
    // The lines with full names override the patterns, so they come last.
    contents.lines = expanded.chain(std::mem::take(&mut contents.lines)).collect();
    Ok(contents)
}

fn check(lines: &[Line], lenient: bool, errors: &mut InputErrors) {
    let unknown = |line: &&Line| !lenient && !line.optional && names().all(|name| name != line.name);
    for line in lines.iter().filter(unknown) {
        let error = format!("{PREFIX}{}: No such file or directory", line.name);
        errors.add(&line.location, error, "`pollux sysctl -a` lists the variables");
    }
}

/// Converts a name written as a path, whose first separator is a slash, to dots.
pub fn dotted(name: &str) -> String {
    match name.find(['.', '/']) {
        Some(at) if name.as_bytes()[at] == b'/' => name.trim_start_matches('/').replace('/', "."),
        _ => name.to_owned(),
    }
}

/// The name without [`PREFIX`], or `None` for other parts of the tree. A pattern such as `net.*.vs.drop_*` also counts.
fn bare(name: &str) -> Option<&str> {
    if let Some(bare) = name.strip_prefix(PREFIX) {
        return Some(bare);
    }
    let (above, last) = name.rsplit_once('.')?;
    (is_pattern(above) && matches(above, PREFIX.trim_end_matches('.'))).then_some(last)
}

/// Returns true if the name contains wildcards.
pub fn is_pattern(name: &str) -> bool {
    name.contains(['*', '?', '['])
}

/// Matches a shell pattern: `*` is any string without dots, `?` one character, `[a-c]` one of a set.
pub fn matches(pattern: &str, name: &str) -> bool {
    wildcard::matches(pattern, name, &one, |byte| byte != b'.')
}

/// Returns the length of the pattern's head, if it matches this character.
fn one(pattern: &[u8], byte: u8) -> Option<usize> {
    match pattern.first()? {
        b'?' if byte != b'.' => Some(1),
        b'[' => match pattern.iter().skip(2).position(|&end| end == b']') {
            Some(end) => in_set(&pattern[1..end + 2], byte).then_some(end + 3),
            None => (byte == b'[').then_some(1),
        },
        &same => (same == byte).then_some(1),
    }
}

fn in_set(set: &[u8], byte: u8) -> bool {
    let (not, set) = match set {
        [b'!' | b'^', rest @ ..] => (true, rest),
        _ => (false, set),
    };
    let (mut at, mut found) = (0, false);
    while at < set.len() {
        let last = if set.get(at + 1) == Some(&b'-') && at + 2 < set.len() { at + 2 } else { at };
        found |= (set[at]..=set[last]).contains(&byte);
        at = last + 1;
    }
    found != not
}
