//! Pollux behaves as the kernel did in every recorded conversation it has the features for.

use std::path::Path;

use pollux_control::replay::cli::case_files;
use pollux_control::replay::report::Summary;
use pollux_control::replay::{CaseReport, Verdict, file};

/// Cases that must be tried and pass; a feature that goes missing shows here, not as a case that is skipped.
const REQUIRED: &[&str] = &[
    "dr-tcp-rr",
    "icmp-error-dr",
    "icmp-error-nat",
    "lc",
    "nat-tcp-portmap",
    "nat-tcp-rr",
    "nat-udp-rr",
    "no-service",
    "tun-tcp-rr",
    "v6-nat-tcp",
    "v6-tun-4",
    "weight-change",
    "wlc",
    "wrr-3-1",
    "wrr-4-3-2",
];

/// Cases that are tried and differ, and why; one that passes must leave this list.
const KNOWN: &[(&str, &str)] = &[(
    "icmp6-error-nat",
    "Linux 6.1 sums ICMPv6 from servers without the pseudo header and so drops correct errors",
)];

fn replay_all() -> Vec<CaseReport> {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden");
    case_files(&golden).unwrap().iter().map(|path| file(path)).collect()
}

#[test]
fn every_case_in_scope_is_as_recorded() {
    let reports = replay_all();
    // Shown with `--nocapture`, or when something differs.
    reports.iter().for_each(|report| println!("{report}"));
    println!("{}", Summary::of(&reports));
    let failed = |report: &&CaseReport| matches!(report.verdict, Verdict::Failed { .. });
    let differing: Vec<&str> = reports.iter().filter(failed).map(|report| report.name.as_str()).collect();
    let known: Vec<&str> = KNOWN.iter().map(|(name, _)| *name).collect();
    assert_eq!(differing, known, "cases that differ, and those known to");
    for name in REQUIRED {
        let report = reports.iter().find(|report| report.name == *name);
        let passed = report.is_some_and(|report| report.verdict == Verdict::Passed);
        assert!(passed, "{name} must pass: {report:?}");
    }
}
