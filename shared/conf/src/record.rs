//! Streams written to disk (HLS, DVR, DASH, HDS) and the bandwidth test.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Root directory of the built-in web server.
const HTML: &str = "./objs/nginx/html";

/// What a failure of the HLS writer does to the publisher.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum HlsOnError {
    /// No more HLS for this publish.
    #[default]
    Ignore,
    /// Disconnect the publisher.
    Disconnect,
    /// Try again with the next packets.
    Continue,
}

/// Where HLS segments are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum HlsStorage {
    /// As files.
    #[default]
    Disk,
    /// In the http process.
    Memory,
    /// In both.
    Both,
}

/// HLS.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Hls {
    /// Off by default.
    pub enabled: bool,
    /// Target length of a segment, milliseconds, above 0.
    pub fragment_ms: u64,
    /// Factor on the target duration written to the playlist.
    pub td_ratio: f64,
    /// Factor on the segment length at which one is cut without a key frame.
    pub aof_ratio: f64,
    /// Length listed in the playlist, milliseconds, above 0.
    pub window_ms: u64,
    /// What a failure does.
    pub on_error: HlsOnError,
    /// Where segments are kept.
    pub storage: HlsStorage,
    /// Root directory.
    pub path: PathBuf,
    /// Playlist name under the root, a template.
    pub m3u8_file: String,
    /// Segment name under the root, a template.
    pub ts_file: String,
    /// Put before segment names in the playlist.
    pub entry_prefix: String,
    /// Audio codec assumed before one is seen.
    pub acodec: String,
    /// Video codec assumed before one is seen.
    pub vcodec: String,
    /// Remove segments that left the playlist.
    pub cleanup: bool,
    /// Remove the files of a stream that ended, after milliseconds; 0 never.
    pub dispose_ms: u64,
    /// Cut at key frames only.
    pub wait_keyframe: bool,
    /// Number segments by the clock.
    pub ts_floor: bool,
    /// Bytes of a segment sent to `on_hls_notify`.
    pub nb_notify: u32,
    /// Count viewers by a session parameter in playlists.
    pub ctx: bool,
    /// Count viewers by a session parameter in segments.
    pub ts_ctx: bool,
    /// Encrypt the segments.
    pub keys: bool,
    /// Segments per key, at least 1.
    pub fragments_per_key: u32,
    /// Key file name, a template.
    pub key_file: String,
    /// Directory of the key files.
    pub key_file_path: PathBuf,
    /// URL of the keys in the playlist.
    pub key_url: String,
    /// Leave timestamps as the publisher sent them.
    pub dts_directly: bool,
}

impl Default for Hls {
    fn default() -> Self {
        Self {
            enabled: false,
            fragment_ms: 10_000,
            td_ratio: 1.0,
            aof_ratio: 2.1,
            window_ms: 60_000,
            on_error: HlsOnError::Ignore,
            storage: HlsStorage::Disk,
            path: HTML.into(),
            m3u8_file: "[app]/[stream].m3u8".into(),
            ts_file: "[app]/[stream]-[seq].ts".into(),
            entry_prefix: String::new(),
            acodec: "aac".into(),
            vcodec: "h264".into(),
            cleanup: true,
            dispose_ms: 120_000,
            wait_keyframe: true,
            ts_floor: false,
            nb_notify: 64,
            ctx: true,
            ts_ctx: true,
            keys: false,
            fragments_per_key: 5,
            key_file: "[app]/[stream]-[seq].key".into(),
            key_file_path: HTML.into(),
            key_url: String::new(),
            dts_directly: true,
        }
    }
}

/// How recordings are cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum DvrPlan {
    /// One file per publish.
    #[default]
    Session,
    /// A new file every `duration_ms`.
    Segment,
    /// Header and segments apart (0.9.76).
    Hss,
    /// One file per stream, which each publish continues.
    Append,
}

/// Recording to FLV files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Dvr {
    /// Off by default.
    pub enabled: bool,
    /// Streams to record as `app/stream`; empty records all.
    pub apply: Vec<String>,
    /// Directory, or a template that ends in a file name.
    pub path: String,
    /// How recordings are cut.
    pub plan: DvrPlan,
    /// Length of a segment, milliseconds, above 0.
    pub duration_ms: u64,
    /// Cut at key frames only.
    pub wait_keyframe: bool,
    /// Timestamp repair in the file.
    pub time_jitter: crate::vhost::TimeJitter,
}

impl Default for Dvr {
    fn default() -> Self {
        Self {
            enabled: false,
            apply: Vec::new(),
            path: HTML.into(),
            plan: DvrPlan::Session,
            duration_ms: 30_000,
            wait_keyframe: true,
            time_jitter: crate::vhost::TimeJitter::Full,
        }
    }
}

/// MPEG-DASH.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Dash {
    /// Off by default.
    pub enabled: bool,
    /// Segment length, milliseconds, above 0.
    pub fragment_ms: u64,
    /// Manifest period, milliseconds, above 0.
    pub update_period_ms: u64,
    /// Length kept available, milliseconds, above 0.
    pub timeshift_ms: u64,
    /// Root directory.
    pub path: PathBuf,
    /// Manifest name, a template.
    pub mpd_file: String,
    /// Segments listed.
    pub window_size: u32,
    /// Remove segments that left the manifest.
    pub cleanup: bool,
    /// Remove the files of a stream that ended, after milliseconds; 0 never.
    pub dispose_ms: u64,
}

impl Default for Dash {
    fn default() -> Self {
        Self {
            enabled: false,
            fragment_ms: 10_000,
            update_period_ms: 5_000,
            timeshift_ms: 300_000,
            path: HTML.into(),
            mpd_file: "[app]/[stream].mpd".into(),
            window_size: 10,
            cleanup: true,
            dispose_ms: 120_000,
        }
    }
}

/// Adobe HDS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Hds {
    /// Off by default.
    pub enabled: bool,
    /// Segment length, milliseconds, above 0.
    pub fragment_ms: u64,
    /// Length listed, milliseconds, above 0.
    pub window_ms: u64,
    /// Root directory.
    pub path: PathBuf,
}

impl Default for Hds {
    fn default() -> Self {
        Self { enabled: false, fragment_ms: 10_000, window_ms: 60_000, path: HTML.into() }
    }
}

/// Bandwidth test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Bandcheck {
    /// Off by default.
    pub enabled: bool,
    /// Key a client must show.
    pub key: String,
    /// Least time between two tests, milliseconds.
    pub interval_ms: u64,
    /// Highest rate of a test, kbit/s, above 0.
    pub limit_kbps: u32,
}

impl Default for Bandcheck {
    fn default() -> Self {
        Self { enabled: false, key: String::new(), interval_ms: 30_000, limit_kbps: 1_000 }
    }
}
