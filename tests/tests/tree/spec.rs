//! Sections of the specification: the existing ones and the cited ones.

use std::collections::BTreeSet;

use crate::citations::{Citation, numbers_after};
use crate::links::headings;

/// The section numbers in a page's headings: 4 of "## 4. Connections", 4.3 of "### 4.3 Persistence".
pub fn sections(page: &str) -> BTreeSet<String> {
    let first_words = headings(page).into_iter().filter_map(|heading| heading.split_whitespace().next());
    first_words.map(|word| word.trim_end_matches('.').to_owned()).filter(|word| is_section(word)).collect()
}

/// Citations such as "spec 4.3" in a comment or a page.
pub fn cited(text: &str) -> Vec<Citation> {
    numbers_after(text, &["spec", "Spec"], is_section)
}

/// Citations in table columns headed "spec".
pub fn cited_in_tables(page: &str) -> Vec<Citation> {
    let mut column = None;
    let mut is_in_table = false;
    let mut found = Vec::new();
    for (before, line) in page.lines().enumerate() {
        if !line.starts_with('|') {
            is_in_table = false;
            continue;
        }
        let mut cells = line.trim_matches('|').split('|').map(str::trim);
        if !is_in_table {
            is_in_table = true;
            column = cells.position(|cell| cell == "spec");
        } else if let Some(cell) =
            column.and_then(|column| cells.nth(column)).filter(|cell| !cell.starts_with("--"))
        {
            let numbers = cell.split(", ").filter(|number| !number.is_empty());
            found.extend(numbers.map(|number| Citation { line: before + 1, cited: number.to_owned() }));
        }
    }
    found
}

fn is_section(word: &str) -> bool {
    word.split('.').all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(found: Vec<Citation>) -> Vec<(usize, String)> {
        found.into_iter().map(|citation| (citation.line, citation.cited)).collect()
    }

    #[test]
    fn sections_are_numbered_headings() {
        let page =
            "# Title\n## 4. Connections\n### 4.3 Persistence\n## Not 5\n```\n## 6. code\n```\n### 10.2 `x`\n";
        assert_eq!(sections(page), BTreeSet::from(["4", "4.3", "10.2"].map(String::from)));
    }

    #[test]
    fn every_form_of_citation_is_found() {
        let one = |text| numbers(cited(text)).into_iter().map(|(_, number)| number).collect::<Vec<_>>();
        assert_eq!(one("/// Ends early; spec 4.10."), ["4.10"]);
        assert_eq!(one("as (spec 2.5) says"), ["2.5"]);
        assert_eq!(one("spec 4.5 and 4.6."), ["4.5", "4.6"]);
        assert_eq!(one("spec 6.3 to 6.7."), ["6.3", "6.7"]);
        assert_eq!(one("spec 6.3, 6.4, 6.6, 6.7. Then 9.9"), ["6.3", "6.4", "6.6", "6.7"]);
        assert_eq!(one("spec 6.3–6.7"), ["6.3", "6.7"]);
        assert_eq!(one("spec section 3."), ["3"]);
        assert_eq!(one("spec 4.4 \"leave\", 5.5"), ["4.4"]);
        assert!(one("the spec of 2.5, RFC 4443 2.3, spec x, Kind::spec 4.3x").is_empty());
    }

    #[test]
    fn a_citation_may_go_on_in_the_next_line_of_a_comment() {
        assert_eq!(
            numbers(cited("a\n    /// of its own; spec\n    /// 4.3 and\n    /// 4.4.\n")),
            [(3, "4.3".to_owned()), (4, "4.4".to_owned())]
        );
    }

    #[test]
    fn cells_of_the_column_spec_are_citations() {
        let page = "| behaviour | spec | test |\n| --- | --- | --- |\n| a | 6.8, 6.9 | `b` |\n\n| x | y |\n| - | - |\n| 1 | 2 |\n";
        assert_eq!(numbers(cited_in_tables(page)), [(3, "6.8".to_owned()), (3, "6.9".to_owned())]);
    }
}
