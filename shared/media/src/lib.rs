//! The words that every other crate uses: what a stream is called, what kinds of packets it carries, how its
//! timestamps become one continuous timeline, and a byte cursor for all parsers.
//!
//! This crate knows nothing of connections, files or processes. It holds no clock: time is always an argument.
//!
//! Three clocks appear in this project and are never mixed:
//! * **monotonic**: milliseconds (`now_ms`) or nanoseconds since boot, for deadlines and latency;
//! * **media**: milliseconds of a stream. On the RTMP wire they are 32 bits and wrap ([`WireClock`]); inside they are `i64`;
//! * **wallclock**: only in logs and file names.

#![forbid(unsafe_code)]

pub mod cursor;
mod key;
mod kind;
pub mod number;
pub mod timeline;
mod wire_clock;

pub use key::StreamKey;
pub use kind::Kind;
pub use wire_clock::WireClock;
