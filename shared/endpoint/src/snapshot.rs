//! A connection as bytes, for the process that takes it over.

use std::net::SocketAddr;

use media::StreamKey;
use serde::{Deserialize, Serialize};

use crate::viewer::ViewerSnapshot;

/// Why a snapshot can't be used.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The outer form.
    #[error("the connection's snapshot can't be read: {0}")]
    Form(#[from] rmp_serde::decode::Error),
    /// The protocol session inside.
    #[error("the session's snapshot can't be read: {0}")]
    Session(#[from] rtmp::SnapshotError),
}

/// Everything of a connection but its socket.
#[derive(Debug, Serialize, Deserialize)]
pub struct ConnectionSnapshot {
    /// Id in logs and APIs: it stays.
    pub id: u64,
    /// The peer's address.
    pub peer: SocketAddr,
    /// When it was accepted, monotonic ms.
    pub accepted_ms: u64,
    /// Resolved vhost.
    pub vhost: Option<String>,
    /// Bytes received and sent so far.
    pub bytes: (u64, u64),
    /// The RTMP session with the bytes it has not yet parsed and the decision it waits for.
    #[serde(with = "serde_bytes")]
    pub session: Vec<u8>,
    /// Bytes that the socket has not taken.
    #[serde(with = "serde_bytes")]
    pub outbox: Vec<u8>,
    /// What it plays.
    pub(crate) playing: Vec<(StreamKey, ViewerSnapshot)>,
    /// What it publishes: message stream ids.
    pub(crate) publishing: Vec<u32>,
    /// When the question that its session waits for was to be answered at the latest, monotonic ms.
    #[serde(default)]
    pub(crate) decide_by_ms: Option<u64>,
}

impl ConnectionSnapshot {
    /// As bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        rmp_serde::to_vec_named(self).unwrap_or_default()
    }

    /// From bytes.
    ///
    /// # Errors
    /// When they are no snapshot.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SnapshotError> {
        Ok(rmp_serde::from_slice(bytes)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A connection as a release of November 2026 wrote it, with a viewer whose state was a word of flags. Such processes
    /// hand over connections for as long as there are any: these bytes are never made anew.
    const FORMER: &str = include_str!("../testdata/connection-2026-11.hex");

    fn bytes(hex: &str) -> Vec<u8> {
        let digit = |digit: u8| u8::try_from(char::from(digit).to_digit(16).unwrap()).unwrap();
        let pair = |pair: &[u8]| digit(pair[0]) << 4 | digit(pair[1]);
        hex.trim().as_bytes().chunks(2).map(pair).collect()
    }

    #[test]
    fn what_former_releases_wrote_is_understood_and_comes_back() {
        let snapshot = ConnectionSnapshot::from_bytes(&bytes(FORMER)).unwrap();
        assert_eq!((snapshot.id, snapshot.bytes, &*snapshot.outbox), (77, (3500, 99_500), &b"outbox"[..]));
        let (key, viewer) = &snapshot.playing[0];
        assert_eq!((key.to_string().as_str(), snapshot.playing.len()), ("v.example/live/camera 1", 1));
        // Paused, in the middle of a packet, with a time limit; the video header is still due, its pictures are not.
        let text = format!("{viewer:?}");
        for part in [
            "place: MidPacket",
            "position: 123456789",
            "delivery: Own(TimeLimit)",
            "paused: true",
            "wanted: Tracks { audio: true, video: true }",
            "awaits_key: false",
            "due: Headers { metadata: false, video: true, audio: false }",
            "delta_base: Tracks { audio: false, video: true }",
            "base_ms: Some(-40)",
            "joined_ns: 5000000000",
            "until_ms: Some(61000)",
            "duration_ms: Some(60000)",
            "first_seq: 1000",
            "dropped: 17",
            "jumps: 2",
            "sent: 99000",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        let again = ConnectionSnapshot::from_bytes(&snapshot.to_bytes()).unwrap();
        assert_eq!((&again.playing, again.decide_by_ms), (&snapshot.playing, None));
    }
}
