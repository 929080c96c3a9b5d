//! From the packets of a stream, as RTMP and FLV have them, to other containers: what tracks there are, and the packagers
//! that make MPEG-TS and fragmented MP4 of them.
//!
//! Pure: packets and their times in, bytes out. What can't be packed is refused with a reason, packet by packet; a stream
//! of which nothing can be packed is nobody's end.

#![forbid(unsafe_code)]

mod colours;
mod mp4_packager;
mod mpeg_audio;
mod track_set;
mod ts_packager;

pub use mp4_packager::{Fragment, Mp4Packager};
pub use track_set::{AccessUnit, AudioTrack, Probe, RemuxError, TrackSet, VideoTrack, mp4_id};
pub use ts_packager::TsPackager;
