//! `cargo fuzz run chunk`; what is tried stands in `targets/chunk.rs`.
#![no_main]

#[path = "../targets/chunk.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|input: &[u8]| target::run(input));
