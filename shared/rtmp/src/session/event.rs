//! What sessions tell their owner, and what they ask of it. No behaviour lives here.

use crate::message::MediaKind;
use crate::url::Target;
use amf0::Value;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// One thing the owner of a session has to do. Drain with `poll_output` until it returns `None` before the next input.
#[must_use]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Output<E = ServerEvent> {
    /// Send these bytes to the peer, in order.
    Transmit(Bytes),
    /// Something happened.
    Event(E),
    /// Send what was transmitted before, then close the connection.
    Close(CloseReason),
}

/// Why a session wants its connection closed in good order. (Violations are errors instead.)
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum CloseReason {
    /// The owner rejected the connect.
    ConnectRejected,
    /// The owner rejected a publish.
    PublishRejected,
    /// The owner rejected a play.
    PlayRejected,
    /// The owner said goodbye.
    Goodbye,
    /// The far server refused what this client asked.
    RefusedByPeer,
}

/// What a client session or a server session is told by the peer's `connect`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConnectRequest {
    /// Identifies this decision within the session's life.
    pub request: u64,
    /// The `tcUrl` property as sent; may contain secrets in its query, see [`crate::url::mask_query`].
    pub tc_url: String,
    /// The `app` property as sent; empty when absent.
    pub app: String,
    /// Where the client wants to go, the vhost not yet resolved against a configuration.
    pub target: Target,
    /// The `pageUrl` property.
    pub page_url: Option<String>,
    /// The `swfUrl` property.
    pub swf_url: Option<String>,
    /// The `flashVer` property.
    pub flash_ver: Option<String>,
    /// The `objectEncoding` property, 0 (AMF0) when absent.
    pub object_encoding: f64,
    /// Enhanced RTMP: codecs of `fourCcList`, `*` for all.
    pub four_cc_list: Vec<String>,
    /// Enhanced RTMP: the `capsEx` bits.
    pub caps_ex: Option<u32>,
    /// Enhanced RTMP: codec and capability bits of `videoFourCcInfoMap`, in order.
    pub video_four_cc_info: Vec<(String, u32)>,
    /// Enhanced RTMP: codec and capability bits of `audioFourCcInfoMap`, in order.
    pub audio_four_cc_info: Vec<(String, u32)>,
    /// The optional object behind the command object (`srs_*` arguments of other servers), in order.
    pub args: Vec<(String, Value)>,
}

/// What a publisher says about recording; live servers treat all alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PublishKind {
    /// `live`, or nothing said.
    Live,
    /// `record`
    Record,
    /// `append`
    Append,
}

/// A peer asks to publish.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishRequest {
    /// Identifies this decision within the session's life.
    pub request: u64,
    /// Message stream id.
    pub msid: u32,
    /// Stream name without its query; passed the name rules.
    pub name: String,
    /// The query of the stream name, in order.
    pub params: Vec<(String, String)>,
    /// Live, record or append.
    pub kind: PublishKind,
    /// Whether the encoder announced the name with releaseStream or FCPublish before.
    pub fmle: bool,
}

/// A peer asks to play.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlayRequest {
    /// Identifies this decision within the session's life.
    pub request: u64,
    /// Message stream id.
    pub msid: u32,
    /// Stream name without its query; passed the name rules.
    pub name: String,
    /// The query of the stream name, in order.
    pub params: Vec<(String, String)>,
    /// Start in seconds; -2 live or recorded, -1 live only; always finite.
    pub start: f64,
    /// Play this many milliseconds of stream time, then end; `None` for ever.
    pub duration_ms: Option<u64>,
    /// Whether a play list is to be flushed.
    pub reset: bool,
}

/// Something of a client that a session leaves out and goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Dropped {
    /// Media or data on a message stream that does not publish.
    Stray {
        /// Message stream id.
        msid: u32,
        /// Audio, video or data.
        kind: MediaKind,
    },
    /// A data message longer than allowed.
    TooLong {
        /// Message type.
        type_id: u8,
        /// Its length in bytes.
        length: u32,
        /// Largest allowed.
        max: u32,
    },
}

