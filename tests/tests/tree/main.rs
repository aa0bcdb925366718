//! Checks the repository's own text: every cited section of the specification, every cited decision and every link exists,
//! and modules import each other in one direction.

mod citations;
mod cycles;
mod decisions;
mod files;
mod links;
mod samples;
mod spec;

use std::collections::BTreeSet;
use std::path::Path;

use citations::{Citation, report};
use files::{Text, read, root, texts};

const SPEC: &str = "docs/ipvs-spec.md";

#[test]
fn cited_sections_of_the_specification_exist() {
    let sections = spec::sections(&read(&root().join(SPEC)));
    assert!(sections.contains("4.3"), "{SPEC} has no numbered headings");
    let problems =
        texts(&["rs", "md"]).into_iter().filter(|text| text.path != Path::new(SPEC)).flat_map(|text| {
            let mut cited = spec::cited(&text.content);
            if text.is_markdown() {
                cited.extend(spec::cited_in_tables(&text.content));
            }
            report(&text, cited, |cited| !sections.contains(cited), "no such section in docs/ipvs-spec.md")
        });
    assert_none(problems.collect());
}

#[test]
fn configurations_in_pages_are_valid() {
    let pages = texts(&["md"]);
    let samples: Vec<_> = pages.iter().flat_map(samples::configurations).collect();
    assert!(samples.len() >= 3, "README.md and docs/configuration.md have configurations");
    assert_none(samples.iter().filter_map(samples::Sample::problem).collect());
}

#[test]
fn links_resolve_to_files_and_headings() {
    let pages = texts(&["md"]);
    let problems = pages.iter().flat_map(|page| {
        let cited = links::relative(&page.content);
        report(page, cited, |target| !links::resolves(&root(), page, target), "the link does not resolve")
    });
    assert_none(problems.collect());
}

#[test]
fn cited_decisions_exist() {
    let names: BTreeSet<String> = files::names(&root().join("docs/decisions"));
    let is_missing = |cited: &str| !names.iter().any(|name| decisions::is_of(name, cited));
    let cited = |text: &Text| -> Vec<Citation> { decisions::cited(&text.content) };
    let problems = texts(&["rs", "md"])
        .into_iter()
        .flat_map(|text| report(&text, cited(&text), is_missing, "no such page in docs/decisions"));
    assert_none(problems.collect());
}

fn assert_none(problems: Vec<String>) {
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
}
