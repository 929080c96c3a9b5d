//! One ring, four processes, full speed: a writer that is killed at random moments and replaced, a fast reader, a slow
//! one, and one that is overtaken on purpose. Every byte is a function of its position, so that a reader can tell a
//! right byte from a wrong one without asking anybody.
//!
//! The test process is the keeper, as the master is in the server: it holds a descriptor of every generation, and who
//! needs one opens it through `/proc`. A generation whose writer died before the keeper heard of it is lost, and its
//! predecessor goes on. The children are this same executable, told by their environment what to be.
//!
//! `TORTURE_MESSAGES` sets how many messages are written, `TORTURE_SEED` repeats the moments of the kills.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::print_stdout)]

#[path = "torture/keeper.rs"]
mod keeper;
#[path = "torture/pattern.rs"]
mod pattern;
#[path = "torture/reading.rs"]
mod reading;
#[path = "torture/writing.rs"]
mod writing;

use std::time::{SystemTime, UNIX_EPOCH};

fn from_env(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[test]
fn no_reader_ever_sees_a_wrong_byte() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |since| u64::from(since.subsec_nanos()));
    let seed = from_env("TORTURE_SEED", now);
    let messages = from_env("TORTURE_MESSAGES", 2_000_000);
    println!("TORTURE_SEED={seed} TORTURE_MESSAGES={messages}");
    let outcome = keeper::run(seed, messages);
    println!("{outcome:?}");
    assert!(outcome.kills > 5, "the writer was killed too rarely: {outcome:?}");
    assert!(outcome.generations > 5, "the ring was replaced too rarely: {outcome:?}");
    assert!(outcome.fast.read > messages / 2, "the fast reader was not fast: {outcome:?}");
    assert!(outcome.slow.read > 0 && outcome.slow.lapped > 0, "{outcome:?}");
    assert!(outcome.overtaken.read > 0, "{outcome:?}");
    assert!(outcome.overtaken.torn > 0, "nothing was overwritten while it was read: {outcome:?}");
}

/// A child's part, not a test of its own: does nothing unless the keeper started it.
#[test]
#[ignore = "a child process of the torture test"]
fn child() {
    match std::env::var("TORTURE_ROLE").as_deref() {
        Ok("writer") => writing::run(),
        Ok("fast") => reading::run(reading::Habit::Fast),
        Ok("slow") => reading::run(reading::Habit::Slow),
        Ok("overtaken") => reading::run(reading::Habit::Overtaken),
        _ => {}
    }
}
