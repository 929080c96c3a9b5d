//! A synthetic stream: which packet is due when, and how large it is.

use clap::Args;
use rtmp::MediaKind;
use serde::{Deserialize, Serialize};

use crate::marker::{MIN_AUDIO_BYTES, MIN_VIDEO_BYTES};

/// AAC at 44.1 kHz: 1024 samples each.
const AUDIO_PER_SECOND: u64 = 43;
/// A key frame is so many times as large as another.
const KEY_WEIGHT: u64 = 8;
const SECOND_NS: u64 = 1_000_000_000;

/// Video sequence header (`AVCDecoderConfigurationRecord`, High 3.1, 1280×720).
pub const VIDEO_HEADER: &[u8] = b"\x17\0\0\0\0\x01\x64\0\x1f\xff\xe1\0\x19\x67\x64\0\x1f\xac\xd9\x40\x50\x05\xbb\x01\x6c\x80\0\0\x03\0\x80\0\0\x19\x07\x8c\x18\xcb\x01\0\x06\x68\xeb\xe3\xcb\x22\xc0";
/// Audio sequence header (AAC-LC, 44.1 kHz, stereo).
pub const AUDIO_HEADER: &[u8] = b"\xaf\0\x12\x10";

/// What is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Args, Serialize, Deserialize)]
pub struct Plan {
    /// Video bit rate in kbit/s
    #[arg(long, default_value_t = 1000)]
    pub video_kbps: u64,
    /// Audio bit rate in kbit/s
    #[arg(long, default_value_t = 64)]
    pub audio_kbps: u64,
    /// Frames per second
    #[arg(long, default_value_t = 25)]
    pub fps: u64,
    /// Seconds from key frame to key frame
    #[arg(long, default_value_t = 2)]
    pub gop_s: u64,
}

impl Plan {
    /// Bytes of a video packet.
    #[must_use]
    pub fn video_bytes(&self, key: bool) -> usize {
        let frames = (self.fps * self.gop_s).max(1);
        let bytes = self.video_kbps * 125 * self.gop_s / (frames - 1 + KEY_WEIGHT);
        let bytes = if key { bytes * KEY_WEIGHT } else { bytes };
        usize::try_from(bytes).unwrap_or(0).clamp(MIN_VIDEO_BYTES, 4_000_000)
    }

    /// Bytes of an audio packet.
    #[must_use]
    pub fn audio_bytes(&self) -> usize {
        usize::try_from(self.audio_kbps * 125 / AUDIO_PER_SECOND).unwrap_or(0).max(MIN_AUDIO_BYTES)
    }

    /// Bytes of media per second.
    #[must_use]
    pub fn bytes_per_second(&self) -> u64 {
        (self.video_kbps + self.audio_kbps) * 125
    }
}

/// One packet that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// Audio or video.
    pub kind: MediaKind,
    /// Number among those of its kind.
    pub seq: u64,
    /// Time of the stream, ms.
    pub dts_ms: u32,
    /// When it is due, monotonic ns.
    pub due_ns: u64,
    /// A video key frame.
    pub key: bool,
}

/// Which packet comes next, in real time from `start_ns` on.
#[derive(Debug)]
pub struct Schedule {
    plan: Plan,
    start_ns: u64,
    video: u64,
    audio: u64,
}

impl Schedule {
    /// A stream that begins at `start_ns` with a key frame.
    #[must_use]
    pub fn new(plan: Plan, start_ns: u64) -> Self {
        Self { plan, start_ns, video: 0, audio: 0 }
    }

    fn times(&self) -> (u64, u64) {
        (self.video * SECOND_NS / self.plan.fps.max(1), self.audio * SECOND_NS / AUDIO_PER_SECOND)
    }

    /// When the next packet is due, monotonic ns.
    #[must_use]
    pub fn next_ns(&self) -> u64 {
        let (video, audio) = self.times();
        self.start_ns + video.min(audio)
    }

    /// The next packet, if it is due.
    pub fn take(&mut self, now_ns: u64) -> Option<Due> {
        if now_ns < self.next_ns() {
            return None;
        }
        let (video, audio) = self.times();
        let dts_ms = u32::try_from(video.min(audio) / 1_000_000).unwrap_or(u32::MAX);
        let due_ns = self.next_ns();
        if video <= audio {
            let seq = self.video;
            self.video += 1;
            let key = seq.is_multiple_of((self.plan.fps * self.plan.gop_s).max(1));
            return Some(Due { kind: MediaKind::Video, seq, dts_ms, due_ns, key });
        }
        let seq = self.audio;
        self.audio += 1;
        Some(Due { kind: MediaKind::Audio, seq, dts_ms, due_ns, key: false })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_seconds_have_the_bytes_and_packets_that_were_asked_for() {
        let plan = Plan { video_kbps: 1000, audio_kbps: 64, fps: 25, gop_s: 2 };
        let mut schedule = Schedule::new(plan, 0);
        let (mut bytes, mut keys, mut last) = (0, 0, 0);
        while let Some(due) = schedule.take(9_999_999_999) {
            assert!(due.dts_ms >= last);
            last = due.dts_ms;
            keys += u32::from(due.key);
            bytes +=
                if due.kind == MediaKind::Video { plan.video_bytes(due.key) } else { plan.audio_bytes() };
        }
        assert_eq!((keys, schedule.video, schedule.audio), (5, 250, 430));
        assert!((1_310_000..1_340_000).contains(&bytes), "{bytes} bytes");
    }
}
