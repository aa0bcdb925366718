//! Runs the fuzz bodies over their seeds, and over randomly mutated seeds.

use std::fs;
use std::path::{Path, PathBuf};

use pollux_dataplane::fuzz::mutate;
use proptest::prelude::*;

use crate::api::socket::rpc;
use crate::debug::query;
use crate::model::Config;
use crate::model::{parse, sysctl};
use crate::state;

fn directory(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name)
}

fn seeds(name: &str) -> Vec<Vec<u8>> {
    let mut paths: Vec<_> =
        fs::read_dir(directory(name)).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.is_file());
    paths.sort();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

/// Bytes that often turn valid text into other valid text.
fn letter() -> impl Strategy<Value = u8> {
    prop_oneof![3 => prop::sample::select(b"0123456789-:.,[]{}\"' \ntuacDR".to_vec()), 1 => any::<u8>()]
}

fn mutated(name: &str) -> impl Strategy<Value = Vec<u8>> + use<> {
    let whole_or_part = prop_oneof![3 => Just(usize::MAX), 1 => 0..2000_usize];
    let edits = prop::collection::vec((any::<usize>(), letter()), 0..5);
    (prop::sample::select(seeds(name)), whole_or_part, edits)
        .prop_map(|(seed, keep, edits)| mutate(&seed, keep, &edits))
}

#[test]
fn every_seed_passes() {
    seeds("fuzz/seeds/rpc").iter().for_each(|seed| super::rpc(seed));
    seeds("fuzz/seeds/config").iter().for_each(|seed| super::config(seed));
    seeds("fuzz/seeds/rules").iter().for_each(|seed| super::rules(seed));
    seeds("fuzz/seeds/debug").iter().for_each(|seed| super::debug(seed));
    seeds("fuzz/seeds/state").iter().for_each(|seed| super::state(seed));
    seeds("fuzz/seeds/conf").iter().for_each(|seed| super::conf(seed));
    for directory in ["tests/golden", "tests/golden/by-hand"] {
        seeds(directory).iter().for_each(|seed| super::case(seed));
    }
}

/// Invalid seeds would test little.
#[test]
fn seeds_are_valid() {
    let requests = seeds("fuzz/seeds/rpc").iter().filter(|seed| rpc::parse(seed).is_ok()).count();
    assert_eq!(requests, 18, "all but the unknown method and the batch");
    for seed in seeds("fuzz/seeds/debug") {
        assert!(query::parse(&String::from_utf8(seed).unwrap()).is_ok());
    }
    for seed in seeds("fuzz/seeds/config") {
        let config = parse::toml::<Config>(&String::from_utf8(seed).unwrap()).unwrap();
        assert_ne!(config, Config::default());
    }
    for seed in seeds("fuzz/seeds/state") {
        state::file::parse(&String::from_utf8(seed).unwrap()).unwrap();
    }
    for seed in seeds("fuzz/seeds/conf") {
        assert!(
            !sysctl::conf::parse("seed", &String::from_utf8(seed).unwrap(), false).unwrap().lines.is_empty()
        );
    }
}

fn cases(count: u32) -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(count) }
}

proptest! {
    #![proptest_config(cases(1000))]

    #[test]
    fn a_line_of_the_socket_gets_a_reply(bytes in mutated("fuzz/seeds/rpc")) {
        super::rpc(&bytes);
    }

    #[test]
    fn a_configuration_survives_serialization(bytes in mutated("fuzz/seeds/config")) {
        super::config(&bytes);
    }

    #[test]
    fn queries_are_applied_or_refused(bytes in mutated("fuzz/seeds/debug")) {
        super::debug(&bytes);
    }

    #[test]
    fn a_state_survives_serialization(bytes in mutated("fuzz/seeds/state")) {
        super::state(&bytes);
    }

    #[test]
    fn a_sysctl_file_leads_to_a_valid_configuration(bytes in mutated("fuzz/seeds/conf")) {
        super::conf(&bytes);
    }

    #[test]
    fn rules_lead_to_a_valid_configuration(bytes in mutated("fuzz/seeds/rules")) {
        super::rules(&bytes);
    }
}

proptest! {
    // Fewer cases, because each allocates the tables of a worker.
    #![proptest_config(cases(60))]

    #[test]
    fn a_trace_is_replayed(bytes in mutated("tests/golden")) {
        super::case(&bytes);
    }
}
