//! `cargo fuzz run ipc`; what is tried stands in `targets/ipc.rs`.
#![no_main]

#[path = "../targets/ipc.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|input: &[u8]| target::run(input));
