//! Streams and vhosts.

use serde::{Deserialize, Serialize};

/// Mean rates of the last half minute (of the whole time, for what is younger), kbit/s.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Kbps {
    /// Received.
    pub recv_30s: u64,
    /// Sent.
    pub send_30s: u64,
}

impl Kbps {
    /// The rates of so many bytes in so many ms.
    #[must_use]
    pub fn of(recv_bytes: u64, send_bytes: u64, ms: u64) -> Self {
        // Bytes a millisecond times 8 are kbit/s.
        let rate = |bytes: u64| bytes.saturating_mul(8).checked_div(ms).unwrap_or(0);
        Self { recv_30s: rate(recv_bytes), send_30s: rate(send_bytes) }
    }
}

impl std::ops::AddAssign for Kbps {
    fn add_assign(&mut self, other: Self) {
        self.recv_30s += other.recv_30s;
        self.send_30s += other.send_30s;
    }
}

/// A stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stream {
    /// Id, unique in this server.
    pub id: u64,
    /// Stream name.
    pub name: String,
    /// Resolved vhost.
    pub vhost: String,
    /// Application.
    pub app: String,
    /// Where its publisher connected to, secrets masked; made from the names when nobody publishes.
    #[serde(rename = "tcUrl")]
    pub tc_url: String,
    /// `/app/name`.
    pub url: String,
    /// When the publish began, ms ago.
    pub live_ms: u64,
    /// Clients: the publisher and the viewers of all processes.
    pub clients: u64,
    /// Packets received, from all publishers it had.
    pub frames: u64,
    /// Bytes sent to viewers, by all processes, also to those who have left.
    pub send_bytes: u64,
    /// Bytes received from its publishers.
    pub recv_bytes: u64,
    /// Rates.
    pub kbps: Kbps,
    /// Publisher.
    pub publish: Publish,
    /// Video, once seen.
    pub video: Option<Video>,
    /// Audio, once seen.
    pub audio: Option<Audio>,
    /// All tracks, pictures first; the first of each kind is told above, too.
    #[serde(default)]
    pub tracks: Vec<Track>,
    /// What of it an output lacks that somebody uses, in words.
    #[serde(default)]
    pub left_out: Vec<String>,
    /// Bytes of the stream's ring.
    pub ring_bytes: u64,
    /// Jumps of the publisher's clock that were corrected.
    pub time_jumps: u64,
    /// Process that has it, such as `backsource#0`.
    #[serde(default)]
    pub process: String,
}

/// Who publishes a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Publish {
    /// Whether somebody does.
    pub active: bool,
    /// Connection id.
    pub cid: u64,
    /// Where the stream comes from.
    #[serde(default)]
    pub by: Option<PublisherKind>,
}

/// A stream that has viewers and no publisher: what another server could be asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Wanted {
    /// The stream's vhost.
    pub vhost: String,
    /// Its app.
    pub app: String,
    /// Its name.
    pub name: String,
    /// For how long it has been wanted, ms.
    pub since_ms: u64,
    /// The processes with viewers of it, such as `stream#0`.
    pub by: Vec<String>,
}

/// Where a stream comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PublisherKind {
    /// From an encoder that connected to us.
    Encoder,
    /// From another server, from which it is pulled.
    Pull,
    /// From a program of this server.
    Program,
    /// From something that a later version knows.
    #[serde(other)]
    Other,
}

/// Video, as its sequence header says.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Video {
    /// Such as `H264`.
    pub codec: String,
    /// Such as `High`; empty when the stream does not say.
    pub profile: String,
    /// Such as `3.1`; empty when the stream does not say.
    pub level: String,
    /// Pixels; 0 when the stream does not say.
    pub width: u32,
    /// Pixels; 0 when the stream does not say.
    pub height: u32,
}

/// Audio, as its sequence header (or packet header) says.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Audio {
    /// Such as `AAC`.
    pub codec: String,
    /// Hz; 0 when the stream does not say.
    pub sample_rate: u32,
    /// Channels; 0 when the stream does not say.
    pub channel: u32,
    /// Such as `LC`; empty when the stream does not say.
    pub profile: String,
}

/// A track of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Track {
    /// Its number among those of its kind; 0 is the first.
    pub number: u8,
    /// What it is, where it has pictures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub video: Option<Video>,
    /// What it is, where it has sounds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audio: Option<Audio>,
    /// Mean rate of the last half minute, kbit/s.
    pub kbps: u64,
}

/// Viewers of one stream in one process, for the sum over all.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Viewers {
    /// Resolved vhost.
    pub vhost: String,
    /// Application.
    pub app: String,
    /// Stream name.
    pub name: String,
    /// How many watch.
    pub clients: u64,
    /// What of the stream they do not get, in words.
    #[serde(default)]
    pub left_out: Vec<String>,
}

/// A vhost with what its streams come to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vhost {
    /// Its name, which is what streams and clients have in `vhost`.
    pub id: String,
    /// The same.
    pub name: String,
    /// Whether it is served.
    pub enabled: bool,
    /// Connections that publish or play in it.
    pub clients: u64,
    /// Streams that are published or watched.
    pub streams: u64,
    /// Sum over its streams.
    pub send_bytes: u64,
    /// Sum over its streams.
    pub recv_bytes: u64,
    /// Sum over its streams.
    pub kbps: Kbps,
    /// Whether HLS is on.
    pub hls: Switch,
}

/// Something that is on or off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Switch {
    /// Whether it is on.
    pub enabled: bool,
}
