//! A worker and frames; see `pollux_dataplane::fuzz::pipeline`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| pollux_dataplane::fuzz::pipeline(bytes));
