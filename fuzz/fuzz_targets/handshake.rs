//! `cargo fuzz run handshake`; what is tried stands in `targets/handshake.rs`.
#![no_main]

#[path = "../targets/handshake.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|input: &[u8]| target::run(input));
