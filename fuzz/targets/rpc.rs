//! A line of the control socket; see `pollux_control::fuzz::rpc`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| pollux_control::fuzz::rpc(bytes));
