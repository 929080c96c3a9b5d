//! Recordings as bytes: FLV and MP4 files that grow, what their ends say, and how one is continued. Nothing here opens a file by
//! its name.

pub(crate) mod continued;
pub(crate) mod flv_file;
pub(crate) mod flv_tail;
pub(crate) mod mp4_file;
pub(crate) mod mp4_tail;

/// Length of an MP4 fragment of a recording, ms.
pub(crate) const FRAGMENT_MS: i64 = 1000;
