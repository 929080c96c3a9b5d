//! Publish and play RTMP streams from blocking code: the library for tools, tests and small encoders.
//!
//! One value is one connection, used by one thread at a time. Media are FLV tag bodies, untouched in both directions.
//! Nothing here knows of processes, rings or configurations, and nothing here decodes media.
//!
//! ```no_run
//! use client::{Kind, Options, Player, Publisher};
//!
//! let mut publisher = Publisher::connect("rtmp://127.0.0.1/live/demo", Options::default())?;
//! publisher.send(Kind::Video, 0, &[0x17, 0, 0, 0, 0])?;
//!
//! let mut player = Player::connect("rtmp://127.0.0.1/live/demo", Options::default())?;
//! while let Some(packet) = player.next()? {
//!     println!("{:?} at {} ms: {} bytes", packet.kind, packet.timestamp, packet.payload.len());
//! }
//! publisher.finish()?;
//! # Ok::<(), client::ClientError>(())
//! ```

#![forbid(unsafe_code)]

mod clip;
mod connection;
mod error;
pub mod ingest;
mod options;
mod player;
mod publisher;
mod url;

pub use clip::{Clip, ClipError};
pub use error::ClientError;
pub use media::Kind;
pub use options::{Options, Style};
pub use player::{Packet, Player};
pub use publisher::Publisher;
pub use rtmp::ClientEvent as Event;
pub use url::Url;
