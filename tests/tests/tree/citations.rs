//! Finds citations such as "spec 6.3 and 6.4" in text, and reports those that do not resolve.

use crate::files::Text;

/// A citation and its line number, counted from 1.
#[derive(Debug, PartialEq, Eq)]
pub struct Citation {
    pub line: usize,
    pub cited: String,
}

/// Returns a line "FILE:LINE: CITATION: WHY" for each wrong citation.
pub fn report(text: &Text, cited: Vec<Citation>, is_wrong: impl Fn(&str) -> bool, why: &str) -> Vec<String> {
    let wrong = cited.into_iter().filter(|citation| is_wrong(&citation.cited));
    wrong.map(|Citation { line, cited }| format!("{}:{line}: {cited}: {why}", text.path.display())).collect()
}

/// Returns the numbers that follow one of these words, even if the comment wraps between them: "spec 2.4",
/// "spec 6.3, 6.4 and 6.7", "spec 6.3 to 6.7", "spec section 3".
pub fn numbers_after(text: &str, openers: &[&str], is_number: impl Fn(&str) -> bool) -> Vec<Citation> {
    let words: Vec<(usize, &str)> = words(text).collect();
    let mut found = Vec::new();
    let mut at = 0;
    while at < words.len() {
        let is_opener = openers.contains(&words[at].1.trim_start_matches(|c: char| !c.is_alphanumeric()));
        at += 1;
        if is_opener {
            at += usize::from(words.get(at).is_some_and(|(_, word)| ["section", "sections"].contains(word)));
            at += list(&words[at..], &is_number, &mut found);
        }
    }
    found
}

/// Reads a list of numbers and returns its length in words.
fn list(words: &[(usize, &str)], is_number: &impl Fn(&str) -> bool, found: &mut Vec<Citation>) -> usize {
    let mut at = 0;
    while let Some(&(line, word)) = words.get(at) {
        let numbers: Vec<&str> = word.trim_end_matches([',', ';', ':', '.', ')', ']']).split('–').collect();
        if !numbers.iter().all(|number| is_number(number)) {
            break;
        }
        found.extend(numbers.into_iter().map(|number| Citation { line, cited: number.to_owned() }));
        at += 1;
        let has_joiner = words.get(at).is_some_and(|(_, word)| ["and", "or", "to"].contains(word));
        if has_joiner {
            at += 1;
        } else if !word.ends_with(',') {
            break;
        }
    }
    at
}

/// The words of a text with their line numbers, without comment markers.
fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().flat_map(|(before, line)| {
        let line = line.trim_start().trim_start_matches("//").trim_start_matches(['/', '!']);
        line.split_whitespace().map(move |word| (before + 1, word))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    #[test]
    fn a_wrong_citation_is_reported_with_its_place() {
        let text = Text { path: PathBuf::from("docs/a.md"), content: String::new() };
        let cited = |line, cited: &str| Citation { line, cited: cited.to_owned() };
        let lines =
            report(&text, vec![cited(3, "1.1"), cited(8, "9.9")], |cited| cited == "9.9", "no such section");
        assert_eq!(lines, ["docs/a.md:8: 9.9: no such section"]);
        assert!(report(&text, vec![cited(3, "1.1")], |cited| cited == "9.9", "no such section").is_empty());
    }
}
