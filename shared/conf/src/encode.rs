//! Streams the server makes: ingest from files and other sources, transcoding of published streams.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A free option for ffmpeg: a name without its dash, and the rest of the line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pair {
    /// Option name.
    pub key: String,
    /// Values in order, mostly one.
    pub values: Vec<String>,
}

/// What an ingest reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum IngestSource {
    /// A file, read at its own pace and started again at its end.
    File(PathBuf),
    /// A live source, read as fast as it comes.
    Stream(String),
}

/// One source the server fetches and publishes to itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ingest {
    /// Unique in its vhost.
    pub id: String,
    /// Off by default.
    pub enabled: bool,
    /// Program that does the work; `None` is the server's own file ingester.
    pub ffmpeg: Option<PathBuf>,
    /// What is read.
    pub source: IngestSource,
    /// Where the own file ingester publishes to: a template with `[vhost]` and `[port]`.
    pub output: String,
    /// One ffmpeg per engine; only used with `ffmpeg`.
    pub engines: Vec<Engine>,
}

impl Ingest {
    /// The output with its variables filled in: `[vhost]` and `[port]`, the port of the first RTMP listener.
    #[must_use]
    pub fn output_url(&self, vhost: &str, port: u16) -> String {
        self.output.replace("[vhost]", vhost).replace("[port]", &port.to_string())
    }
}

/// Transcoding of the streams of one scope.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Transcode {
    /// `None` for the whole vhost, `app`, or `app/stream`.
    pub scope: Option<String>,
    /// Off by default.
    pub enabled: bool,
    /// The ffmpeg program; `None` makes the block idle.
    pub ffmpeg: Option<PathBuf>,
    /// One ffmpeg per engine.
    pub engines: Vec<Engine>,
}

/// One ffmpeg command.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Engine {
    /// Name, what `[engine]` stands for; may be empty.
    pub name: String,
    /// Off copies in an ingest and does nothing in a transcode.
    pub enabled: bool,
    /// Options before the input.
    pub perfile: Vec<Pair>,
    /// Input container; `None` lets ffmpeg find out.
    pub iformat: Option<String>,
    /// Options after the input, such as filters.
    pub vfilter: Vec<Pair>,
    /// Video codec, `copy`, or `vn` for none.
    pub vcodec: Option<String>,
    /// Video bit rate, kbit/s.
    pub vbitrate: u32,
    /// Frames per second.
    pub vfps: f64,
    /// Width, pixels, even.
    pub vwidth: u32,
    /// Height, pixels, even.
    pub vheight: u32,
    /// Encoder threads; 0 lets the encoder choose.
    pub vthreads: u32,
    /// H.264 profile.
    pub vprofile: Option<String>,
    /// Encoder preset.
    pub vpreset: Option<String>,
    /// Further video options.
    pub vparams: Vec<Pair>,
    /// Audio codec, `copy`, or `an` for none.
    pub acodec: Option<String>,
    /// Audio bit rate, kbit/s.
    pub abitrate: u32,
    /// Samples per second.
    pub asample_rate: u32,
    /// Channels, 1 or 2; 0 when not given.
    pub achannels: u32,
    /// Further audio options.
    pub aparams: Vec<Pair>,
    /// Output container; `None` lets ffmpeg find out.
    pub oformat: Option<String>,
    /// URL template to publish to.
    pub output: String,
}
