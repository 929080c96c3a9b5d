//! The fuzz targets without a fuzzer: every seed, then seeded mutations of them, for a few seconds in all.
//!
//! The numbers are the same in every run unless told otherwise: `FUZZ_SEED` sets the random numbers (they are printed),
//! `FUZZ_MS` the time for each target. An input that fails is written to the temporary directory and named.
//! `cargo test --test fuzz_smoke -- --ignored` makes the seeds anew.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::print_stdout)]

#[path = "fuzz_smoke/mutation.rs"]
mod mutation;
#[path = "fuzz_smoke/seeds.rs"]
mod seeds;

#[path = "../../fuzz/targets/amf0.rs"]
mod amf0_target;
#[path = "../../fuzz/targets/chunk.rs"]
mod chunk_target;
#[path = "../../fuzz/targets/conf.rs"]
mod conf_target;
#[path = "../../fuzz/targets/flv.rs"]
mod flv_target;
#[path = "../../fuzz/targets/handshake.rs"]
mod handshake_target;
#[path = "../../fuzz/targets/hls_trace.rs"]
mod hls_trace_target;
#[path = "../../fuzz/targets/http1.rs"]
mod http1_target;
#[path = "../../fuzz/targets/ipc.rs"]
mod ipc_target;
#[path = "../../fuzz/targets/remux.rs"]
mod remux_target;
#[path = "../../fuzz/targets/ring.rs"]
mod ring_target;
#[path = "../../fuzz/targets/session.rs"]
mod session_target;
#[path = "../../fuzz/targets/snapshot.rs"]
mod snapshot_target;
#[path = "../../fuzz/targets/vod.rs"]
mod vod_target;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use mutation::Mutator;

/// Most inputs of a target when nothing else is asked for: enough to hit every seed hundreds of times.
const INPUTS: u64 = 20_000;
/// Longest time for a target, where the machine is slow.
const PATIENCE_MS: u64 = 2_000;

fn from_env(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn seeds_of(target: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds").join(target)
}

fn attempt(target: &str, run: fn(&[u8]), input: &[u8], origin: &str) {
    if let Err(cause) = catch_unwind(AssertUnwindSafe(|| run(input))) {
        let path = std::env::temp_dir().join(format!("fuzz-{target}-{}", std::process::id()));
        let _ = std::fs::write(&path, input);
        println!("{target} fails on {origin}; the input is in {}", path.display());
        resume_unwind(cause);
    }
}

fn smoke(target: &str, run: fn(&[u8])) {
    let seed = from_env("FUZZ_SEED").unwrap_or(1);
    let time = from_env("FUZZ_MS");
    let mut files: Vec<PathBuf> = std::fs::read_dir(seeds_of(target))
        .expect("seeds are part of the repository")
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert!(!files.is_empty());
    let seeds: Vec<Vec<u8>> = files.iter().map(|path| std::fs::read(path).unwrap()).collect();
    for (path, input) in files.iter().zip(&seeds) {
        attempt(target, run, input, &path.display().to_string());
    }
    let until = Instant::now() + Duration::from_millis(time.unwrap_or(PATIENCE_MS));
    let inputs = if time.is_some() { u64::MAX } else { INPUTS };
    let mut mutator = Mutator::new(seed, &seeds);
    let mut count = 0;
    while count < inputs && Instant::now() < until {
        let input = mutator.next();
        attempt(target, run, &input, &format!("input {count} of FUZZ_SEED={seed}"));
        count += 1;
    }
    println!("{target}: {count} inputs from {} seeds, FUZZ_SEED={seed}", seeds.len());
}

#[test]
fn amf0() {
    smoke("amf0", amf0_target::run);
}

#[test]
fn chunk() {
    smoke("chunk", chunk_target::run);
}

#[test]
fn conf() {
    smoke("conf", conf_target::run);
}

#[test]
fn flv() {
    smoke("flv", flv_target::run);
}

#[test]
fn handshake() {
    smoke("handshake", handshake_target::run);
}

#[test]
fn http1() {
    smoke("http1", http1_target::run);
}

#[test]
fn ipc() {
    smoke("ipc", ipc_target::run);
}

#[test]
fn remux() {
    smoke("remux", remux_target::run);
}

#[test]
fn session() {
    smoke("session", session_target::run);
}

#[test]
fn snapshot() {
    smoke("snapshot", snapshot_target::run);
}

#[test]
fn hls_trace() {
    smoke("hls_trace", hls_trace_target::run);
}

#[test]
fn ring() {
    smoke("ring", ring_target::run);
}

#[test]
fn vod() {
    smoke("vod", vod_target::run);
}

#[test]
#[ignore = "writes the seeds into the repository"]
fn write_seeds() {
    for (target, name, bytes) in seeds::all() {
        let folder = seeds_of(target);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(name), bytes).unwrap();
    }
}
