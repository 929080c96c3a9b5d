//! What stands in a packet behind its FLV header: a decoder's configuration, or the coded bytes of one picture or sound.
//!
//! Sources: FLV 10.1 (E.4.2, E.4.3); Enhanced RTMP v2 for FourCC headers, ModEx and signed composition times.

use bytes::Bytes;
use media::{Kind, cursor::Cursor};

use crate::Codec;
use crate::packet::modex;

/// How many ModEx layers are looked through.
const MAX_MODEX_LAYERS: usize = 8;
/// How many tracks of one packet are looked at.
const MAX_TRACKS: usize = 16;

/// A packet taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// The codec; enhanced codes of codecs that have a classic number, too, appear as that number.
    pub codec: Codec,
    /// A video packet that a decoder can begin with.
    pub key_frame: bool,
    /// What it carries.
    pub body: Body,
}

/// What a packet carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// Decoder configuration.
    Config(Bytes),
    /// Coded bytes.
    Coded {
        /// How much later than its DTS it is shown, ms (24 bits, signed).
        composition_ms: i32,
        /// The bytes: NAL units with their lengths, a raw AAC frame, an MP3 frame …
        data: Bytes,
    },
    /// Of a further track, which has this number.
    OtherTrack(u8),
    /// What is told of pictures beside their configuration (colours): a name and a value in AMF.
    Metadata(Bytes),
    /// Nothing that a muxer needs: end of sequence, commands.
    Nothing,
}

/// Codec numbers of the classic header.
pub const H264: Codec = Codec::Video(7);
/// HEVC in the extension of the classic header.
pub const HEVC: Codec = Codec::Video(12);
/// AV1 in the extension of the classic header.
pub const AV1: Codec = Codec::Video(13);
/// AAC.
pub const AAC: Codec = Codec::Audio(10);
/// MP3.
pub const MP3: Codec = Codec::Audio(2);
/// Opus exists only with a FourCC.
pub const OPUS: Codec = Codec::FourCc(*b"Opus");
/// So does VP9,
pub const VP9: Codec = Codec::FourCc(*b"vp09");
/// FLAC,
pub const FLAC: Codec = Codec::FourCc(*b"fLaC");
/// AC-3,
pub const AC3: Codec = Codec::FourCc(*b"ac-3");
/// and E-AC-3.
pub const EAC3: Codec = Codec::FourCc(*b"ec-3");

fn classic(codec: Codec) -> Codec {
    match codec {
        Codec::FourCc(code) => match &code {
            b"avc1" => H264,
            b"hvc1" => HEVC,
            b"av01" => AV1,
            b"mp4a" => AAC,
            b".mp3" => MP3,
            _ => codec,
        },
        Codec::Audio(14) => MP3,
        _ => codec,
    }
}

/// Takes a packet apart; of one with several tracks it is the first of all (number 0). `None` when it is too short for its header,
/// or of no known layout.
///
/// ```
/// # use bytes::Bytes;
/// # use flv::unit::{Body, take_apart};
/// let unit = take_apart(media::Kind::Video, &Bytes::from_static(b"\x17\x01\xff\xff\xd8frame")).unwrap();
/// assert!(unit.key_frame);
/// assert_eq!(unit.body, Body::Coded { composition_ms: -40, data: Bytes::from_static(b"frame") });
/// ```
#[must_use]
pub fn take_apart(kind: Kind, payload: &Bytes) -> Option<Unit> {
    let mut cursor = Cursor::new(payload);
    let first = cursor.u8().ok()?;
    match kind {
        Kind::Video if first & 0x80 != 0 => enhanced(first, cursor, payload, true),
        Kind::Video => video(first, cursor, payload),
        Kind::Audio if first >> 4 == 9 => enhanced(first, cursor, payload, false),
        Kind::Audio => audio(first, cursor, payload),
        Kind::Data => None,
    }
}

/// Takes a packet apart into what it has of each track, with the numbers of the tracks; most packets have one. `None` as for
/// [`take_apart`]; what of a packet can't be read is left out.
///
/// ```
/// # use bytes::Bytes;
/// # use flv::unit::{Body, by_track};
/// let units = by_track(media::Kind::Audio, &Bytes::from_static(b"\x95\x11mp4a\x00\0\0\x01x\x01\0\0\x01y")).unwrap();
/// let data = |data: &'static [u8]| Body::Coded { composition_ms: 0, data: Bytes::from_static(data) };
/// assert_eq!(units.iter().map(|(track, _)| *track).collect::<Vec<_>>(), [0, 1]);
/// assert_eq!(units[1].1.body, data(b"y"));
/// ```
#[must_use]
pub fn by_track(kind: Kind, payload: &Bytes) -> Option<Vec<(u8, Unit)>> {
    let mut cursor = Cursor::new(payload);
    let first = cursor.u8().ok()?;
    let is_video = kind == Kind::Video;
    let is_enhanced = match kind {
        Kind::Video => first & 0x80 != 0,
        Kind::Audio => first >> 4 == 9,
        Kind::Data => return None,
    };
    let head = if is_enhanced { Head::read(first, &mut cursor, is_video) } else { None };
    match head {
        Some(Head { layout: Some(layout), packet_type, frame_type }) => {
            let tracks = tracks(layout, &mut cursor)?;
            let units = tracks.into_iter().filter_map(|(track, codec, mut cursor)| {
                Some((track, unit((packet_type, frame_type), codec, &mut cursor, payload, is_video)?))
            });
            Some(units.collect())
        }
        _ => Some(vec![(0, take_apart(kind, payload)?)]),
    }
}

