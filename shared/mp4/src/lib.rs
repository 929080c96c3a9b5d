//! MP4 (ISO/IEC 14496-12). Written in fragments: an initialisation segment that says what the tracks are, then fragments of samples.
//!
//! Pure layout of bytes. All times are milliseconds, because that is what streams here have. Files that are written this
//! way are whole after every fragment: nothing at the end is needed to play them. Files of others are read by the tables of
//! their samples.

#![forbid(unsafe_code)]

mod boxes;
mod entry;
mod fragment;
mod init;
mod movie;

pub use entry::Entry;
pub use fragment::{Run, Sample, fragment};
pub use init::{TIMESCALE, TrackInfo, init};
pub use movie::{MAX_SAMPLES, MovieError, MovieSample, MovieTrack, read_movie};
