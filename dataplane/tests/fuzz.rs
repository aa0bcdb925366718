//! The fuzz bodies, run over their seeds and over random mutations of the seeds.

use std::fs;
use std::path::Path;

use pollux_dataplane::fuzz;
use proptest::prelude::*;

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds").join(target);
    let files = fs::read_dir(folder).unwrap().map(|entry| fs::read(entry.unwrap().path()).unwrap());
    files.collect()
}

fn mutated(target: &str) -> impl Strategy<Value = Vec<u8>> + use<> {
    let edits = prop::collection::vec((any::<usize>(), any::<u8>()), 0..6);
    (prop::sample::select(seeds(target)), 0..600_usize, edits)
        .prop_map(|(seed, keep, edits)| fuzz::mutate(&seed, keep.saturating_mul(2), &edits))
}

#[test]
fn every_seed_passes() {
    seeds("parse").iter().for_each(|seed| fuzz::parse(seed));
    seeds("pipeline").iter().for_each(|seed| fuzz::pipeline(seed));
    seeds("fragments").iter().for_each(|seed| fuzz::fragments(seed));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn parsed_offsets_are_within_the_packet(bytes in mutated("parse")) {
        fuzz::parse(&bytes);
    }

    #[test]
    fn no_packet_is_lost(bytes in mutated("pipeline")) {
        fuzz::pipeline(&bytes);
    }

    #[test]
    fn no_fragment_is_lost(bytes in mutated("fragments")) {
        fuzz::fragments(&bytes);
    }

    #[test]
    fn random_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        fuzz::parse(&bytes);
        fuzz::pipeline(&bytes);
        fuzz::fragments(&bytes);
    }
}
