//! RTMP sessions as values: bytes and time in, events and bytes out. Nothing here owns a socket, a clock or a log.
//!
//! The contract of both sessions: call a `handle_*`, `accept_*` or `reject_*` method, then drain `poll_output` until
//! it returns `None`, before the next call. After an error the session is dead: drain what is left (it may contain a
//! status for the peer), send it, close. `poll_timeout` is asked again after every call.

pub mod client;
mod connect;
pub mod error;
pub mod event;
pub mod pool;
pub mod server;
pub mod snapshot;
mod wire;
