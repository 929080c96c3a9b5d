//! What sequence headers say of a stream: profile, level, size of pictures, sampling rate.
//!
//! Sources: AVCDecoderConfigurationRecord and HEVCDecoderConfigurationRecord (ISO/IEC 14496-15), AV1 configuration
//! (AV1-ISOBMFF 2.3), AudioSpecificConfig (ISO/IEC 14496-3, 1.6.2.1), OpusHead (RFC 7845), FLV 10.1 (E.4.2.1). What can't be
//! read is left empty: these are labels, nothing depends on them.

use bytes::Bytes;
use media::Kind;
use media::cursor::Cursor;

use crate::bitwise::Bits;
use crate::packet::Codec;
use crate::unit::{self, Body, by_track};
use crate::{avc, classify, hvcc};

/// What is known of video; empty or 0 where the stream does not say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct VideoFacts {
    /// Such as `High`.
    pub profile: String,
    /// Such as `3.1`.
    pub level: String,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
}

/// What is known of audio; empty or 0 where the stream does not say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AudioFacts {
    /// Such as `LC`.
    pub profile: String,
    /// Hz.
    pub sample_rate: u32,
    /// How many.
    pub channels: u32,
}

/// What a video sequence header says; `None` when the packet is none.
///
/// ```
/// assert_eq!(flv::describe_video(&[0x27, 1, 0, 0, 0]), None);
/// let facts = flv::describe_video(&[0x17, 0, 0, 0, 0, 1, 77, 0, 31, 0xff, 0xe0]).unwrap();
/// assert_eq!((facts.profile.as_str(), facts.level.as_str(), facts.width), ("Main", "3.1", 0));
/// ```
#[must_use]
pub fn describe_video(payload: &[u8]) -> Option<VideoFacts> {
    if !classify(Kind::Video, payload).sequence_header {
        return None;
    }
    Some(
        record_of(Kind::Video, payload)
            .map_or_else(VideoFacts::default, |(codec, record)| video_facts(codec, &record)),
    )
}

/// The codec of the first track that a sequence header is of, and its configuration.
fn record_of(kind: Kind, payload: &[u8]) -> Option<(Codec, Bytes)> {
    let (_, unit) = by_track(kind, &Bytes::copy_from_slice(payload))?.into_iter().next()?;
    match unit.body {
        Body::Config(record) => Some((unit.codec, record)),
        _ => None,
    }
}

/// What the decoder configuration of pictures says.
#[must_use]
pub fn video_facts(codec: Codec, record: &[u8]) -> VideoFacts {
    let facts = match codec {
        unit::H264 => avc_record(record),
        unit::HEVC => hvc(record),
        unit::AV1 => av1(record),
        _ => None,
    };
    facts.unwrap_or_default()
}

/// What the decoder configuration of sounds says.
#[must_use]
pub fn audio_facts(codec: Codec, record: &[u8]) -> AudioFacts {
    let facts = match codec {
        unit::AAC => aac(record),
        unit::OPUS => opus(record),
        _ => None,
    };
    facts.unwrap_or_default()
}

/// What an audio packet says: a sequence header in full, of other packets the classic header. `None` when it says nothing.
///
/// ```
/// let facts = flv::describe_audio(&[0xaf, 0, 0x12, 0x10]).unwrap();
/// assert_eq!((facts.profile.as_str(), facts.sample_rate, facts.channels), ("LC", 44_100, 2));
/// ```
#[must_use]
pub fn describe_audio(payload: &[u8]) -> Option<AudioFacts> {
    let info = classify(Kind::Audio, payload);
    if info.sequence_header {
        let (codec, record) = record_of(Kind::Audio, payload)?;
        return Some(audio_facts(codec, &record));
    }
    match info.codec? {
        Codec::Audio(10) | Codec::FourCc(_) | Codec::Video(_) => None,
        Codec::Audio(format) => Some(classic(format, *payload.first()?)),
    }
}

fn avc_record(config: &[u8]) -> Option<VideoFacts> {
    let mut cursor = Cursor::new(config);
    let [version, profile, constraints, level] = cursor.take_array().ok()?;
    if version != 1 {
        return None;
    }
    let name = match profile {
        66 if constraints & 0x40 != 0 => "Constrained Baseline",
        66 => "Baseline",
        77 => "Main",
        88 => "Extended",
        100 => "High",
        110 => "High 10",
        122 => "High 4:2:2",
        244 => "High 4:4:4 Predictive",
        _ => "",
    };
    let name = if name.is_empty() { format!("{profile}") } else { name.to_owned() };
    let mut facts = VideoFacts { profile: name, level: tenths(u32::from(level)), ..VideoFacts::default() };
    let first = || {
        cursor.u8().ok()?;
        let count = cursor.u8().ok()? & 0x1f;
        if count == 0 {
            return None;
        }
        let len = usize::from(cursor.u16().ok()?);
        avc::size_of(cursor.take(len).ok()?).ok()
    };
    (facts.width, facts.height) = { first }().unwrap_or_default();
    Some(facts)
}

