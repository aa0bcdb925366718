//! Text in the syntax of sysctl.conf(5): what it sets of our variables, line by line.

use super::{PREFIX, names};
use crate::input_error::InputErrors;

/// A line that sets something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Where: `FILE:LINE`.
    pub place: String,
    /// The variable, without [`PREFIX`].
    pub name: String,
    /// Its value.
    pub value: String,
    /// An error here is none: the line begins with `-`.
    pub forgiven: bool,
}

/// What a text says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Read {
    /// What is to be set, in turn.
    pub lines: Vec<Line>,
    /// What is about other variables than ours, each as `FILE:LINE: NAME`.
    pub skipped: Vec<String>,
}

/// Reads a text. Patterns become the variables they mean, but for those that a line `-PATTERN` takes out and those that
/// have a line of their own. With `lenient` names that are not there are passed over.
///
/// # Errors
/// Everything that is wrong with it; then nothing is to be set.
pub fn read(file: &str, text: &str, lenient: bool) -> Result<Read, InputErrors> {
    let (mut read, mut errors, mut out, mut wide) =
        (Read::default(), InputErrors::default(), Vec::new(), Vec::new());
    for (number, line) in (1..).zip(text.lines()) {
        let place = format!("{file}:{number}");
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        let (forgiven, line) = line.strip_prefix('-').map_or((false, line), |rest| (true, rest.trim_start()));
        let Some((name, value)) = line.split_once('=') else {
            if forgiven {
                out.push(dotted(line));
            } else {
                errors.add(
                    place,
                    format!("{line:?} sets nothing"),
                    "write NAME = VALUE, or # before a remark",
                );
            }
            continue;
        };
        let (name, value) = (dotted(name.trim()), value.trim().to_owned());
        let Some(bare) = ours(&name) else {
            read.skipped.push(format!("{place}: {name}"));
            continue;
        };
        let lines = if is_pattern(bare) { &mut wide } else { &mut read.lines };
        lines.push(Line { place, name: bare.to_owned(), value, forgiven });
    }
    check(&read.lines, lenient, &mut errors);
    errors.into_result()?;
    read.lines.retain(|line| names().any(|name| name == line.name));
    let own: Vec<String> = read.lines.iter().map(|line| line.name.clone()).collect();
    let taken_out = |name: &str| out.iter().filter_map(|out| ours(out)).any(|out| matches(out, name));
    let named = wide.iter().flat_map(|line| {
        let meant = names().filter(|name| matches(&line.name, name) && !own.iter().any(|own| own == name));
        meant.filter(|name| !taken_out(name)).map(|name| Line { name: name.to_owned(), ..line.clone() })
    });
    // A pattern says how things are in general; the lines of their own come after it.
    read.lines = named.chain(std::mem::take(&mut read.lines)).collect();
    Ok(read)
}

fn check(lines: &[Line], lenient: bool, errors: &mut InputErrors) {
    let unknown = |line: &&Line| !lenient && !line.forgiven && names().all(|name| name != line.name);
    for line in lines.iter().filter(unknown) {
        let error = format!("{PREFIX}{}: No such file or directory", line.name);
        errors.add(&line.place, error, "`pollux sysctl -a` shows those there are");
    }
}

/// A name with dots; one whose first separator is a slash is a path.
pub fn dotted(name: &str) -> String {
    match name.find(['.', '/']) {
        Some(at) if name.as_bytes()[at] == b'/' => name.trim_start_matches('/').replace('/', "."),
        _ => name.to_owned(),
    }
}

/// What is left of a name without [`PREFIX`]; none if it is of another part of the tree. A pattern may reach into ours.
fn ours(name: &str) -> Option<&str> {
    if let Some(bare) = name.strip_prefix(PREFIX) {
        return Some(bare);
    }
    let (above, last) = name.rsplit_once('.')?;
    (is_pattern(above) && matches(above, PREFIX.trim_end_matches('.'))).then_some(last)
}

/// Whether it means more than one name.
pub fn is_pattern(name: &str) -> bool {
    name.contains(['*', '?', '['])
}

/// Whether a pattern of the shell fits a name: `*` is any letters but a dot, `?` is one, `[a-c]` one of these.
pub fn matches(pattern: &str, name: &str) -> bool {
    fits(pattern.as_bytes(), name.as_bytes())
}

/// Goes back to the last `*` only, so that no pattern takes long.
fn fits(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n, mut back) = (0, 0, None);
    while n < name.len() {
        match one(&pattern[p..], name[n]) {
            Step::Star => {
                back = Some((p + 1, n));
                p += 1;
            }
            Step::Fits(length) => (p, n) = (p + length, n + 1),
            Step::Not => match back {
                Some((after, from)) if name[from] != b'.' => {
                    back = Some((after, from + 1));
                    (p, n) = (after, from + 1);
                }
                _ => return false,
            },
        }
    }
    pattern[p..].iter().all(|&letter| letter == b'*')
}

enum Step {
    Star,
    Fits(usize),
    Not,
}

/// What the pattern says to one letter.
fn one(pattern: &[u8], letter: u8) -> Step {
    match pattern.first() {
        Some(b'*') => Step::Star,
        Some(b'?') if letter != b'.' => Step::Fits(1),
        Some(b'[') => match pattern.iter().skip(2).position(|&end| end == b']') {
            Some(end) if in_set(&pattern[1..end + 2], letter) => Step::Fits(end + 3),
            Some(_) => Step::Not,
            None if letter == b'[' => Step::Fits(1),
            None => Step::Not,
        },
        Some(&same) if same == letter => Step::Fits(1),
        _ => Step::Not,
    }
}

fn in_set(set: &[u8], letter: u8) -> bool {
    let (not, set) = match set {
        [b'!' | b'^', rest @ ..] => (true, rest),
        _ => (false, set),
    };
    let (mut at, mut found) = (0, false);
    while at < set.len() {
        let last = if set.get(at + 1) == Some(&b'-') && at + 2 < set.len() { at + 2 } else { at };
        found |= (set[at]..=set[last]).contains(&letter);
        at = last + 1;
    }
    found != not
}
