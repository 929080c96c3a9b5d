//! `cargo fuzz run conf`; what is tried stands in `targets/conf.rs`.
#![no_main]

#[path = "../targets/conf.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|input: &[u8]| target::run(input));
