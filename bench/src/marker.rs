//! What stands in every synthetic packet, so that a receiver can tell loss, disorder, damage and delay by itself.
//!
//! ```text
//! FLV header (2 or 10 bytes) | magic 8 | stream 4 | sequence number 8 | send time 8 | checksum 8 | filler…
//! ```
//!
//! Numbers are little-endian; the sequence number counts packets of one kind of one stream; the send time is monotonic
//! nanoseconds; the checksum covers the filler and all numbers before it.

use rtmp::MediaKind;

const MAGIC: u64 = 0x6d61_726b_6564_2121;

/// Bytes of a marker.
pub const MARKER_BYTES: usize = 36;

/// Classic FLV headers: H.264 with one NAL unit whose length is filled in, and AAC.
const VIDEO_LEAD: usize = 10;
const AUDIO_LEAD: usize = 2;

/// Smallest packets that hold a marker.
pub const MIN_VIDEO_BYTES: usize = VIDEO_LEAD + MARKER_BYTES;
/// See [`MIN_VIDEO_BYTES`].
pub const MIN_AUDIO_BYTES: usize = AUDIO_LEAD + MARKER_BYTES;

/// What a packet says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marker {
    /// Number of the stream.
    pub stream: u32,
    /// Number of the packet among those of its kind.
    pub seq: u64,
    /// When it was handed to the publisher's socket, monotonic ns.
    pub send_ns: u64,
}

/// What a received packet turns out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// A packet of ours, whole.
    Whole(Marker),
    /// A sequence header or something else without a marker.
    Unmarked,
    /// A packet of ours with other bytes than it was sent with.
    Damaged,
}

/// Whether a decoder can begin with this video packet (and it is no sequence header).
#[must_use]
pub fn is_key_frame(kind: MediaKind, payload: &[u8]) -> bool {
    kind == MediaKind::Video && payload.starts_with(&[0x17, 1])
}

/// Filler for packets: bytes that no compressor and no start-code search finds easy.
#[derive(Debug)]
pub struct Filler(Vec<u8>);

impl Filler {
    /// Filler for packets of up to `largest` bytes.
    #[must_use]
    pub fn new(largest: usize) -> Self {
        let mut state = 1_u64;
        let words = (largest + 65_536) / 8 + 1;
        let next = |_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state ^ (state >> 29)).to_le_bytes()
        };
        Self((0..words).flat_map(next).collect())
    }

    fn bytes(&self, seq: u64, len: usize) -> &[u8] {
        let from = usize::try_from(seq.wrapping_mul(977) % 65_536).unwrap_or(0);
        self.0.get(from..from + len).unwrap_or(&[])
    }
}

/// Writes a packet of `len` bytes (at least the minimum of its kind) into `out`.
pub fn write(out: &mut Vec<u8>, kind: MediaKind, key: bool, len: usize, marker: Marker, filler: &Filler) {
    out.clear();
    if kind == MediaKind::Video {
        let nal = u32::try_from(len.saturating_sub(9)).unwrap_or(u32::MAX);
        out.extend_from_slice(&[if key { 0x17 } else { 0x27 }, 1, 0, 0, 0]);
        out.extend_from_slice(&nal.to_be_bytes());
        out.push(if key { 0x65 } else { 0x41 });
    } else {
        out.extend_from_slice(&[0xaf, 1]);
    }
    let filler = filler.bytes(marker.seq, len.saturating_sub(out.len() + MARKER_BYTES));
    out.extend_from_slice(&MAGIC.to_le_bytes());
    out.extend_from_slice(&marker.stream.to_le_bytes());
    out.extend_from_slice(&marker.seq.to_le_bytes());
    out.extend_from_slice(&marker.send_ns.to_le_bytes());
    out.extend_from_slice(&checksum(marker, filler).to_le_bytes());
    out.extend_from_slice(filler);
}

/// Looks for the marker of a received packet.
#[must_use]
pub fn read(kind: MediaKind, payload: &[u8]) -> Found {
    let lead = match kind {
        MediaKind::Video => VIDEO_LEAD,
        MediaKind::Audio => AUDIO_LEAD,
        MediaKind::Data => return Found::Unmarked,
    };
    if payload.get(1) == Some(&0) {
        return Found::Unmarked;
    }
    let parse = || {
        let rest = payload.get(lead..)?;
        let (magic, rest) = rest.split_first_chunk::<8>()?;
        let (stream, rest) = rest.split_first_chunk::<4>()?;
        let (seq, rest) = rest.split_first_chunk::<8>()?;
        let (send_ns, rest) = rest.split_first_chunk::<8>()?;
        let (sum, filler) = rest.split_first_chunk::<8>()?;
        let marker = Marker {
            stream: u32::from_le_bytes(*stream),
            seq: u64::from_le_bytes(*seq),
            send_ns: u64::from_le_bytes(*send_ns),
        };
        let whole = *magic == MAGIC.to_le_bytes() && u64::from_le_bytes(*sum) == checksum(marker, filler);
        whole.then_some(marker)
    };
    parse().map_or(Found::Damaged, Found::Whole)
}

/// Eight bytes at a time; it only has to notice accidents.
fn checksum(marker: Marker, filler: &[u8]) -> u64 {
    let mix = |sum: u64, word: u64| (sum ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    let mut sum = mix(mix(mix(0, u64::from(marker.stream)), marker.seq), marker.send_ns);
    let (words, rest) = filler.as_chunks::<8>();
    for word in words {
        sum = mix(sum, u64::from_le_bytes(*word));
    }
    let last = rest.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
    mix(sum, last ^ (filler.len() as u64) << 56)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_is_found_whole_and_any_changed_byte_is_noticed() {
        let filler = Filler::new(2000);
        let marker = Marker { stream: 3, seq: 70_000, send_ns: 123_456_789 };
        for (kind, len) in
            [(MediaKind::Video, 1000), (MediaKind::Audio, 93), (MediaKind::Video, MIN_VIDEO_BYTES)]
        {
            let mut packet = Vec::new();
            write(&mut packet, kind, true, len, marker, &filler);
            assert_eq!(packet.len(), len);
            assert_eq!(read(kind, &packet), Found::Whole(marker));
            for at in packet.len() - MARKER_BYTES..packet.len() {
                packet[at] ^= 0x40;
                assert_eq!(read(kind, &packet), Found::Damaged, "byte {at}");
                packet[at] ^= 0x40;
            }
        }
        assert_eq!(read(MediaKind::Video, &[0x17, 0, 0, 0, 0, 1]), Found::Unmarked);
    }
}
