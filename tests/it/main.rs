//! The end-to-end tests: the real server against real encoders and players.

#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "tests panic when they fail"
)]

mod publish_play;
mod tidy;
