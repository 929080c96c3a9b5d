//! `cargo fuzz run vod`; what is tried stands in `targets/vod.rs`.
#![no_main]

#[path = "../targets/vod.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|input: &[u8]| target::run(input));
