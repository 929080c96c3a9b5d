//! Chunks to messages.
