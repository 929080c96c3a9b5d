//! `cargo fuzz run remux`; what is tried stands in `targets/remux.rs`.
#![no_main]

#[path = "../targets/remux.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|input: &[u8]| target::run(input));
