//! Chunk headers.
