//! `cargo fuzz run ring`; what is tried stands in `targets/ring.rs`.
#![no_main]

#[path = "../targets/ring.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|input: &[u8]| target::run(input));
