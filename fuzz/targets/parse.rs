//! A frame; see `pollux_dataplane::fuzz::parse`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| pollux_dataplane::fuzz::parse(bytes));
