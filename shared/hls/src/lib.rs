//! HTTP Live Streaming (RFC 8216): where a stream is cut, which segments a playlist lists, and what the playlist says.
//!
//! The three are apart: a [`Segmenter`] sees packets and says where to cut, whatever the segments are packed in; a
//! [`Playlist`] holds segments of any kind and writes them down. Nothing here knows files, sockets or clocks.

#![forbid(unsafe_code)]

pub mod member;
mod playlist;
mod segmenter;
pub mod template;
mod trace;
pub mod uri;

pub use member::Member;
pub use playlist::{END, Ended, Listed, Playlist, Position};
pub use segmenter::{Cut, Facts, Rules, Segmenter};
pub use trace::{Trace, Traced, of_key};
