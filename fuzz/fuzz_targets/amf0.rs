//! `cargo fuzz run amf0`; what is tried stands in `targets/amf0.rs`.
#![no_main]

#[path = "../targets/amf0.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|input: &[u8]| target::run(input));
