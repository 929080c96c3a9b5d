//! The FLV format: what the bodies of audio and video packets say of themselves (classic and enhanced), and the file
//! that carries them as tags. RTMP messages of types 8, 9 and 18 have the same bodies.
//!
//! Pure layout of bytes: no files, no time, and nothing here changes a packet.

#![forbid(unsafe_code)]

pub mod aac;
pub mod ac3;
pub mod av1;
pub mod avc;
mod bitwise;
pub mod describe;
pub mod file;
pub mod hvcc;
pub mod kept;
pub mod nal;
pub mod packet;
pub mod unit;
pub mod vp9;

pub use bitwise::BadBits;
pub use describe::{AudioFacts, VideoFacts, describe_audio, describe_video};
pub use packet::{Codec, PacketInfo, classify};
