//! Lines for `ipvsadm -R`; see `pollux_control::fuzz::rules`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| pollux_control::fuzz::rules(bytes));
