//! Why bytes are not AMF0 that we take, or a Rust value cannot become AMF0.

use media::cursor::Short;

/// An error of decoding, or of the serde bridge. Positions count from the beginning of the input.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The peer's bytes end inside a value.
    #[error(transparent)]
    Short(#[from] Short),
    /// The peer switches to AMF3 (marker 0x11), which we do not offer.
    #[error("at byte {at}: AMF3 value")]
    Amf3 {
        /// Offset of the marker.
        at: usize,
    },
    /// A marker that is reserved, or that may not stand here.
    #[error("at byte {at}: marker {marker:#04x}")]
    Marker {
        /// Offset of the marker.
        at: usize,
        /// The marker.
        marker: u8,
    },
    /// Nested deeper than [`crate::Limits::depth`].
    #[error("at byte {at}: nested too deep")]
    Depth {
        /// Offset of the value.
        at: usize,
    },
    /// More values than [`crate::Limits::nodes`].
    #[error("at byte {at}: too many values")]
    Nodes {
        /// Offset of the value.
        at: usize,
    },
    /// More properties in one object than [`crate::Limits::keys`].
    #[error("at byte {at}: too many properties")]
    Keys {
        /// Offset of the property.
        at: usize,
    },
    /// A string longer than [`crate::Limits::string`].
    #[error("at byte {at}: string of {len} bytes")]
    StringLength {
        /// Offset of the string's length.
        at: usize,
        /// Declared length in bytes.
        len: usize,
    },
    /// More decoded bytes than [`crate::Limits::total`].
    #[error("at byte {at}: values take too much memory")]
    Total {
        /// Offset of the value.
        at: usize,
    },
    /// Our caller's integer is not exactly representable (above 2^53 in magnitude).
    #[error("integer is not exactly representable as a double")]
    Integer,
    /// Our caller's map key is not a string, number or boolean.
    #[error("map key is not text")]
    Key,
    /// The Rust type and the AMF0 value do not fit together; the text is serde's.
    #[error("{0}")]
    Shape(Box<str>),
}

impl Error {
    /// A short stable name for counters.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Short(_) => "amf0_short",
            Self::Amf3 { .. } => "amf0_amf3",
            Self::Marker { .. } => "amf0_marker",
            Self::Depth { .. } => "amf0_depth",
            Self::Nodes { .. } => "amf0_nodes",
            Self::Keys { .. } => "amf0_keys",
            Self::StringLength { .. } => "amf0_string_length",
            Self::Total { .. } => "amf0_total",
            Self::Integer => "amf0_integer",
            Self::Key => "amf0_key",
            Self::Shape(_) => "amf0_shape",
        }
    }
}

impl serde::ser::Error for Error {
    fn custom<T: std::fmt::Display>(message: T) -> Self {
        Self::Shape(message.to_string().into_boxed_str())
    }
}

impl serde::de::Error for Error {
    fn custom<T: std::fmt::Display>(message: T) -> Self {
        Self::Shape(message.to_string().into_boxed_str())
    }
}
