//! Patterns of queries: names with the wildcards `*` and `?`, and parts of formats.

use crate::wildcard;

/// A name that may have wildcards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(String);

impl Pattern {
    /// Creates a pattern.
    pub fn new(text: &str) -> Pattern {
        Pattern(text.to_owned())
    }

    /// Returns true if the whole of `text` matches.
    pub fn matches(&self, text: &str) -> bool {
        wildcard::matches(&self.0, text, &one, |_| true)
    }

    /// Returns true if the path matches, as a whole or from one of its directories on.
    pub fn matches_path(&self, path: &str) -> bool {
        let from_directory = path.match_indices('/').map(|(at, _)| &path[at + 1..]);
        std::iter::once(path).chain(from_directory).any(|part| self.matches(part))
    }
}

/// Any character for `?`, otherwise the same one.
fn one(pattern: &[u8], byte: u8) -> Option<usize> {
    let head = *pattern.first()?;
    (head == b'?' || head == byte).then_some(1)
}

/// Returns true if a text is part of a format; with a leading `^`, its beginning.
pub fn found(wanted: &str, format: &str) -> bool {
    match wanted.strip_prefix('^') {
        Some(beginning) => format.starts_with(beginning),
        None => format.contains(wanted),
    }
}

/// Resolves octal escapes such as `\040` and those of C, so that a text with blanks can be one word.
pub fn unescape(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        let octal = after.bytes().take(3).take_while(|byte| (b'0'..=b'7').contains(byte)).count();
        let (letter, taken) = match after.chars().next() {
            Some(_) if octal > 0 => {
                let number = u32::from_str_radix(&after[..octal], 8).unwrap_or_default();
                (char::from(number as u8), octal)
            }
            Some('n') => ('\n', 1),
            Some('t') => ('\t', 1),
            Some(other) => (other, other.len_utf8()),
            None => ('\\', 0),
        };
        out.push(letter);
        rest = &after[taken..];
    }
    out + rest
}
