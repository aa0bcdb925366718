//! A recorded packet exchange; see `pollux_control::fuzz::case`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| pollux_control::fuzz::case(bytes));
