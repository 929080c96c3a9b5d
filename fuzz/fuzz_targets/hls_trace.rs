//! `cargo fuzz run hls_trace`; what is tried stands in `targets/hls_trace.rs`.
#![no_main]

#[path = "../targets/hls_trace.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|input: &[u8]| target::run(input));
