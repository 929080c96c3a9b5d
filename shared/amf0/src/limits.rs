//! What decoding may cost. Values that are counted are counted per call of [`crate::decode_all`] or, for a single
//! value, of [`crate::decode`].

/// Maxima of one decoded message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Nesting: a value at the top has depth 1. Bounds our stack.
    pub depth: usize,
    /// Values of all kinds together. Bounds the memory that a few bytes of input can take.
    pub nodes: usize,
    /// Properties of one object.
    pub keys: usize,
    /// Bytes of one string or key.
    pub string: usize,
    /// Decoded bytes together: strings and keys, and a flat charge for each value.
    pub total: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { depth: 16, nodes: 512, keys: 256, string: 4_096, total: 256 << 10 }
    }
}
