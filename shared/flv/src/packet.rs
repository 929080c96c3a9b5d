//! What an audio or video packet is: codec, key frame, sequence header.
//!
//! Sources: FLV 10.1 (E.4.2, E.4.3) for the classic headers; Enhanced RTMP v2 (ExVideoTagHeader, ExAudioTagHeader)
//! for the FourCC ones. Packets are only looked at: what is unknown is carried on untouched.

use std::fmt;

use media::{Kind, cursor::Cursor};

/// How many ModEx layers of an enhanced packet are looked through.
const MAX_MODEX_LAYERS: usize = 8;

/// Layout of a packet with tracks of several codecs.
const MANY_CODECS: u8 = 2;

/// What a packet is encoded with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Codec {
    /// Classic video codec id, 0–15 (7 is H.264, 12 HEVC in the widespread extension).
    Video(u8),
    /// Classic sound format, 0–15 (10 is AAC, 2 MP3).
    Audio(u8),
    /// Enhanced RTMP: four characters such as `hvc1` or `Opus`.
    FourCc([u8; 4]),
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Video(2) => "H263",
            Self::Video(3) => "Screen",
            Self::Video(4) => "VP6",
            Self::Video(5) => "VP6A",
            Self::Video(6) => "Screen2",
            Self::Video(7) => "H264",
            Self::Video(12) => "HEVC",
            Self::Video(13) => "AV1",
            Self::Audio(0 | 3) => "PCM",
            Self::Audio(1) => "ADPCM",
            Self::Audio(2 | 14) => "MP3",
            Self::Audio(4..=6) => "Nellymoser",
            Self::Audio(7) => "G711A",
            Self::Audio(8) => "G711U",
            Self::Audio(10) => "AAC",
            Self::Audio(11) => "Speex",
            Self::Video(id) => return write!(f, "video{id}"),
            Self::Audio(id) => return write!(f, "audio{id}"),
            Self::FourCc(code) => match code {
                b"avc1" => "H264",
                b"hvc1" => "HEVC",
                b"vvc1" => "VVC",
                b"av01" => "AV1",
                b"vp08" => "VP8",
                b"vp09" => "VP9",
                b"mp4a" => "AAC",
                b"Opus" => "Opus",
                b"fLaC" => "FLAC",
                b"ac-3" => "AC3",
                b"ec-3" => "EAC3",
                b".mp3" => "MP3",
                code => {
                    for byte in code {
                        write!(f, "{}", byte.escape_ascii())?;
                    }
                    return Ok(());
                }
            },
        };
        f.write_str(name)
    }
}

/// What [`classify`] found. A default value means "a plain packet of unknown codec".
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PacketInfo {
    /// The codec, where the packet says it.
    pub codec: Option<Codec>,
    /// A video packet that a decoder can begin with. Not set on sequence headers.
    pub key_frame: bool,
    /// Decoder configuration: kept for those who join later.
    pub sequence_header: bool,
    /// End of sequence: carries no picture or sound.
    pub end_of_sequence: bool,
    /// Header of an enhanced packet.
    pub enhanced: bool,
    /// Number of the track, 0 being the first; of a packet with several the first that it names.
    pub track: u8,
    /// What a track says beside its decoder configuration (colours, the order of channels): kept for those who join later, too.
    pub beside: bool,
}

/// Looks at the first bytes of a packet of `kind`. Never fails: packets that are too short to say anything are plain.
///
/// ```
/// # use media::Kind;
/// let info = flv::classify(Kind::Video, &[0x17, 0, 0, 0, 0]);
/// assert!(info.sequence_header && !info.key_frame);
/// assert!(flv::classify(Kind::Video, &[0x17, 1, 0, 0, 0]).key_frame);
/// assert!(flv::classify(Kind::Audio, &[0xaf, 0, 0x12, 0x10]).sequence_header);
/// ```
#[must_use]
pub fn classify(kind: Kind, payload: &[u8]) -> PacketInfo {
    match kind {
        Kind::Video => video(payload),
        Kind::Audio => audio(payload),
        Kind::Data => PacketInfo::default(),
    }
}

fn video(payload: &[u8]) -> PacketInfo {
    let Some((&first, rest)) = payload.split_first() else {
        return PacketInfo::default();
    };
    if first & 0x80 != 0 {
        return enhanced(first & 0x0f, rest, ExKind::Video { key: (first >> 4) & 7 == 1 });
    }
    let frame_type = first >> 4;
    let codec = first & 0x0f;
    let mut info = PacketInfo { codec: Some(Codec::Video(codec)), ..PacketInfo::default() };
    // H.264, and the HEVC/AV1 extension of the classic header, have a packet type of their own.
    let packet_type = if matches!(codec, 7 | 12 | 13) { rest.first().copied() } else { None };
    match (codec, packet_type) {
        (7 | 12 | 13, Some(0)) => info.sequence_header = true,
        (7 | 12 | 13, Some(2)) => info.end_of_sequence = true,
        (7 | 12 | 13, None) => {}
        _ => info.key_frame = frame_type == 1,
    }
    info
}

fn audio(payload: &[u8]) -> PacketInfo {
    let Some((&first, rest)) = payload.split_first() else {
        return PacketInfo::default();
    };
    let format = first >> 4;
    if format == 9 {
        return enhanced(first & 0x0f, rest, ExKind::Audio);
    }
    PacketInfo {
        codec: Some(Codec::Audio(format)),
        sequence_header: format == 10 && rest.first() == Some(&0),
        ..PacketInfo::default()
    }
}

