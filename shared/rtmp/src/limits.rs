//! What a peer may cost, each maximum with its reason. Limits come in as values; nothing here reads a configuration. Bounds
//! that follow from a format, or that no configuration should change, stand beside their use (the chunk sizes of the
//! specification in `session/wire.rs`, for one).

use serde::{Deserialize, Serialize};

/// What one peer may cost us. The defaults suit an ordinary live server.
///
/// Buffers grow with the bytes that arrived, never with the bytes a header announced, so that each maximum here is a
/// ceiling on memory that the peer paid for by sending.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Largest audio, video or aggregate message in bytes: a key frame of 2160p at a very high rate fits.
    pub max_media_message: u32,
    /// Largest data message in bytes: an index of key frames or a packet of XMP fits. A longer one is left out; the
    /// stream does without it.
    pub max_data_message: u32,
    /// Largest message of any other type in bytes: no command of a real client comes near.
    pub max_command_message: u32,
    /// Smallest chunk size a peer may set. One byte is what the specification allows; it costs us no more than messages
    /// of one byte do, which nobody can forbid.
    pub chunk_size_min: u32,
    /// Largest chunk size a peer may set: all that the specification allows. A chunk is never longer than its message,
    /// whose length has a maximum of its own, and no buffer is ever sized from it.
    pub chunk_size_max: u32,
    /// Whether a chunk size above the maximum is taken as it is instead of closing the connection. (Going on with a
    /// smaller one than the peer's would misread its next long message.)
    pub tolerate_large_chunk_size: bool,
    /// Chunk streams with remembered headers; the one unused for longest is forgotten first. Real peers use five.
    pub max_csids: usize,
    /// Chunk streams that may have an unfinished message at the same time. Real peers interleave two or three.
    pub max_messages_in_flight: usize,
    /// Bytes of all unfinished messages of a connection together.
    pub max_reassembly: usize,
    /// From accept to the end of the handshake, in milliseconds; an absolute deadline, so that a byte now and then
    /// does not prolong it.
    pub handshake_timeout_ms: u64,
    /// From the handshake to `connect`, and from the accepted `connect` to `publish` or `play`, in milliseconds.
    pub identify_timeout_ms: u64,
    /// After an unpublish, until the encoder publishes again, in milliseconds.
    pub republish_timeout_ms: u64,
    /// After `closeStream` of a player (which some use as pause), until it plays again, in milliseconds.
    pub replay_timeout_ms: u64,
    /// Message streams that exist on a connection at the same time.
    pub max_message_streams: usize,
    /// Bytes of an application or stream name: it becomes a part of file names.
    pub max_name_bytes: usize,
    /// Pings answered within one input turn; more is a flood.
    pub max_pending_pongs: u32,
    /// Pauses, seeks and receiveAudio/receiveVideo switches per second: each may cost a replay of the cached pictures.
    pub max_toggles_per_second: u32,
    /// Bytes kept unparsed while the owner decides about a connect, publish or play.
    pub max_undecided_input: usize,
    /// Pieces of one aggregate message.
    pub max_aggregate_parts: usize,
    /// Smallest acknowledgement window honoured, in bytes: a smaller one would ask an answer to almost every byte.
    pub ack_window_min: u32,
    /// Largest acknowledgement window honoured, in bytes: with a larger one a peer that waits would starve.
    pub ack_window_max: u32,
    /// Nesting of AMF0 values.
    pub amf_depth: usize,
    /// AMF0 values of one message.
    pub amf_nodes: usize,
    /// Properties of one AMF0 object.
    pub amf_keys: usize,
    /// Bytes of one AMF0 string: a stream name with a long signed token in its query fits.
    pub amf_string: usize,
    /// Bytes of all decoded AMF0 strings and values of one message.
    pub amf_total: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_media_message: 4 << 20,
            max_data_message: 1 << 20,
            max_command_message: 64 << 10,
            chunk_size_min: 1,
            chunk_size_max: i32::MAX.unsigned_abs(),
            tolerate_large_chunk_size: false,
            max_csids: 64,
            max_messages_in_flight: 8,
            max_reassembly: 8 << 20,
            handshake_timeout_ms: 5_000,
            identify_timeout_ms: 10_000,
            republish_timeout_ms: 180_000,
            replay_timeout_ms: 1_800_000,
            max_message_streams: 16,
            max_name_bytes: 255,
            max_pending_pongs: 8,
            max_toggles_per_second: 20,
            max_undecided_input: 256 << 10,
            max_aggregate_parts: 1_024,
            ack_window_min: 64 << 10,
            ack_window_max: 16 << 20,
            amf_depth: 16,
            amf_nodes: 512,
            amf_keys: 256,
            amf_string: 16 << 10,
            amf_total: 256 << 10,
        }
    }
}

impl Limits {
    /// The share of these limits that concerns AMF0 values.
    #[must_use]
    pub fn amf(&self) -> amf0::Limits {
        amf0::Limits {
            depth: self.amf_depth,
            nodes: self.amf_nodes,
            keys: self.amf_keys,
            string: self.amf_string,
            total: self.amf_total,
        }
    }

    /// The largest message of a type in bytes.
    #[must_use]
    pub fn message_bytes(&self, type_id: u8) -> u32 {
        match type_id {
            crate::message::AUDIO | crate::message::VIDEO | crate::message::AGGREGATE => {
                self.max_media_message
            }
            type_id if crate::message::is_data(type_id) => self.max_data_message,
            _ => self.max_command_message,
        }
    }
}