fn signed(value: u32) -> i32 {
    // 24 bits: the sign stands in bit 23.
    (value << 8).cast_signed() >> 8
}

fn video(first: u8, mut cursor: Cursor<'_>, payload: &Bytes) -> Option<Unit> {
    let (frame_type, codec) = (first >> 4, classic(Codec::Video(first & 0x0f)));
    let key_frame = frame_type == 1;
    if frame_type == 5 {
        return Some(Unit { codec, key_frame: false, body: Body::Nothing });
    }
    if !matches!(codec, H264 | HEVC | AV1) {
        let data = payload.slice_ref(cursor.take_rest());
        return Some(Unit { codec, key_frame, body: Body::Coded { composition_ms: 0, data } });
    }
    let packet_type = cursor.u8().ok()?;
    let composition_ms = signed(cursor.u24().ok()?);
    let rest = payload.slice_ref(cursor.take_rest());
    let body = match packet_type {
        0 => Body::Config(rest),
        1 => Body::Coded { composition_ms, data: rest },
        2 => Body::Nothing,
        _ => return None,
    };
    Some(Unit { codec, key_frame: key_frame && packet_type == 1, body })
}

fn audio(first: u8, mut cursor: Cursor<'_>, payload: &Bytes) -> Option<Unit> {
    let codec = classic(Codec::Audio(first >> 4));
    let packet_type = if codec == AAC { cursor.u8().ok()? } else { 1 };
    let data = payload.slice_ref(cursor.take_rest());
    let body = match packet_type {
        0 => Body::Config(data),
        1 => Body::Coded { composition_ms: 0, data },
        _ => return None,
    };
    Some(Unit { codec, key_frame: false, body })
}

/// What an enhanced packet begins with.
struct Head {
    packet_type: u8,
    frame_type: u8,
    /// How several tracks are laid out; `None`: there is one.
    layout: Option<u8>,
}

impl Head {
    /// Reads it, behind the first byte, which is given.
    fn read(first: u8, cursor: &mut Cursor<'_>, is_video: bool) -> Option<Self> {
        let mut packet_type = first & 0x0f;
        let frame_type = if is_video { (first >> 4) & 7 } else { 0 };
        for _ in 0..MAX_MODEX_LAYERS {
            if packet_type != 7 {
                break;
            }
            packet_type = modex(cursor)?;
        }
        if packet_type != if is_video { 6 } else { 5 } {
            return Some(Self { packet_type, frame_type, layout: None });
        }
        let byte = cursor.u8().ok()?;
        Some(Self { packet_type: byte & 0x0f, frame_type, layout: Some(byte >> 4) })
    }
}

fn enhanced(first: u8, mut cursor: Cursor<'_>, payload: &Bytes, is_video: bool) -> Option<Unit> {
    let head = Head::read(first, &mut cursor, is_video)?;
    let types = (head.packet_type, head.frame_type);
    let Some(layout) = head.layout else {
        let codec = cursor.take_array().ok()?;
        return unit(types, codec, &mut cursor, payload, is_video);
    };
    let tracks = tracks(layout, &mut cursor)?;
    let (other, codec, _) = *tracks.first()?;
    match tracks.into_iter().find(|(track, ..)| *track == 0) {
        Some((_, codec, mut cursor)) => unit(types, codec, &mut cursor, payload, is_video),
        None => {
            let codec = classic(Codec::FourCc(codec));
            Some(Unit { codec, key_frame: false, body: Body::OtherTrack(other) })
        }
    }
}

/// What one track of an enhanced packet carries; the cursor has its bytes and no more.
fn unit(
    (packet_type, frame_type): (u8, u8),
    codec: [u8; 4],
    cursor: &mut Cursor<'_>,
    payload: &Bytes,
    is_video: bool,
) -> Option<Unit> {
    let codec = classic(Codec::FourCc(codec));
    let is_nothing = is_video && frame_type == 5;
    let (body, coded) = match (packet_type, is_video) {
        // Metadata come with any type of frame.
        (4, true) => (Body::Metadata(payload.slice_ref(cursor.take_rest())), false),
        _ if is_nothing => (Body::Nothing, false),
        (0, _) => (Body::Config(payload.slice_ref(cursor.take_rest())), false),
        (1, true) => {
            // Only codecs that reorder pictures have a composition time here.
            let reorders = matches!(codec, H264 | HEVC | Codec::FourCc([b'v', b'v', b'c', b'1']));
            let composition_ms = if reorders { signed(cursor.u24().ok()?) } else { 0 };
            (Body::Coded { composition_ms, data: payload.slice_ref(cursor.take_rest()) }, true)
        }
        (1, false) | (3, true) => {
            (Body::Coded { composition_ms: 0, data: payload.slice_ref(cursor.take_rest()) }, true)
        }
        (2 | 4, _) => (Body::Nothing, false),
        _ => return None,
    };
    Some(Unit { codec, key_frame: coded && is_video && frame_type == 1, body })
}

