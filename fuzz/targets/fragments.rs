//! A reassembler and fragments; see `pollux_dataplane::fuzz::fragments`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| pollux_dataplane::fuzz::fragments(bytes));
