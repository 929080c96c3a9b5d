//! `cargo fuzz run http1`; what is tried stands in `targets/http1.rs`.
#![no_main]

#[path = "../targets/http1.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|input: &[u8]| target::run(input));
