//! Why a session died. Every variant is the peer's doing unless it says otherwise.

use crate::aggregate::AggregateError;
use crate::chunk::reader::ChunkError;
use crate::handshake::HandshakeError;
use crate::url::UrlError;
use media::cursor::Short;

/// Why a session died.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// The handshake failed.
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    /// The chunk layer was broken.
    #[error(transparent)]
    Chunk(#[from] ChunkError),
    /// A control message is too short.
    #[error("control message of type {type_id}: {short}")]
    Control {
        /// Message type.
        type_id: u8,
        /// Where it ended.
        short: Short,
    },
    /// An aggregate message is malformed.
    #[error(transparent)]
    Aggregate(#[from] AggregateError),
    /// A command is not AMF0 within the limits.
    #[error("command: {0}")]
    Command(#[from] amf0::Error),
    /// A URL or a name is not allowed.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// `connect` came again.
    #[error("connect twice")]
    ConnectTwice,
    /// A property that decides something is missing, has another type, or stands there twice.
    #[error("connect: property {property}")]
    Property {
        /// Its name.
        property: &'static str,
    },
    /// An argument that decides something is missing or has another type.
    #[error("{command}: bad argument")]
    Argument {
        /// Name of the command.
        command: &'static str,
    },
    /// More message streams than allowed.
    #[error("more than {max} message streams")]
    TooManyMessageStreams {
        /// Most allowed.
        max: usize,
    },
    /// More pings at once than we answer.
    #[error("more than {max} pings at once")]
    TooManyPings {
        /// Most allowed.
        max: u32,
    },
    /// Pauses, seeks and switches too often.
    #[error("more than {max} pauses, seeks or switches per second")]
    TooManyToggles {
        /// Most allowed.
        max: u32,
    },
    /// Too much was sent while a decision of ours was awaited.
    #[error("{bytes} bytes sent without awaiting the answer")]
    UndecidedInput {
        /// Bytes that wait.
        bytes: usize,
    },
    /// The handshake took too long.
    #[error("handshake timed out")]
    HandshakeTimeout,
    /// The client did not say in time what it wants.
    #[error("no connect, publish or play in time")]
    IdentifyTimeout,
    /// The server did not let a client of ours start in time.
    #[error("the server did not answer in time")]
    StartTimeout,
    /// Our caller answered a decision that is not pending; the session is unchanged.
    #[error("no such decision is pending (our caller's fault)")]
    NothingPending,
}

impl SessionError {
    /// A short stable name for counters.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Handshake(error) => error.reason(),
            Self::Chunk(error) => error.reason(),
            Self::Control { .. } => "control_short",
            Self::Aggregate(error) => error.reason(),
            Self::Command(error) => error.reason(),
            Self::Url(error) => error.reason(),
            Self::ConnectTwice => "connect_twice",
            Self::Property { .. } => "connect_property",
            Self::Argument { .. } => "command_argument",
            Self::TooManyMessageStreams { .. } => "too_many_message_streams",
            Self::TooManyPings { .. } => "too_many_pings",
            Self::TooManyToggles { .. } => "too_many_toggles",
            Self::UndecidedInput { .. } => "undecided_input",
            Self::HandshakeTimeout => "handshake_timeout",
            Self::IdentifyTimeout => "identify_timeout",
            Self::StartTimeout => "start_timeout",
            Self::NothingPending => "nothing_pending",
        }
    }
}
