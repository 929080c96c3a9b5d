//! The three kinds of packets that a stream carries.

use serde::{Deserialize, Serialize};

/// What a packet of a stream carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// One audio message: an FLV audio tag body.
    Audio,
    /// One video message: an FLV video tag body.
    Video,
    /// One AMF0 data message: an FLV script tag body.
    Data,
}

impl Kind {
    /// RTMP message type and FLV tag type (RTMP 1.0, 7.1; FLV 10.1, E.4.1): 8, 9 or 18.
    #[must_use]
    pub const fn type_id(self) -> u8 {
        match self {
            Self::Audio => 8,
            Self::Video => 9,
            Self::Data => 18,
        }
    }

    /// The reverse of [`Self::type_id`].
    #[must_use]
    pub const fn from_type_id(type_id: u8) -> Option<Self> {
        match type_id {
            8 => Some(Self::Audio),
            9 => Some(Self::Video),
            18 => Some(Self::Data),
            _ => None,
        }
    }
}
