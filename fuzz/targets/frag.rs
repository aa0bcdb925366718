//! A gatherer and fragments: see `pollux_dataplane::fuzz::frag`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| pollux_dataplane::fuzz::frag(bytes));
