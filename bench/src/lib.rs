//! Our own load generator: publishes synthetic streams whose packets tell who, when and whether they are whole, plays
//! them thousands of times from one process, and measures what the server under test costs meanwhile.
//!
//! Connections are those of generator processes ([`share`]), each with one event loop on one thread ([`engine`]); this
//! process conducts them ([`generators`], [`load`]). Their own cost must stay far below the server's, or they would
//! measure themselves: only some viewers look at packets, all others let the kernel drop what arrives. What the numbers
//! mean is anchored by the floor ([`floor`]): the same packets to the same sockets without any server around them.

#![forbid(unsafe_code)]
// Statistics are made of counts as floating point numbers.
#![allow(clippy::cast_precision_loss)]

pub mod clock;
pub mod comparison;
pub mod descriptors;
pub mod distribution;
pub mod document;
pub mod engine;
pub mod fetch;
pub mod findings;
pub mod floor;
pub mod frame;
pub mod generators;
pub mod instructions;
pub mod jobs;
pub mod link;
pub mod load;
pub mod machine;
pub mod marker;
pub mod outcome;
pub mod output;
pub mod picture;
pub mod proctree;
pub mod publisher;
pub mod report;
pub mod server;
pub mod share;
pub mod short;
pub mod synthetic;
pub mod target;
pub mod viewer;
