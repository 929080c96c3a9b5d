//! A message as the chunk layer delivers it, and the numbers of the message types. What a payload means is told by
//! [`crate::control`], [`crate::command`] and [`crate::aggregate`].

use bytes::Bytes;
/// The kinds of messages that a stream consists of.
pub use media::Kind as MediaKind;
use serde::{Deserialize, Serialize};

/// Set Chunk Size (specification 5.4.1).
pub const SET_CHUNK_SIZE: u8 = 1;
/// Abort Message (5.4.2).
pub const ABORT: u8 = 2;
/// Acknowledgement (5.4.3).
pub const ACKNOWLEDGEMENT: u8 = 3;
/// User Control Message (6.2).
pub const USER_CONTROL: u8 = 4;
/// Window Acknowledgement Size (5.4.4).
pub const WINDOW_ACK_SIZE: u8 = 5;
/// Set Peer Bandwidth (5.4.5).
pub const SET_PEER_BANDWIDTH: u8 = 6;
/// Audio (7.1.4).
pub const AUDIO: u8 = 8;
/// Video (7.1.5).
pub const VIDEO: u8 = 9;
/// Data, AMF3 flavour: one byte 0x00, then AMF0 (7.1.2).
pub const DATA_AMF3: u8 = 15;
/// Shared object, AMF3 flavour (7.1.3); never executed here.
pub const SHARED_OBJECT_AMF3: u8 = 16;
/// Command, AMF3 flavour: one byte 0x00, then AMF0 (7.1.1).
pub const COMMAND_AMF3: u8 = 17;
/// Data in AMF0 (7.1.2).
pub const DATA: u8 = 18;
/// Shared object (7.1.3); never executed here.
pub const SHARED_OBJECT: u8 = 19;
/// Command in AMF0 (7.1.1).
pub const COMMAND: u8 = 20;
/// Aggregate (7.1.6).
pub const AGGREGATE: u8 = 22;

/// Chunk stream for protocol control, as the specification demands.
pub const CSID_CONTROL: u8 = 2;
/// Chunk stream for replies on the connection.
pub const CSID_COMMAND: u8 = 3;
/// Chunk stream for data messages with metadata.
pub const CSID_DATA: u8 = 4;
/// Chunk stream for statuses of a message stream.
pub const CSID_STATUS: u8 = 5;
/// Chunk stream for video.
pub const CSID_VIDEO: u8 = 6;
/// Chunk stream for audio.
pub const CSID_AUDIO: u8 = 7;

/// One complete message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// The chunk stream that carried it, 2..=65599.
    pub csid: u32,
    /// Milliseconds of the sender's timeline; wraps at 32 bits.
    pub timestamp: u32,
    /// Message type, see the constants of this module.
    pub type_id: u8,
    /// Message stream id; 0 is the connection itself.
    pub stream_id: u32,
    /// The payload; may be empty.
    pub payload: Bytes,
}

/// The chunk stream on which we send a kind of packet.
#[must_use]
pub const fn csid_of(kind: MediaKind) -> u8 {
    match kind {
        MediaKind::Audio => CSID_AUDIO,
        MediaKind::Video => CSID_VIDEO,
        MediaKind::Data => CSID_DATA,
    }
}

/// The kind of a packet that a message of a type carries; `None` for what is not of a stream.
#[must_use]
pub const fn kind_of(type_id: u8) -> Option<MediaKind> {
    match type_id {
        AUDIO => Some(MediaKind::Audio),
        VIDEO => Some(MediaKind::Video),
        DATA | DATA_AMF3 => Some(MediaKind::Data),
        _ => None,
    }
}

/// Whether messages of a type are data of a stream (metadata, cue points) or shared objects: what a connection does
/// without.
#[must_use]
pub const fn is_data(type_id: u8) -> bool {
    matches!(type_id, DATA | DATA_AMF3 | SHARED_OBJECT | SHARED_OBJECT_AMF3)
}

/// AMF0 bytes of a data or command message: the AMF3 flavours may begin with one 0x00, which says that AMF0 follows.
#[must_use]
pub fn amf0_payload(type_id: u8, payload: &Bytes) -> Bytes {
    let flavoured = matches!(type_id, DATA_AMF3 | COMMAND_AMF3);
    if flavoured && payload.first() == Some(&0) { payload.slice(1..) } else { payload.clone() }
}