impl fmt::Display for Dropped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stray { msid, kind } => {
                let kind = match kind {
                    MediaKind::Audio => "sound",
                    MediaKind::Video => "pictures",
                    MediaKind::Data => "data",
                };
                write!(f, "{kind} on message stream {msid}, which does not publish")
            }
            Self::TooLong { type_id, length, max } => {
                write!(
                    f,
                    "a data message (type {type_id}) of {length} bytes, {max} allowed (max_data_message)"
                )
            }
        }
    }
}

/// What a server session tells.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ServerEvent {
    /// Decide with `accept_connect` or `reject_connect`; nothing further is parsed until then.
    Connect(Arc<ConnectRequest>),
    /// Decide with `accept_publish` or `reject_publish`; nothing further is parsed until then.
    Publish(PublishRequest),
    /// Decide with `accept_play` or `reject_play`; nothing further is parsed until then.
    Play(PlayRequest),
    /// An accepted publish ended.
    Unpublish {
        /// Message stream id.
        msid: u32,
    },
    /// An accepted play ended.
    StopPlay {
        /// Message stream id.
        msid: u32,
    },
    /// A message of an accepted publish.
    Media {
        /// Message stream id.
        msid: u32,
        /// Audio, video or data.
        kind: MediaKind,
        /// Milliseconds of the publisher's timeline; wraps at 32 bits.
        timestamp: u32,
        /// The message's payload; AMF0 for data.
        payload: Bytes,
    },
    /// A player pauses or goes on.
    Pause {
        /// Message stream id.
        msid: u32,
        /// True for pause.
        paused: bool,
        /// The player's position in milliseconds.
        time_ms: u64,
    },
    /// A player seeks.
    Seek {
        /// Message stream id.
        msid: u32,
        /// The wanted position in milliseconds.
        time_ms: u64,
    },
    /// A player switches audio.
    ReceiveAudio {
        /// Message stream id.
        msid: u32,
        /// True when it wants audio.
        on: bool,
    },
    /// A player switches video.
    ReceiveVideo {
        /// Message stream id.
        msid: u32,
        /// True when it wants video.
        on: bool,
    },
    /// A player's buffer; a hint only.
    BufferLength {
        /// Message stream id.
        msid: u32,
        /// Milliseconds, at most one minute.
        ms: u32,
    },
    /// The peer acknowledged this many bytes (low 32 bits of its count); statistics only.
    Acknowledged(u32),
    /// Something was left out. Told for the first, second, fourth, eighth ... of each cause.
    Dropped {
        /// What.
        what: Dropped,
        /// How many of its cause so far, this one included.
        count: u64,
    },
}

/// Why a publish is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RejectReason {
    /// The name is in use or not allowed: `NetStream.Publish.BadName`.
    BadName,
    /// The publisher is not allowed: `NetStream.Publish.Denied`.
    Denied,
}

impl RejectReason {
    /// The code of the status by which the publisher is told.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::BadName => "NetStream.Publish.BadName",
            Self::Denied => "NetStream.Publish.Denied",
        }
    }
}

/// Why a play is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PlayReject {
    /// `NetStream.Play.StreamNotFound`
    StreamNotFound,
    /// `NetStream.Play.Failed`
    Failed,
}

impl PlayReject {
    /// The code of the status by which the player is told.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::StreamNotFound => "NetStream.Play.StreamNotFound",
            Self::Failed => "NetStream.Play.Failed",
        }
    }
}

/// What a client session tells.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ClientEvent {
    /// The server accepted `connect`; the information object of its answer.
    Connected {
        /// Information object (level, code, data, ...), `Null` when absent.
        info: Value,
    },
    /// `publish` was accepted: media may be sent.
    Publishing,
    /// `play` was accepted: media will arrive.
    Playing,
    /// A message of the played stream.
    Media {
        /// Audio, video or data.
        kind: MediaKind,
        /// Milliseconds of the sender's timeline; wraps at 32 bits.
        timestamp: u32,
        /// The message's payload; AMF0 for data.
        payload: Bytes,
    },
    /// Any other status of the server.
    Status {
        /// `status`, `warning` or `error`.
        level: String,
        /// For example `NetStream.Play.UnpublishNotify`.
        code: String,
        /// For people.
        description: String,
    },
    /// The server refused connect, publish or play; a `Close` follows.
    Rejected {
        /// For example `NetStream.Publish.BadName`.
        code: String,
        /// For people.
        description: String,
    },
    /// The server ended the stream.
    StreamEnd,
}
