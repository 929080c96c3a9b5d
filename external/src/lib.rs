//! What plays media into the server from outside: a clip by our own ingester, or programs of others, such as ffmpeg.

#![forbid(unsafe_code)]

mod ingest;
mod program;

pub use ingest::{CannotIngest, check_clip, run};
pub use program::become_another;
