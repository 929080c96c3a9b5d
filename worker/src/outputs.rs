//! What is made of streams and files: live formats, HLS, recordings, pictures.

pub(crate) mod dvr;
pub(crate) mod feed;
pub(crate) mod hls;
pub(crate) mod left_out;
pub(crate) mod live;
pub(crate) mod pictures;
pub(crate) mod vod;
