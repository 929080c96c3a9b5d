//! The words that every other crate uses: what a stream is called, what kinds of packets it carries, how its
//! timestamps become one continuous timeline, and a byte cursor for all parsers.
//!
//! This crate knows nothing of connections, files or processes. It holds no clock: time is always an argument.

#![forbid(unsafe_code)]

pub mod cursor;
