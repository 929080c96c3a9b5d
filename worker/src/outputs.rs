//! What is made of streams and files: live formats, HLS, recordings, pictures.
//!
//! A feed reads a stream's ring (`feed.rs`) and tells outputs what happens in it (`event.rs`). An output knows no other output, nobody
//! who asks for it, and no socket; `media.rs` knows all of them.

pub(crate) mod dvr;
pub(crate) mod event;
pub(crate) mod feed;
pub(crate) mod hls;
pub(crate) mod left_out;
pub(crate) mod live;
pub(crate) mod media;
pub(crate) mod moment;
pub(crate) mod output;
pub(crate) mod owners;
pub(crate) mod pictures;
pub(crate) mod streams;
pub(crate) mod vod;
