//! The master: it reads the configuration, binds every listening socket, starts the other processes, and keeps what must
//! outlive them. It touches no media and no client bytes, so nothing that a client sends can crash it.
//!
//! What to do is decided in [`plan`], which is pure; `supervisor` does it.

#![forbid(unsafe_code)]

pub mod daemon;
pub mod inherited;
pub mod listen;
mod log_sink;
pub mod logging;
pub mod pidfile;
pub mod plan;
pub mod relatives;
pub mod spawn;
mod supervisor;
pub mod systemd;

pub use supervisor::{Loader, Serving, Signals, StartError, Supervisor, listen_to_signals};