/// The tracks of a packet that has several, or may have: number, codec, and the bytes of each, up to where the layout is broken.
fn tracks<'p>(layout: u8, cursor: &mut Cursor<'p>) -> Option<Vec<(u8, [u8; 4], Cursor<'p>)>> {
    let mut codec = if layout == 2 { [0; 4] } else { cursor.take_array().ok()? };
    if layout == 0 {
        let track = cursor.u8().ok()?;
        return Some(vec![(track, codec, Cursor::new(cursor.take_rest()))]);
    }
    let mut found = Vec::new();
    let mut next = || {
        if layout == 2 {
            codec = cursor.take_array().ok()?;
        }
        let track = cursor.u8().ok()?;
        let len = cursor.u24().ok()?;
        Some((track, codec, Cursor::new(cursor.take(len as usize).ok()?)))
    };
    while found.len() < MAX_TRACKS
        && let Some(track) = next()
    {
        found.push(track);
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn coded(composition_ms: i32, data: &'static [u8]) -> Body {
        Body::Coded { composition_ms, data: Bytes::from_static(data) }
    }

    #[test]
    fn classic_and_enhanced_packets_are_taken_apart() {
        let config = |data: &'static [u8]| Body::Config(Bytes::from_static(data));
        let cases: [(Kind, &'static [u8], Codec, bool, Body); 17] = [
            (Kind::Video, b"\x17\x00\x00\x00\x00conf", H264, false, config(b"conf")),
            (Kind::Video, b"\x27\x01\x00\x00\x50x", H264, false, coded(80, b"x")),
            (Kind::Video, b"\x17\x02\x00\x00\x00", H264, false, Body::Nothing),
            (Kind::Video, b"\x57\x00", H264, false, Body::Nothing),
            (Kind::Video, b"\x1c\x01\x00\x00\x00x", HEVC, true, coded(0, b"x")),
            (Kind::Video, b"\x91hvc1\x00\x00\x28x", HEVC, true, coded(40, b"x")),
            (Kind::Video, b"\xa3hvc1x", HEVC, false, coded(0, b"x")),
            (Kind::Video, b"\x91av01x", AV1, true, coded(0, b"x")),
            (Kind::Video, b"\x97\x02abc\x01avc1\x00\x00\x00x", H264, true, coded(0, b"x")),
            (Kind::Audio, b"\xaf\x00\x12\x10", AAC, false, config(b"\x12\x10")),
            (Kind::Audio, b"\xaf\x01x", AAC, false, coded(0, b"x")),
            (Kind::Audio, b"\x2fx", MP3, false, coded(0, b"x")),
            (Kind::Audio, b"\x91Opusx", OPUS, false, coded(0, b"x")),
            // One track, several of one codec, several of several: the first is taken.
            (Kind::Audio, b"\x95\x01mp4a\x01x", AAC, false, Body::OtherTrack(1)),
            (Kind::Video, b"\x96\x00avc1\x00conf", H264, false, config(b"conf")),
            (Kind::Audio, b"\x95\x11mp4a\x01\0\0\x02xy\x00\0\0\x01z", AAC, false, coded(0, b"z")),
            (Kind::Video, b"\x96\x23av01\x03\0\0\x01xhvc1\x00\0\0\x01z", HEVC, true, coded(0, b"z")),
        ];
        for (kind, bytes, codec, key_frame, body) in cases {
            let unit = take_apart(kind, &Bytes::from_static(bytes));
            assert_eq!(unit, Some(Unit { codec, key_frame, body }), "{bytes:x?}");
        }
    }

    #[test]
    fn what_is_too_short_or_unknown_is_nothing() {
        for bytes in [
            &b""[..],
            b"\x17",
            b"\x17\x01\x00\x00",
            b"\x17\xff\x00\x00\x00",
            b"\x91hv",
            b"\x96\x01hvc1",
            b"\x96\x11hvc1\0\0\0\x09x",
        ] {
            assert_eq!(take_apart(Kind::Video, &Bytes::copy_from_slice(bytes)), None, "{bytes:x?}");
        }
        assert_eq!(take_apart(Kind::Audio, &Bytes::from_static(b"\xaf")), None);
        assert_eq!(take_apart(Kind::Data, &Bytes::from_static(b"\x02")), None);
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_taken_without_harm(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..64)) {
            let bytes = Bytes::from(bytes);
            let _ = (take_apart(Kind::Video, &bytes), take_apart(Kind::Audio, &bytes));
            let _ = (by_track(Kind::Video, &bytes), by_track(Kind::Audio, &bytes));
        }
    }
}
