//! `cargo fuzz run session`; what is tried stands in `targets/session.rs`.
#![no_main]

#[path = "../targets/session.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|input: &[u8]| target::run(input));
