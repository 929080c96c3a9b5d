//! HLS and recordings.

use serde::{Deserialize, Serialize};

/// HLS of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Hls {
    /// Resolved vhost.
    pub vhost: String,
    /// Application.
    pub app: String,
    /// Stream name.
    pub name: String,
    /// Path of its list.
    pub url: String,
    /// `memory`, `disk` or `both`.
    pub storage: String,
    /// Segments that are listed.
    pub segments: u64,
    /// How long they are together, ms.
    pub window_ms: u64,
    /// Number of the next segment.
    pub sequence: u64,
    /// Target duration, seconds; 0 before the first segment.
    pub target_s: u64,
    /// Bytes of what is listed.
    pub bytes: u64,
    /// Players.
    pub clients: u64,
    /// Segments that could not be written.
    pub lost: u64,
    /// Packets that could not be packed.
    pub refused: u64,
    /// What of the stream is in no segment, in words.
    #[serde(default)]
    pub left_out: Vec<String>,
    /// Further tracks that have a list of their own: `audio1`, `video2` …
    #[serde(default)]
    pub renditions: Vec<String>,
    /// Whether somebody publishes the stream.
    pub live: bool,
    /// Process that makes it.
    pub process: String,
}

/// A stream that is recorded.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Recording {
    /// Resolved vhost.
    pub vhost: String,
    /// Application.
    pub app: String,
    /// Stream name.
    pub name: String,
    /// `session`, `segment` or `hss`.
    pub plan: String,
    /// Whether a file is open now; otherwise the next key frame, or the disk, is waited for.
    pub open: bool,
    /// Length of the file that is open, ms.
    pub duration_ms: u64,
    /// Bytes in it.
    pub bytes: u64,
    /// Whether an operator began it, not the configuration.
    pub by_operator: bool,
    /// What of the stream is in no file, in words.
    #[serde(default)]
    pub left_out: Vec<String>,
    /// Process that records.
    pub process: String,
}

/// A file that is finished.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Recorded {
    /// Resolved vhost.
    pub vhost: String,
    /// Application.
    pub app: String,
    /// Stream name.
    pub name: String,
    /// The file.
    pub path: String,
    /// Length, ms.
    pub duration_ms: u64,
    /// Bytes.
    pub bytes: u64,
}

/// `/api/v1/dvr`
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Dvr {
    /// Streams that are recorded.
    pub recordings: Vec<Recording>,
    /// The newest files that were finished since the process began, the newest last.
    pub recorded: Vec<Recorded>,
}

impl Dvr {
    /// Adds what another process records.
    pub fn merge(&mut self, other: Self) {
        self.recordings.extend(other.recordings);
        self.recorded.extend(other.recorded);
    }
}

/// `/api/v1/hls`
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct HlsList {
    /// All streams that have HLS.
    pub hls: Vec<Hls>,
}

/// A stream is to be recorded from now on, or no longer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Resolved vhost.
    pub vhost: String,
    /// Application.
    pub app: String,
    /// Stream name.
    pub name: String,
    /// Whether it is.
    pub on: bool,
}

impl RecordAnswer {
    /// It can't be done, and why.
    #[must_use]
    pub fn refused(why: &str) -> Self {
        Self { recording: false, error: Some(why.to_owned()) }
    }
}

/// What an http process says of a stream that is another's.
pub const ELSEWHERE: &str = "another http process has the stream";

/// What came of [`Record`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordAnswer {
    /// Whether it is recorded now.
    pub recording: bool,
    /// Why it is not as it should be.
    pub error: Option<String>,
}