/// Level 31 is 3.1, and 40 is 4.0.
fn tenths(level: u32) -> String {
    format!("{}.{}", level / 10, level % 10)
}

fn hvc(config: &[u8]) -> Option<VideoFacts> {
    let mut cursor = Cursor::new(config);
    let _version = cursor.u8().ok()?;
    let profile = cursor.u8().ok()? & 0x1f;
    cursor.take(10).ok()?;
    let level = u32::from(cursor.u8().ok()?);
    let name = match profile {
        1 => "Main".to_owned(),
        2 => "Main 10".to_owned(),
        3 => "Main Still Picture".to_owned(),
        4 => "Format Range Extensions".to_owned(),
        other => other.to_string(),
    };
    let mut facts = VideoFacts { profile: name, level: tenths(level / 3), ..VideoFacts::default() };
    let mut find = || {
        cursor.take(9).ok()?;
        let arrays = cursor.u8().ok()?;
        for _ in 0..arrays {
            let kind = cursor.u8().ok()? & 0x3f;
            let count = cursor.u16().ok()?;
            for _ in 0..count {
                let len = usize::from(cursor.u16().ok()?);
                let nal = cursor.take(len).ok()?;
                if kind == 33 {
                    return hvcc::size_of(nal).ok();
                }
            }
        }
        None
    };
    (facts.width, facts.height) = find().unwrap_or_default();
    Some(facts)
}

fn av1(config: &[u8]) -> Option<VideoFacts> {
    let byte = u32::from(*config.get(1)?);
    let profile = match byte >> 5 {
        0 => "Main".to_owned(),
        1 => "High".to_owned(),
        2 => "Professional".to_owned(),
        other => other.to_string(),
    };
    let index = byte & 0x1f;
    let level = if index == 31 { String::new() } else { format!("{}.{}", 2 + index / 4, index % 4) };
    let (width, height) = crate::av1::size_of(config).unwrap_or_default();
    Some(VideoFacts { profile, level, width, height })
}

fn aac(config: &[u8]) -> Option<AudioFacts> {
    let mut bits = Bits::new(config);
    let kind = object_type(&mut bits)?;
    let mut sample_rate = aac_rate(&mut bits)?;
    let configuration = bits.take(4).ok()?;
    let channels = match configuration {
        0..=6 => configuration,
        7 | 12 | 14 => 8,
        11 => 7,
        13 => 24,
        _ => 0,
    };
    if kind == 5 || kind == 29 {
        // What comes out of the decoder.
        sample_rate = aac_rate(&mut bits)?;
    }
    let profile = match kind {
        1 => "Main".to_owned(),
        2 => "LC".to_owned(),
        3 => "SSR".to_owned(),
        4 => "LTP".to_owned(),
        5 => "HE".to_owned(),
        29 => "HEv2".to_owned(),
        other => other.to_string(),
    };
    Some(AudioFacts { profile, sample_rate, channels: if kind == 29 { 2 } else { channels } })
}

fn object_type(bits: &mut Bits<'_>) -> Option<u32> {
    match bits.take(5).ok()? {
        31 => Some(32 + bits.take(6).ok()?),
        kind => Some(kind),
    }
}

/// `None` for the indices that mean nothing.
fn aac_rate(bits: &mut Bits<'_>) -> Option<u32> {
    match bits.take(4).ok()? {
        15 => bits.take(24).ok(),
        index => crate::aac::SAMPLE_RATES.get(index as usize).copied(),
    }
}

/// The classic header's two bits of rate and one of channels; formats with a rate of their own go by that.
fn classic(format: u8, header: u8) -> AudioFacts {
    let rates = [5_512, 11_025, 22_050, 44_100];
    let coded = rates.get(usize::from(header >> 2 & 3)).copied().unwrap_or(0);
    let (sample_rate, mono) = match format {
        4 | 11 => (16_000, true),
        5 | 14 => (8_000, format == 5),
        7 | 8 => (8_000, false),
        _ => (coded, false),
    };
    let channels = if mono { 1 } else { u32::from(header & 1) + 1 };
    AudioFacts { profile: String::new(), sample_rate, channels }
}

