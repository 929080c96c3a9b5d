//! One virtual host: how streams enter, how they leave, and what else is done with them.

use serde::{Deserialize, Serialize};

pub use crate::cluster::{Cluster, ClusterMode, Endpoint, Forward, PullProtocol};
pub use crate::encode::{Engine, Ingest, IngestSource, Pair, Transcode};
pub use crate::record::{Bandcheck, Dash, Dvr, DvrPlan, Hds, Hls, HlsOnError, HlsStorage};
pub use crate::web::{Exec, HttpHooks, HttpRemux, HttpStatic, Rule, RuleAction, Security};

/// How timestamps are mended before viewers see them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum TimeJitter {
    /// Start at zero and repair jumps.
    #[default]
    Full,
    /// Start at zero only.
    Zero,
    /// Leave them as they are.
    Off,
}

/// Whether a second publisher of a stream replaces the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum PublishTakeover {
    /// When it is the same client that comes again: same address, same parameters of the stream name, and the
    /// connection before is silent.
    #[default]
    Same,
    /// Always.
    On,
    /// Never.
    Off,
}

/// How long outgoing messages may wait to be written together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum MwLatency {
    /// The server decides.
    #[default]
    Auto,
    /// This many milliseconds.
    Fixed(u64),
}

/// Which pages may embed the streams; an empty list allows all.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Refer {
    /// Checked when a client connects.
    pub all: Vec<String>,
    /// Checked additionally when it plays.
    pub play: Vec<String>,
    /// Checked additionally when it publishes.
    pub publish: Vec<String>,
}

/// Rules for publishers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Publish {
    /// The first packet must come within, milliseconds.
    pub firstpkt_timeout_ms: u64,
    /// Every further packet must come within, milliseconds.
    pub normal_timeout_ms: u64,
    /// Disconnect a publisher without viewers after, milliseconds; 0 never.
    pub kickoff_for_idle_ms: u64,
    /// Merge reads (kept for files that have it).
    pub mr: bool,
    /// Merge reads for, milliseconds.
    pub mr_latency_ms: u64,
    /// Read the picture size from the sequence header.
    pub parse_sps: bool,
    /// Look for Annex B before AVCC when parsing video.
    pub try_annexb_first: bool,
}

impl Default for Publish {
    fn default() -> Self {
        Self {
            firstpkt_timeout_ms: 20_000,
            normal_timeout_ms: 30_000,
            kickoff_for_idle_ms: 0,
            mr: false,
            mr_latency_ms: 350,
            parse_sps: true,
            try_annexb_first: true,
        }
    }
}

