//! `cargo fuzz run flv`; what is tried stands in `targets/flv.rs`.
#![no_main]

#[path = "../targets/flv.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|input: &[u8]| target::run(input));
