//! Citations of pages in docs/decisions.

use crate::citations::{Citation, numbers_after};

/// Citations of decisions: by number ("decision 0012", "decisions 0012 and 0013"), or by path ("docs/decisions/0012").
pub fn cited(text: &str) -> Vec<Citation> {
    let mut found = numbers_after(text, &["decision", "decisions", "Decision", "Decisions"], is_number);
    for (before, line) in text.lines().enumerate() {
        for (at, opener) in line.match_indices("decisions/") {
            let name =
                line[at + opener.len()..].split(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '.');
            let name =
                name.take(1).map(|name| name.trim_end_matches('.')).filter(|name| begins_with_number(name));
            found.extend(name.map(|name| Citation { line: before + 1, cited: name.to_owned() }));
        }
    }
    found
}

/// Returns whether the citation refers to this page, by its number or its full name.
pub fn is_of(page: &str, cited: &str) -> bool {
    page == cited || page.strip_suffix(".md") == Some(cited) || (is_number(cited) && page.starts_with(cited))
}

fn is_number(word: &str) -> bool {
    word.len() == 4 && begins_with_number(word)
}

fn begins_with_number(name: &str) -> bool {
    name.len() >= 4 && name.bytes().take(4).all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_are_found() {
        let text = "(decision 0012)\n// docs/decisions/0003, and decisions 0001 and 0002.\n[x](../decisions/0004-x.md#y) decisions/README.md\n";
        let found: Vec<(usize, String)> =
            cited(text).into_iter().map(|found| (found.line, found.cited)).collect();
        let expected = [(1, "0012"), (2, "0001"), (2, "0002"), (2, "0003"), (3, "0004-x.md")];
        assert_eq!(found, expected.map(|(line, cited)| (line, cited.to_owned())));
        assert!(cited("a decision of 2026, decision 12, decisions/").is_empty());
    }

    #[test]
    fn a_page_is_cited_by_number_or_by_name() {
        assert!(is_of("0004-x.md", "0004"));
        assert!(is_of("0004-x.md", "0004-x"));
        assert!(is_of("0004-x.md", "0004-x.md"));
        assert!(!is_of("0004-x.md", "0005"));
        assert!(!is_of("0004-x.md", "0004-y.md"));
    }
}
