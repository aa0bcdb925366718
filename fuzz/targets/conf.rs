//! A file of variables in the syntax of sysctl.conf; see `pollux_control::fuzz::conf`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| pollux_control::fuzz::conf(bytes));
