//! The back-source: it faces publishers and is the only writer of media rings.
//!
//! Publishers arrive from the stream processes, socket and session together; each packet is put on the stream's timeline
//! and into its ring once, in the form in which viewers get it. Readers of rings (the stream processes, the http process,
//! other back-sources) are told what exists and woken when something is new; nothing here waits for any of them.

#![forbid(unsafe_code)]

mod demand;
mod figures;
mod metadata;
mod process;
mod publish;
mod publisher;
mod readers;
mod resting;
mod source;
mod sources;
mod stream_ring;
mod subscribers;
mod tracks;

pub use process::run;
