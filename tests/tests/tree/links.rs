//! Links in Markdown pages, and the headings they may point to.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::citations::Citation;
use crate::files::{Text, read};

/// Targets of a page's links, except links to other sites.
pub fn relative(page: &str) -> Vec<Citation> {
    let text = without_code(page);
    let targets = text.match_indices("](").filter_map(|(at, opener)| {
        let target = text[at + opener.len()..].split(')').next()?.split_whitespace().next()?;
        let line = text[..at].matches('\n').count() + 1;
        Some(Citation { line, cited: target.to_owned() })
    });
    targets.filter(|link| !link.cited.contains("://") && !link.cited.starts_with("mailto:")).collect()
}

/// Returns whether a target exists: a file or folder of the repository and, after "#", a heading of that page.
pub fn resolves(root: &Path, page: &Text, target: &str) -> bool {
    let (path, anchor) = target.split_once('#').map_or((target, None), |(path, anchor)| (path, Some(anchor)));
    let from = root.join(&page.path);
    let to = if path.is_empty() { from } else { from.parent().unwrap_or(root).join(path) };
    let Ok(to) = to.canonicalize() else { return false };
    to.starts_with(root) && anchor.is_none_or(|anchor| to.is_file() && anchors(&read(&to)).contains(anchor))
}

/// Anchors of a page's headings by GitHub's rule: lower case, no punctuation, hyphens for spaces, a number for repeats.
pub fn anchors(page: &str) -> BTreeSet<String> {
    let mut times = BTreeMap::new();
    headings(page)
        .into_iter()
        .map(|heading| {
            let anchor = anchor(heading);
            let before = times.entry(anchor.clone()).and_modify(|times| *times += 1).or_insert(0);
            if *before == 0 { anchor } else { format!("{anchor}-{before}") }
        })
        .collect()
}

/// A page's headings; lines in code blocks do not count.
pub fn headings(page: &str) -> Vec<&str> {
    let mut is_code = false;
    let mut found = Vec::new();
    for line in page.lines() {
        is_code ^= line.trim_start().starts_with("```");
        let text = line.trim_start_matches('#');
        if !is_code && text.starts_with(' ') && text.len() < line.len() {
            found.push(text.trim());
        }
    }
    found
}

fn anchor(heading: &str) -> String {
    let mut text = heading.to_lowercase();
    while let Some((before, rest)) = text.split_once("](") {
        text = format!("{before}{}", rest.split_once(')').map_or("", |(_, after)| after));
    }
    text.retain(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(&c));
    text.replace(' ', "-")
}

/// Removes code blocks and code spans; line numbers stay the same.
fn without_code(page: &str) -> String {
    let mut is_code = false;
    let mut text = String::new();
    for line in page.lines() {
        let is_fence = line.trim_start().starts_with("```");
        if !is_code && !is_fence {
            text.push_str(line);
        }
        is_code ^= is_fence;
        text.push('\n');
    }
    text.split("\n\n").map(without_spans).collect::<Vec<_>>().join("\n\n")
}

/// Removes code spans, which reach from a run of backticks to the next run of the same length.
fn without_spans(paragraph: &str) -> String {
    let mut kept = String::new();
    let mut rest = paragraph;
    while let Some(start) = rest.find('`') {
        kept.push_str(&rest[..start]);
        rest = &rest[start..];
        let run = rest.len() - rest.trim_start_matches('`').len();
        let end = span_end(&rest[run..], run).map_or(run, |end| run + end);
        kept.extend(rest[..end].chars().filter(|c| *c == '\n'));
        rest = &rest[end..];
    }
    kept + rest
}

/// Returns the end of the run of backticks that closes a span, if any.
fn span_end(code: &str, run: usize) -> Option<usize> {
    let mut at = 0;
    while let Some(start) = code[at..].find('`') {
        let ticks = &code[at + start..];
        let length = ticks.len() - ticks.trim_start_matches('`').len();
        at += start + length;
        if length == run {
            return Some(at);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::PathBuf;

    #[test]
    fn links_are_found_but_not_in_code_or_to_other_sites() {
        let page = "[a](b.md) and [`c`\nd](e.md#f \"title\") ![g](h.svg)\n```\n[i](j.md)\n```\n`[k](l)` [m](https://n) [o](#p)\n";
        let found: Vec<(usize, String)> =
            relative(page).into_iter().map(|link| (link.line, link.cited)).collect();
        let expected = [(1, "b.md"), (2, "e.md#f"), (2, "h.svg"), (6, "#p")];
        assert_eq!(found, expected.map(|(line, target)| (line, target.to_owned())));
    }

    #[test]
    fn a_code_span_ends_at_as_many_backticks_as_it_began_with() {
        assert_eq!(without_spans("a ``b ` [c](d)`` e"), "a  e");
        assert_eq!(without_spans("a ` b\nc"), "a  b\nc");
        assert_eq!(without_spans("`a\nb` c `d` e"), "\n c  e");
    }

    #[test]
    fn anchors_are_made_as_on_github() {
        let page = "# Title\n## 7.1 `net.ipv4.vs.*` (per namespace)\n## [Rules](x.md): that mark\n## Title\n```\n# code\n```\n#no\n";
        let expected = ["title", "71-netipv4vs-per-namespace", "rules-that-mark", "title-1"];
        assert_eq!(anchors(page), BTreeSet::from(expected.map(String::from)));
    }

    #[test]
    fn a_link_resolves_only_to_what_is_there() {
        let root = tempfile::tempdir().expect("a folder");
        let root = root.path().canonicalize().expect("its path");
        fs::create_dir(root.join("docs")).expect("a folder");
        fs::write(root.join("docs/a.md"), "# One\n## Two words\n").expect("a page");
        fs::write(root.join("b.rs"), "").expect("a file");
        let page = Text { path: PathBuf::from("docs/a.md"), content: String::new() };
        for target in ["a.md", "#one", "a.md#two-words", "../b.rs", "../docs/"] {
            assert!(resolves(&root, &page, target), "{target}");
        }
        for target in ["c.md", "#three", "a.md#three", "../docs#one", "../..", "b.rs", "../c.md#one"] {
            assert!(!resolves(&root, &page, target), "{target}");
        }
    }
}
