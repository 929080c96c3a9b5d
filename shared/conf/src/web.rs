//! What a vhost shows to and asks of the web: files, live streams over HTTP, hooks; and who is let in at all.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Files over HTTP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HttpStatic {
    /// Off by default.
    pub enabled: bool,
    /// URL path, may begin with `[vhost]`.
    pub mount: String,
    /// Directory.
    pub dir: PathBuf,
}

impl Default for HttpStatic {
    fn default() -> Self {
        Self { enabled: false, mount: "/".into(), dir: "./objs/nginx/html".into() }
    }
}

/// Live streams over HTTP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HttpRemux {
    /// Off by default.
    pub enabled: bool,
    /// Length kept for late audio-only clients, milliseconds; 0 keeps none.
    pub fast_cache_ms: u64,
    /// Drop packets that `has_audio` and `has_video` deny.
    pub drop_if_not_match: bool,
    /// The header announces audio.
    pub has_audio: bool,
    /// The header announces video.
    pub has_video: bool,
    /// Find out both from the stream.
    pub guess_has_av: bool,
    /// URL template; its ending chooses the container.
    pub mount: String,
    /// Program that makes a picture of a key frame; a name alone is looked for where programs are. `None`: nobody does.
    #[serde(default = "ffmpeg")]
    pub snapshot_ffmpeg: Option<PathBuf>,
}

fn ffmpeg() -> Option<PathBuf> {
    Some(PathBuf::from("ffmpeg"))
}

impl Default for HttpRemux {
    fn default() -> Self {
        Self {
            enabled: false,
            fast_cache_ms: 0,
            drop_if_not_match: true,
            has_audio: true,
            has_video: true,
            guess_has_av: true,
            mount: "[vhost]/[app]/[stream].flv".into(),
            snapshot_ffmpeg: ffmpeg(),
        }
    }
}

/// URLs that are called when something happens; all of a list, in order.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct HttpHooks {
    /// Off by default.
    pub enabled: bool,
    /// A client connects; may refuse.
    pub on_connect: Vec<String>,
    /// A client has gone.
    pub on_close: Vec<String>,
    /// A client wants to publish; may refuse.
    pub on_publish: Vec<String>,
    /// A publish has ended.
    pub on_unpublish: Vec<String>,
    /// A client wants to play; may refuse.
    pub on_play: Vec<String>,
    /// A play has ended.
    pub on_stop: Vec<String>,
    /// A recording is finished.
    pub on_dvr: Vec<String>,
    /// An HLS segment is finished.
    pub on_hls: Vec<String>,
    /// An HLS segment is announced to a cache.
    pub on_hls_notify: Vec<String>,
}

/// Programs run for each publisher.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Exec {
    /// Off by default.
    pub enabled: bool,
    /// One command and its arguments each, templates.
    pub publish: Vec<Vec<String>>,
}

/// Whether a rule lets in or keeps out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RuleAction {
    /// Let in.
    Allow,
    /// Keep out.
    Deny,
}

/// One line of the `security` block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// Let in or keep out.
    pub action: RuleAction,
    /// Rule for publishers; else for viewers.
    pub publish: bool,
    /// Network address and prefix length; `None` is everybody.
    pub network: Option<(std::net::IpAddr, u8)>,
}

/// Addresses that may publish or play.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Security {
    /// Off by default.
    pub enabled: bool,
    /// Rules in file order.
    pub rules: Vec<Rule>,
}