#[derive(Clone, Copy)]
enum ExKind {
    Video { key: bool },
    Audio,
}

/// Enhanced RTMP v2. Packet types of both kinds: 0 sequence start, 1 coded frames, 2 sequence end, 7 ModEx; video 3 coded
/// frames without composition time, 4 metadata, 5 MPEG-2 TS sequence start, 6 multitrack; audio 4 multichannel
/// configuration, 5 multitrack.
fn enhanced(packet_type: u8, rest: &[u8], kind: ExKind) -> PacketInfo {
    let mut info = PacketInfo { enhanced: true, ..PacketInfo::default() };
    let mut cursor = Cursor::new(rest);
    let mut packet_type = packet_type;
    for _ in 0..MAX_MODEX_LAYERS {
        if packet_type != 7 {
            break;
        }
        let Some(next) = modex(&mut cursor) else {
            return info;
        };
        packet_type = next;
    }
    let multitrack = match kind {
        ExKind::Video { .. } => packet_type == 6,
        ExKind::Audio => packet_type == 5,
    };
    let mut layout = None;
    if multitrack {
        let Ok(byte) = cursor.u8() else {
            return info;
        };
        packet_type = byte & 0x0f;
        layout = Some(byte >> 4);
    }
    info.codec = cursor.take_array::<4>().ok().map(Codec::FourCc);
    if layout.is_some() {
        info.track = cursor.u8().unwrap_or(0);
    }
    if layout == Some(MANY_CODECS) {
        // Of several codecs the one of the first track is none of the packet's.
        info.codec = None;
    }
    match (packet_type, kind) {
        (0, _) | (5, ExKind::Video { .. }) => info.sequence_header = true,
        (2, _) => info.end_of_sequence = true,
        (4, _) => info.beside = true,
        // Where a decoder can begin is a matter of the first track.
        (1 | 3, ExKind::Video { key }) => info.key_frame = key && info.track == 0,
        _ => {}
    }
    info
}

/// Skips one ModEx layer: its size (one byte, or three where that is 255), data, then the next packet type.
pub(crate) fn modex(cursor: &mut Cursor<'_>) -> Option<u8> {
    let mut size = usize::from(cursor.u8().ok()?) + 1;
    if size == 256 {
        size = usize::from(cursor.u16().ok()?) + 1;
    }
    cursor.take(size).ok()?;
    Some(cursor.u8().ok()? & 0x0f)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::type_complexity, reason = "a table")]
    fn classic_and_enhanced_packets_are_recognised() {
        let cases: &[(Kind, &[u8], &str, bool, bool, bool)] = &[
            (Kind::Video, &[0x17, 0], "H264", false, true, false),
            (Kind::Video, &[0x17, 1], "H264", true, false, false),
            (Kind::Video, &[0x27, 1], "H264", false, false, false),
            (Kind::Video, &[0x17, 2], "H264", false, false, true),
            (Kind::Video, &[0x1c, 0], "HEVC", false, true, false),
            (Kind::Video, &[0x12], "H263", true, false, false),
            (Kind::Video, &[0x24], "VP6", false, false, false),
            (Kind::Video, b"\x90hvc1", "HEVC", false, true, false),
            (Kind::Video, b"\x91hvc1", "HEVC", true, false, false),
            (Kind::Video, b"\xa3av01", "AV1", false, false, false),
            (Kind::Video, b"\x93vp09", "VP9", true, false, false),
            (Kind::Video, b"\x96\x01hvc1\0", "HEVC", true, false, false),
            (Kind::Video, b"\x96\x01hvc1\x01", "HEVC", false, false, false),
            (Kind::Video, b"\x96\x00avc1\x01", "H264", false, true, false),
            (Kind::Video, b"\x94hvc1", "HEVC", false, false, false),
            (Kind::Video, b"\x97\x02abc\x01hvc1", "HEVC", true, false, false),
            (Kind::Audio, &[0xaf, 0], "AAC", false, true, false),
            (Kind::Audio, &[0xaf, 1], "AAC", false, false, false),
            (Kind::Audio, &[0x2f], "MP3", false, false, false),
            (Kind::Audio, b"\x90Opus", "Opus", false, true, false),
            (Kind::Audio, b"\x91fLaC", "FLAC", false, false, false),
            (Kind::Audio, b"\x95\x01ac-3", "AC3", false, false, false),
        ];
        for (kind, bytes, codec, key_frame, sequence_header, end) in cases {
            let info = classify(*kind, bytes);
            assert_eq!(info.codec.map(|codec| codec.to_string()).as_deref(), Some(*codec), "{bytes:x?}");
            let got = (info.key_frame, info.sequence_header, info.end_of_sequence);
            assert_eq!(got, (*key_frame, *sequence_header, *end), "{bytes:x?}");
        }
    }

    #[test]
    fn endless_modex_chains_are_given_up() {
        let mut bytes = vec![0x97];
        bytes.extend([0, 0, 7].repeat(10_000));
        let info = classify(Kind::Video, &bytes);
        assert!(!info.key_frame && !info.sequence_header);
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_looked_at_without_harm(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..64)) {
            let _ = classify(Kind::Video, &bytes);
            let _ = classify(Kind::Audio, &bytes);
        }
    }
}
