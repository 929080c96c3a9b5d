//! MPEG-TS (ISO/IEC 13818-1): coded pictures and sounds to 188-byte packets.
//!
//! Pure layout of bytes: what goes in is one access unit with its times, what comes out are whole packets. Which packets
//! belong together (a segment, a live stream) is somebody else's business.

#![forbid(unsafe_code)]

pub mod adts;
pub mod annexb;
mod muxer;
pub mod opus;
mod packet;
mod tables;
mod ticks;

pub use muxer::{Access, DELAY, Muxer, PCR_INTERVAL};
pub use packet::PACKET_BYTES;
pub use tables::{AudioType, TRACKS, Track, Tracks, VideoType};
pub use ticks::Ticks;
