//! Replays packet traces: those recorded from a Linux kernel, and those written from the specification. Pollux must send the
//! same packets. Each trace is a test, `golden::NAME`; one that needs a feature Pollux does not have is counted as ignored,
//! never as passed.

use std::path::{Path, PathBuf};

use libtest_mimic::{Arguments, Failed, Trial};
use pollux_control::replay::case::Case;
use pollux_control::replay::cli::case_files;
use pollux_control::replay::{Verdict, file, scope};

/// Cases that must run and pass, so that a lost feature fails here and is not skipped.
const REQUIRED: &[&str] = &[
    "dr-tcp-rr",
    "icmp-error-dr",
    "icmp-error-nat",
    "lc",
    "nat-tcp-portmap",
    "nat-tcp-rr",
    "nat-udp-rr",
    "no-service",
    "sip-calls-out",
    "tun-tcp-rr",
    "v6-nat-tcp",
    "v6-tun-4",
    "weight-change",
    "wlc",
    "wrr-3-1",
    "wrr-4-3-2",
];

/// Cases that are known to differ, and why; a case that passes must be removed from this list.
const KNOWN: &[(&str, &str)] = &[(
    "fragments-v6-udp-methods",
    "Linux 6.1 sends unrelated memory at the end of an IPv6 packet that it reassembled and encapsulates in IPv4",
)];

fn passes(path: &Path) -> Result<(), Failed> {
    let report = file(path);
    if report.verdict == Verdict::Passed { Ok(()) } else { Err(report.to_string().into()) }
}

fn differs(path: &Path, why: &str) -> Result<(), Failed> {
    match file(path).verdict {
        Verdict::Failed { .. } => Ok(()),
        other => {
            Err(format!("the result is {other:?}, but the case is listed as known to differ: {why}").into())
        }
    }
}

fn trial(path: PathBuf) -> Trial {
    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    if let Some((_, why)) = KNOWN.iter().find(|(known, _)| *known == name) {
        return Trial::test(format!("differs::{name}"), move || differs(&path, why));
    }
    let missing = Case::load(&path).ok().and_then(|case| scope::check(&case).err());
    let missing = missing.filter(|_| !REQUIRED.contains(&name.as_str()));
    if let Some(feature) = &missing {
        println!("skipped: golden::{name}: not yet supported: {feature}");
    }
    Trial::test(format!("golden::{name}"), move || passes(&path)).with_ignored_flag(missing.is_some())
}

fn main() {
    let arguments = Arguments::from_args();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden");
    let mut files = Vec::new();
    for place in [golden.join("by-hand"), golden] {
        match case_files(&place) {
            Ok(found) => files.extend(found),
            Err(error) => {
                eprintln!("{}: {error}", place.display());
                std::process::exit(1);
            }
        }
    }
    let there = |name: &str| files.iter().any(|path| path.file_stem().is_some_and(|stem| stem == name));
    let gone: Vec<_> = REQUIRED.iter().filter(|name| !there(name)).collect();
    assert!(gone.is_empty(), "required cases are missing: {gone:?}");
    libtest_mimic::run(&arguments, files.into_iter().map(trial).collect()).exit();
}
