//! Patterns of queries: names with `*` for any letters and `?` for one, and texts to be found in formats.

/// A name, perhaps with wildcards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(String);

impl Pattern {
    /// This pattern.
    pub fn new(text: &str) -> Pattern {
        Pattern(text.to_owned())
    }

    /// Whether all of `text` fits.
    pub fn matches(&self, text: &str) -> bool {
        fits(self.0.as_bytes(), text.as_bytes())
    }

    /// Whether a path fits, as a whole or from one of its folders on.
    pub fn matches_path(&self, path: &str) -> bool {
        let from_folder = path.match_indices('/').map(|(at, _)| &path[at + 1..]);
        std::iter::once(path).chain(from_folder).any(|part| self.matches(part))
    }
}

/// When a letter does not fit, the latest `*` takes one more; so no pattern takes longer than its length times the
/// text's.
fn fits(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut seen) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while seen < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, seen));
                at += 1;
            }
            Some(&letter) if letter == b'?' || letter == text[seen] => {
                at += 1;
                seen += 1;
            }
            _ => match star {
                Some((place, taken)) => {
                    star = Some((place, taken + 1));
                    (at, seen) = (place + 1, taken + 1);
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|&letter| letter == b'*')
}

/// Whether a text is part of a format; after `^` it must be the beginning.
pub fn found(wanted: &str, format: &str) -> bool {
    match wanted.strip_prefix('^') {
        Some(beginning) => format.starts_with(beginning),
        None => format.contains(wanted),
    }
}

/// Octal `\040` and the letters of C, so that a text with blanks can be one word.
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
