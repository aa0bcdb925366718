//! Valid and invalid queries.

use super::*;

fn site(module: &'static str, file: &'static str, line: u32, function: &'static str, level: u8) -> SiteState {
    SiteState {
        module,
        file,
        line,
        function,
        format: "lookup service: {0} hit",
        level,
        flags: Flags::default(),
    }
}

#[track_caller]
fn matching(text: &str) -> Vec<&'static str> {
    let sites = [
        site("ip_vs", "dataplane/src/pipeline/slow_path/schedule.rs", 120, "service_of", 9),
        site("ip_vs_rr", "dataplane/src/pipeline/slow_path/schedule.rs", 200, "pick", 6),
        site("ip_vs_wrr", "dataplane/src/pipeline/slow_path/schedule.rs", 201, "pick", 0),
        site("ip_vs_tcp", "dataplane/src/pipeline/slow_path/state.rs", 220, "enter_state", 8),
    ];
    let filter = parse_filter(text).unwrap();
    sites.iter().filter(|site| filter.matches(site)).map(|site| site.module).collect()
}

#[test]
fn sites_match_as_in_the_kernel() {
    let rows: [(&str, &[&str]); 17] = [
        ("module ip_vs", &["ip_vs"]),
        ("module ip_vs*", &["ip_vs", "ip_vs_rr", "ip_vs_wrr", "ip_vs_tcp"]),
        ("module ip_vs_?rr", &["ip_vs_wrr"]),
        ("func pick module *rr", &["ip_vs_rr", "ip_vs_wrr"]),
        ("file state.rs", &["ip_vs_tcp"]),
        ("file dataplane/src/pipeline/slow_path/state.rs", &["ip_vs_tcp"]),
        ("file slow_path/s*", &["ip_vs", "ip_vs_rr", "ip_vs_wrr", "ip_vs_tcp"]),
        ("file schedule.rs line 120", &["ip_vs"]),
        ("file schedule.rs:120-200", &["ip_vs", "ip_vs_rr"]),
        ("file schedule.rs:p*", &["ip_vs_rr", "ip_vs_wrr"]),
        ("line 201-", &["ip_vs_wrr", "ip_vs_tcp"]),
        ("line -120", &["ip_vs"]),
        ("level 0-6", &["ip_vs_rr", "ip_vs_wrr"]),
        ("level 8-", &["ip_vs", "ip_vs_tcp"]),
        ("module ip_vs format \"service: {0}\"", &["ip_vs"]),
        ("module ip_vs format ^lookup\\040service", &["ip_vs"]),
        ("format ^service", &[]),
    ];
    for (text, modules) in rows {
        assert_eq!(matching(text), modules, "{text}");
    }
}

#[test]
fn flags_are_added_removed_and_set() {
    let after = |text: &str| {
        let queries = parse(text).unwrap();
        queries.iter().fold(Flags::default(), |flags, query| query.change.apply(flags)).to_string()
    };
    for (text, flags) in [
        ("+p", "p"),
        ("+tlmfp", "pmflt"),
        ("+pm; -p", "m"),
        ("+pmf\n=p", "p"),
        ("+p;=_", "_"),
        ("+p;+_", "p"),
        (" ; # nothing\n+p # on\n;; -m;", "p"),
    ] {
        assert_eq!(after(text), flags, "{text:?}");
    }
}

#[test]
fn errors_name_the_word() {
    for (text, word) in [
        ("", "there is no query"),
        (" ;# +p\n", "there is no query"),
        ("module ip_vs", "\"ip_vs\" is not an operator"),
        ("modul ip_vs +p", "\"modul\" is not a keyword; use module, file, func"),
        ("module +p", "\"module\" has no value"),
        ("module a module b +p", "\"module\" is given twice"),
        ("file a:1 line 2 +p", "\"line\" is given twice"),
        ("line 20-10 +p", "line \"20-10\" ends before it begins"),
        ("line x +p", "line \"x\" is not a number or range"),
        ("line - +p", "line \"-\" is not a number or range"),
        ("line 1-2-3 +p", "line \"1-2-3\" is not a number or range"),
        ("line 99999999999 +p", "is not a number or range"),
        ("level -1- +p", "level \"-1-\" is not a number or range"),
        ("format \"abc +p", "\"abc +p has no closing quote"),
        ("+px", "'x' in \"+px\" is not a flag"),
        ("module ip_vs +p; func x p", "\"p\" is not an operator"),
    ] {
        let error = parse(text).unwrap_err().to_string();
        assert!(error.contains(word), "{text:?}: {error}");
    }
    assert!(parse_filter("module a; module b").unwrap_err().to_string().contains("several queries"));
}

#[test]
fn escapes_are_those_of_the_kernel() {
    for (text, expected) in
        [(r"a\040b", "a b"), (r"\n\t\\", "\n\t\\"), (r"\q\", "q\\"), (r"\1018", "A8"), (r"\777", "\u{ff}")]
    {
        assert_eq!(pattern::unescape(text), expected, "{text}");
    }
}