/// The identification header, with or without its magic.
fn opus(config: &[u8]) -> Option<AudioFacts> {
    let head = config.strip_prefix(b"OpusHead").unwrap_or(config);
    let channels = u32::from(*head.get(1)?);
    Some(AudioFacts { profile: String::new(), sample_rate: 48_000, channels })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u32> = text.chars().filter_map(|digit| digit.to_digit(16)).collect();
        digits.chunks(2).map(|pair| u8::try_from(pair[0] * 16 + pair[1]).unwrap()).collect()
    }

    /// Configuration records as x264 and x265 wrote them, in ffmpeg: prefix of the packet, record, what ffprobe says.
    #[expect(clippy::type_complexity, reason = "a table")]
    const RECORDS: [(&[u8], &str, &str, &str, u32, u32); 5] = [
        (&[0x17, 0, 0, 0, 0], BASELINE, "Constrained Baseline", "3.1", 1280, 720),
        (
            &[0x17, 0, 0, 0, 0],
            "01640028ffe1001a67640028acd94078044fde0220000003002000000643e2c5b2c001000668fba3cb22c0fdf8f800",
            "High",
            "4.0",
            1920,
            1080,
        ),
        (
            b"\x90avc1",
            "01f40015ffe1001b67f40015919b283610f3c7e022000003000200000300641e2c5b2c01000668ebe3c44844fff8f800",
            "High 4:4:4 Predictive",
            "2.1",
            426,
            242,
        ),
        (b"\x90hvc1", HEVC, "Main", "2.0", 322, 182),
        (&[0x1c, 0, 0, 0, 0], HEVC, "Main", "2.0", 322, 182),
    ];
    const BASELINE: &str =
        "0142c01fffe100196742c01fd9005005bb011000000300100000030320f183248001000568cb83cb20";
    const HEVC: &str = "0101600000009000000000003cf000fcfdf8f800000f03200001001840010c01ffff01600000030090000003000003\
        003c959809210001002a42010101600000030090000003000003003ca00a480b9c9596566924caf016808000000300800000\
        0c8422000100074401c172b46240";

    #[test]
    fn video_headers_say_size_profile_and_level() {
        for (prefix, record, profile, level, width, height) in RECORDS {
            let facts = describe_video(&[prefix, hex(record).as_slice()].concat()).unwrap();
            let (profile, level) = (profile.to_owned(), level.to_owned());
            assert_eq!(facts, VideoFacts { profile, level, width, height });
        }
    }

    #[test]
    fn headers_cut_anywhere_are_labels_without_a_value() {
        for (prefix, record, ..) in RECORDS {
            let whole = [prefix, hex(record).as_slice()].concat();
            for len in 0..whole.len() {
                let _ = describe_video(&whole[..len]);
            }
        }
        // H59: nothing but zero bits, and nothing but ones.
        for fill in [0, 0xff] {
            let head = [0x17, 0, 0, 0, 0, 1, 66, 0, 31, 0xff, 0xe1, 0, 68, 0x67, 66, 0, 31];
            let facts = describe_video(&[&head[..], &[fill; 64]].concat()).unwrap();
            assert!(facts.width <= 65_536 && facts.height <= 65_536, "{facts:?}");
        }
        // H57: a length past the end, 31 parameter sets.
        let facts = describe_video(&[0x17, 0, 0, 0, 0, 1, 100, 0, 40, 0xff, 0xff, 0xff, 0xff, 0x67]).unwrap();
        assert_eq!((facts.profile.as_str(), facts.level.as_str(), facts.width), ("High", "4.0", 0));
    }

    #[test]
    fn audio_configurations_good_and_bad() {
        for (payload, profile, rate, channels) in [
            (&[0xaf, 0, 0x12, 0x10][..], "LC", 44_100, 2),
            (&[0xaf, 0, 0x11, 0x88], "LC", 48_000, 1),
            // SBR said in the open: 24 kHz twice.
            (&[0xaf, 0, 0x2b, 0x11, 0x88, 0], "HE", 48_000, 2),
            // H60: one byte; an index that means nothing; an explicit rate of 0.
            (&[0xaf, 0, 0x12], "", 0, 0),
            (&[0xaf, 0, 0x16, 0x90], "", 0, 0),
            (&[0xaf, 0, 0x17, 0x80, 0, 0, 0x08], "LC", 0, 1),
            (&[0x2f], "", 44_100, 2),
            (&[0xb2], "", 16_000, 1),
            (b"\x90OpusOpusHead\x01\x02", "", 48_000, 2),
            (b"\x90mp4a\x12\x10", "LC", 44_100, 2),
        ] {
            let facts = describe_audio(payload).unwrap_or_default();
            let wanted = AudioFacts { profile: profile.to_owned(), sample_rate: rate, channels };
            assert_eq!(facts, wanted, "{payload:x?}");
        }
        assert_eq!(describe_audio(&[0xaf, 1, 2, 3]), None);
        assert_eq!(describe_audio(&[]), None);
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_described_without_harm(
            mut bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..128), first in 0_u8..6,
        ) {
            let _ = (describe_video(&bytes), describe_audio(&bytes));
            let heads: [&[u8]; 6] = [&[0x17, 0, 0, 0, 0, 1], &[0x1c, 0, 0, 0, 0, 1], b"\x90hvc1", b"\x90av01",
                &[0xaf, 0], b"\x90Opus"];
            bytes.splice(0..0, heads[usize::from(first)].iter().copied());
            let _ = (describe_video(&bytes), describe_audio(&bytes));
        }
    }
}
