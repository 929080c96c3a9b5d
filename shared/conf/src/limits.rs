//! Ceilings against hostile or broken peers, and the sizes of the rings between processes.
//!
//! Plain numbers, because this crate knows no protocol; whoever owns the protocol maps them to its own limits.

use serde::{Deserialize, Serialize};

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const GIB: u64 = 1024 * MIB;

/// Memory of the rings that carry streams from the publisher's process to the viewers' processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ring {
    /// Size of a new stream's ring, bytes, 64 KiB or more.
    pub initial_bytes: u64,
    /// Largest ring of one stream, bytes, not below `initial_bytes`.
    pub max_bytes: u64,
    /// All rings of the server together, bytes, not below `max_bytes`.
    pub total_bytes: u64,
}

impl Default for Ring {
    fn default() -> Self {
        Self { initial_bytes: 128 * KIB, max_bytes: 64 * MIB, total_bytes: 2 * GIB }
    }
}

/// What a peer may ask of the server before its connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Largest audio or video message, bytes.
    pub max_message: u32,
    /// Largest command message, bytes.
    pub max_command_message: u32,
    /// Largest data message, bytes; longer ones are left out.
    pub max_data_message: u32,
    /// Smallest chunk size a peer may set, bytes.
    pub chunk_size_min: u32,
    /// Largest chunk size a peer may set, bytes.
    pub chunk_size_max: u32,
    /// Take a chunk size above the maximum as it is instead of closing.
    pub clamp_chunk_size: bool,
    /// Chunk streams with remembered headers, per connection.
    pub max_csids: u32,
    /// Messages being assembled at once, per connection.
    pub max_messages_in_flight: u32,
    /// Bytes being assembled at once, per connection.
    pub max_reassembly: u64,
    /// Bytes being assembled at once in one process, all connections together.
    pub max_reassembly_total: u64,
    /// Nesting of AMF objects and arrays.
    pub amf_depth: u32,
    /// AMF values in one command.
    pub amf_nodes: u32,
    /// Keys of one AMF object.
    pub amf_keys: u32,
    /// Longest AMF string, bytes.
    pub amf_string: u32,
    /// AMF bytes decoded from one command.
    pub amf_total: u32,
    /// From accept to the end of the handshake, milliseconds.
    pub handshake_timeout_ms: u64,
    /// From the handshake to publish or play, milliseconds.
    pub identify_timeout_ms: u64,
    /// A viewer that takes no byte for this long is closed, milliseconds.
    pub stalled_timeout_ms: u64,
    /// Slowest rate at which a viewer with a full queue must drain, bytes per second; 0 does not ask.
    pub min_drain_rate: u32,
    /// Messages taken from one connection before the next connection has its turn.
    pub turn_messages: u32,
    /// Bytes taken from one connection before the next connection has its turn.
    pub turn_bytes: u32,
    /// Connections accepted before other events are served.
    pub turn_accepts: u32,
    /// Message streams per connection.
    pub message_streams: u32,
    /// Longest name of a vhost, application or stream, bytes.
    pub name_bytes: u32,
    /// Bytes queued for one viewer before frames are dropped.
    pub queue_bytes: u64,
    /// Segments of HLS in the memory of one http process, bytes.
    pub hls_memory: u64,
    /// Ping answers waiting to be sent to one peer.
    pub pending_pings: u32,
    /// Smallest acknowledgement window taken from a peer, bytes; smaller ones are raised to it.
    pub ack_window_min: u32,
    /// Largest acknowledgement window taken from a peer, bytes; larger ones are lowered to it.
    pub ack_window_max: u32,
    /// Connections from one address that have not yet said publish or play.
    pub unestablished_per_ip: u32,
    /// Connections in all that have not yet said publish or play.
    pub unestablished_total: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_message: 4 << 20,
            max_command_message: 64 << 10,
            max_data_message: 1 << 20,
            chunk_size_min: 1,
            chunk_size_max: i32::MAX.unsigned_abs(),
            clamp_chunk_size: false,
            max_csids: 64,
            max_messages_in_flight: 8,
            max_reassembly: 8 * MIB,
            max_reassembly_total: 512 * MIB,
            amf_depth: 16,
            amf_nodes: 512,
            amf_keys: 256,
            amf_string: 16 << 10,
            amf_total: 256 << 10,
            handshake_timeout_ms: 5_000,
            identify_timeout_ms: 10_000,
            stalled_timeout_ms: 15_000,
            min_drain_rate: 0,
            turn_messages: 256,
            turn_bytes: 256 << 10,
            turn_accepts: 64,
            message_streams: 16,
            name_bytes: 255,
            queue_bytes: 32 * MIB,
            hls_memory: 4 * GIB,
            pending_pings: 8,
            ack_window_min: 64 << 10,
            ack_window_max: 16 << 20,
            unestablished_per_ip: 5_000,
            unestablished_total: 10_000,
        }
    }
}
