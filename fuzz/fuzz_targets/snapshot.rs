//! `cargo fuzz run snapshot`; what is tried stands in `targets/snapshot.rs`.
#![no_main]

#[path = "../targets/snapshot.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|input: &[u8]| target::run(input));
