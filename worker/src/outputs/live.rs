//! Streams as endless answers: FLV, MPEG-TS, fragmented MP4, and sounds alone.

pub(crate) mod batch;
pub(crate) mod muxer;
pub(crate) mod packet_queue;
pub(crate) mod rules;
pub(crate) mod stream;
pub(crate) mod viewer;
