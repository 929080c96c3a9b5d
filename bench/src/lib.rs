//! Our own load generator: publishes synthetic streams whose packets tell who, when and whether they are whole, plays
//! them thousands of times from one process, and measures what the server under test costs meanwhile.
//!
//! One event loop on one thread ([`engine`]). Its own cost must stay far below the server's, or it would measure
//! itself: only some viewers look at packets, all others let the kernel drop what arrives. What the numbers mean is
//! anchored by the floor ([`floor`]): the same bytes to the same sockets without any server around them.

#![forbid(unsafe_code)]
// Statistics are made of counts as floating point numbers.
#![allow(clippy::cast_precision_loss)]

pub mod clock;
pub mod distribution;
pub mod engine;
pub mod floor;
pub mod link;
pub mod load;
pub mod marker;
pub mod proctree;
pub mod publisher;
pub mod report;
pub mod server;
pub mod short;
pub mod synthetic;
pub mod target;
pub mod viewer;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Thousands of sockets need as many descriptors: takes all that may be had.
pub fn raise_descriptor_limit() {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}
