//! MP4 (ISO/IEC 14496-12). Written in fragments: an initialisation segment that says what the tracks are, then fragments of samples.
//!
//! Pure layout of bytes. All times are milliseconds, because that is what streams here have. Files that are written this
//! way are whole after every fragment: nothing at the end is needed to play them.

#![forbid(unsafe_code)]

mod boxes;
mod entry;
mod fragment;
mod init;

pub use entry::Entry;
pub use fragment::{Run, Sample, fragment};
pub use init::{TIMESCALE, TrackInfo, init};
