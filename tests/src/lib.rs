//! What the end-to-end tests are made of: the real server on free ports in its own directory, real encoders and players
//! beside our own, and ways to measure what came out.
//!
//! Nothing here asserts how the server works inside, and nothing sleeps in hope: waiting is always for something that
//! can be seen, with a deadline that says what was missing.

#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "the harness of tests: what goes wrong here has to panic"
)]

pub mod browser;
pub mod capture;
pub mod certificate;
pub mod cgroup;
pub mod clip;
pub mod coding;
pub mod hanging;
pub mod http;
#[cfg(target_arch = "x86_64")]
pub mod inject;
pub mod live;
pub mod manager;
pub mod marked;
pub mod meter;
pub mod pattern;
pub mod process;
pub mod program;
pub mod raw;
pub mod server;
pub mod several;
pub mod shim;
pub mod site;
pub mod soak;
pub mod tools;
pub mod transport;
pub mod wait;

/// Says that a test is skipped, and why; `make test` lists all of these at its end. The test is to return then.
#[macro_export]
macro_rules! skipped {
    ($($reason:tt)*) => { $crate::program::skip(&format!($($reason)*)) };
}
