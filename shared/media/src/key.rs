//! What a stream is called.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The name of a stream inside one server: `vhost/app/stream`, the vhost being the resolved one (the name of the
/// configuration block that serves it, not what the client said).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct StreamKey {
    /// Resolved vhost.
    pub vhost: String,
    /// Application, may contain `/`.
    pub app: String,
    /// Stream name without its parameters.
    pub stream: String,
}

impl StreamKey {
    /// Which of `shards` back-sources owns this stream: a fixed function of the name (FNV-1a, 64 bits), so that all
    /// processes agree on it without asking.
    ///
    /// ```
    /// # use media::StreamKey;
    /// let key = StreamKey { vhost: "v".into(), app: "live".into(), stream: "a".into() };
    /// assert_eq!(key.shard(1), 0);
    /// assert!(key.shard(3) < 3);
    /// ```
    #[must_use]
    pub fn shard(&self, shards: u32) -> u32 {
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        for part in [&self.vhost, &self.app, &self.stream] {
            for byte in part.bytes().chain([0]) {
                hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
            }
        }
        u32::try_from((hash >> 20) % u64::from(shards.max(1))).unwrap_or(0)
    }
}

impl fmt::Display for StreamKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.vhost, self.app, self.stream)
    }
}