/// One virtual host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Vhost {
    /// Name as written in the file, 1 to 255 bytes.
    pub name: String,
    /// Off refuses every client.
    pub enabled: bool,
    /// Outgoing chunk size, bytes, 128 to 65536.
    pub chunk_size: u32,
    /// Keep the last group of pictures for a fast start.
    pub gop_cache: bool,
    /// Frames in the cache before it is given up; 0 has no bound of its own.
    pub gop_cache_max_frames: u32,
    /// Longest queue of one viewer, milliseconds, above 0.
    pub queue_length_ms: u64,
    /// Timestamp repair for viewers.
    pub time_jitter: TimeJitter,
    /// Absolute time: timestamps of the publisher are kept.
    pub atc: bool,
    /// Switch `atc` on when the metadata asks for it.
    pub atc_auto: bool,
    /// Reorder audio and video by time.
    pub mix_correct: bool,
    /// Merged write.
    pub mw_latency: MwLatency,
    /// Messages that must wait before a write; `None` lets the server decide.
    pub mw_msgs: Option<u32>,
    /// Send at once rather than efficiently.
    pub min_latency: bool,
    /// `TCP_NODELAY` on viewers' sockets; `None` lets the server decide.
    pub tcp_nodelay: Option<bool>,
    /// Size of the kernel's send buffer, bytes; 0 leaves it to the kernel.
    pub send_buffer: u32,
    /// Unsent bytes at which a socket takes no more; 0 leaves it to the kernel.
    pub tcp_notsent_lowat: u32,
    /// Least time between two messages to a viewer, microseconds; 0 has none.
    pub send_min_interval_us: u64,
    /// Viewers of a stream that nobody publishes are ended after so long, ms; 0: they wait.
    pub play_idle_timeout_ms: u64,
    /// Do not repeat an unchanged sequence header.
    pub reduce_sequence_header: bool,
    /// Clients are acknowledged after so many bytes until they say otherwise; 0 waits until they say.
    pub in_ack_size: u32,
    /// Acknowledgement window that clients are asked for, bytes; 0 does not ask.
    pub out_ack_size: u32,
    /// Which pages may embed the streams.
    pub refer: Refer,
    /// Whether a second publisher of the same stream replaces the first instead of being refused.
    pub publish_takeover: PublishTakeover,
    /// Rules for publishers.
    pub publish: Publish,
    /// Origin or edge.
    pub cluster: Cluster,
    /// Other servers that get every stream.
    pub forward: Forward,
    /// Streams the server fetches or reads itself.
    pub ingests: Vec<Ingest>,
    /// Transcoding of published streams.
    pub transcodes: Vec<Transcode>,
    /// HLS.
    pub hls: Hls,
    /// Recording to files.
    pub dvr: Dvr,
    /// MPEG-DASH.
    pub dash: Dash,
    /// Adobe HDS.
    pub hds: Hds,
    /// Files over HTTP.
    pub http_static: HttpStatic,
    /// Live streams over HTTP.
    pub http_remux: HttpRemux,
    /// Questions and reports to a web server.
    pub http_hooks: HttpHooks,
    /// Programs run for each publisher.
    pub exec: Exec,
    /// Addresses that may publish or play.
    pub security: Security,
    /// Bandwidth test.
    pub bandcheck: Bandcheck,
}

/// For what another version wrote: what it did not know is as if it were not configured.
impl Default for Vhost {
    fn default() -> Self {
        Self::new("", crate::Config::default().chunk_size)
    }
}

impl Vhost {
    /// Whether nothing that is enforced keeps any publisher out.
    #[must_use]
    pub fn lets_anybody_publish(&self) -> bool {
        self.enabled && self.refer.all.is_empty() && self.refer.publish.is_empty()
    }

    /// A vhost of that name as an empty block would make it.
    #[must_use]
    pub fn new(name: impl Into<String>, chunk_size: u32) -> Self {
        Self {
            name: name.into(),
            enabled: true,
            chunk_size,
            gop_cache: true,
            gop_cache_max_frames: 2_500,
            queue_length_ms: 30_000,
            time_jitter: TimeJitter::Full,
            atc: false,
            atc_auto: true,
            mix_correct: false,
            mw_latency: MwLatency::Auto,
            mw_msgs: None,
            min_latency: false,
            tcp_nodelay: None,
            send_buffer: 0,
            tcp_notsent_lowat: 131_072,
            send_min_interval_us: 0,
            play_idle_timeout_ms: 0,
            reduce_sequence_header: false,
            in_ack_size: 0,
            out_ack_size: 2_500_000,
            refer: Refer::default(),
            publish_takeover: PublishTakeover::Same,
            publish: Publish::default(),
            cluster: Cluster::default(),
            forward: Forward::default(),
            ingests: Vec::new(),
            transcodes: Vec::new(),
            hls: Hls::default(),
            dvr: Dvr::default(),
            dash: Dash::default(),
            hds: Hds::default(),
            http_static: HttpStatic::default(),
            http_remux: HttpRemux::default(),
            http_hooks: HttpHooks::default(),
            exec: Exec::default(),
            security: Security::default(),
            bandcheck: Bandcheck::default(),
        }
    }
}
