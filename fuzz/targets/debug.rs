//! Queries of dynamic debug; see `pollux_control::fuzz::debug`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| pollux_control::fuzz::debug(bytes));
