//! MP4 (ISO/IEC 14496-12). Written in fragments: an initialisation segment that says what the tracks are, then fragments of samples.
//!
//! Pure layout of bytes. All times are milliseconds, because that is what streams here have. Files that are written this
//! way are whole after every fragment: what stands at the end, once there is one, only helps to find a place sooner.

#![forbid(unsafe_code)]

mod boxes;
mod colours;
mod entry;
mod facts;
mod fragment;
mod index;
mod init;

pub use colours::{Colours, Mastering};
pub use entry::Entry;
pub use facts::{FragmentFacts, RunFacts, fragment_facts, head, note, set_duration};
pub use fragment::{Run, Sample, fragment};
pub use index::FragmentIndex;
pub use init::{TIMESCALE, TrackInfo, init, init_of_file};
