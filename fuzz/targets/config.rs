//! A configuration file; see `pollux_control::fuzz::config`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| pollux_control::fuzz::config(bytes));
