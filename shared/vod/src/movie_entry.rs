//! Sample entries of MP4 and QuickTime files: what a track is coded with (ISO/IEC 14496-12, 8.5.2; QuickTime File Format, sound
//! sample descriptions).

use bytes::Bytes;
use flv::aac::AacConfig;
use flv::ac3::Ac3Config;
use flv::avc::AvcConfig;
use flv::hvcc::HevcConfig;
use remux::{AudioTrack, VideoTrack};

use crate::movie_boxes::{find, number, walk};

/// What a track is.
pub(crate) enum Track {
    Video(VideoTrack),
    Audio(AudioTrack),
}

/// Reads the first entry of a sample description. `Err` with its four characters when it is one of pictures or sounds that
/// can't be packed here.
pub(crate) fn read(stsd: &[u8]) -> Result<Track, [u8; 4]> {
    let (name, entry) = stsd.get(8..).and_then(|rows| walk(rows).next()).ok_or(*b"none")?;
    let boxed = |wanted: &[u8; 4]| find(entry.get(78..)?, wanted).map(Bytes::copy_from_slice);
    let video = match &name {
        b"avc1" | b"avc3" => {
            boxed(b"avcC").and_then(|record| AvcConfig::parse(&record).ok()).map(VideoTrack::Avc)
        }
        b"hvc1" | b"hev1" => {
            boxed(b"hvcC").and_then(|record| HevcConfig::parse(&record).ok()).map(VideoTrack::Hevc)
        }
        _ => None,
    };
    match video {
        Some(video) => Ok(Track::Video(video)),
        None => sound(&name, entry).map(Track::Audio).ok_or(name),
    }
}

fn sound(name: &[u8; 4], entry: &[u8]) -> Option<AudioTrack> {
    let short = u16::from_be_bytes(*entry.get(16..)?.first_chunk()?);
    let version = u16::from_be_bytes(*entry.get(8..)?.first_chunk()?);
    let (sample_rate, channels) = match version {
        // QuickTime's second extension says both anew: the rate in floating point.
        2 => (
            whole(f64::from_be_bytes(*entry.get(32..)?.first_chunk()?)),
            u16::try_from(number(entry, 40)).ok()?,
        ),
        _ => (number(entry, 24) >> 16, short),
    };
    let boxed = |wanted: &[u8; 4]| in_sound(entry, version, wanted);
    let mp3 = || Some(AudioTrack::Mp3 { sample_rate, channels });
    let ac3 = |is_enhanced, record: &[u8]| {
        Some(AudioTrack::Ac3(Ac3Config::of_box(is_enhanced, (sample_rate, channels), record)))
    };
    match name {
        b"mp4a" => {
            let (object_type, specific) = descriptor(boxed(b"esds")?)?;
            match object_type {
                0x40 | 0x66..=0x68 => AacConfig::parse(&specific?).ok().map(AudioTrack::Aac),
                0x69 | 0x6b => mp3(),
                0xa5 => ac3(false, &[]),
                0xa6 => ac3(true, &[]),
                _ => None,
            }
        }
        b".mp3" | b"ms\0\x55" => mp3(),
        b"ac-3" => ac3(false, boxed(b"dac3")?),
        b"ec-3" => ac3(true, boxed(b"dec3")?),
        b"Opus" => opus(boxed(b"dOps")?),
        _ => None,
    }
}

/// A box of a sound's entry: QuickTime's extensions of the entry have more in front of its boxes, and its boxes within `wave`.
/// MP4 has version 1, too, without the extension.
fn in_sound<'a>(entry: &'a [u8], version: u16, wanted: &[u8; 4]) -> Option<&'a [u8]> {
    let leads: &[usize] = match version {
        1 => &[44, 28],
        2 => &[64],
        _ => &[28],
    };
    leads.iter().find_map(|lead| {
        let boxes = entry.get(*lead..)?;
        find(boxes, wanted).or_else(|| find(find(boxes, b"wave")?, wanted))
    })
}

/// A rate in Hz.
fn whole(rate: f64) -> u32 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
    let rate = rate.clamp(0.0, 1e6).round() as u32;
    rate
}

/// The identification header behind its magic (RFC 7845, 5.1), out of `dOps`, which has its numbers the other way round.
fn opus(config: &[u8]) -> Option<AudioTrack> {
    let [_, channels, s1, s0, r3, r2, r1, r0, g1, g0, family, mapping @ ..] = config else { return None };
    let mut head = vec![1, *channels, *s0, *s1, *r0, *r1, *r2, *r3, *g0, *g1, *family];
    if *family != 0 {
        head.extend_from_slice(mapping);
    }
    Some(AudioTrack::Opus(head.into()))
}

/// Object type and decoder-specific information of an elementary stream descriptor (ISO/IEC 14496-1, 7.2.6).
fn descriptor(esds: &[u8]) -> Option<(u8, Option<Bytes>)> {
    fn next<'a>(bytes: &mut &'a [u8]) -> Option<(u8, &'a [u8])> {
        let (tag, mut rest) = bytes.split_first()?;
        let mut len = 0_usize;
        for _ in 0..4 {
            let (byte, behind) = rest.split_first()?;
            len = len << 7 | usize::from(byte & 0x7f);
            rest = behind;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let (inside, behind) = rest.split_at_checked(len)?;
        *bytes = behind;
        Some((*tag, inside))
    }
    let mut rest = esds.get(4..)?;
    let (3, stream) = next(&mut rest)? else { return None };
    let flags = *stream.get(2)?;
    let url = if flags & 0x40 != 0 { 1 + usize::from(*stream.get(3)?) } else { 0 };
    let lead = 3 + if flags & 0x80 != 0 { 2 } else { 0 } + url + if flags & 0x20 != 0 { 2 } else { 0 };
    let mut inside = stream.get(lead..)?;
    let (4, config) = next(&mut inside)? else { return None };
    let object_type = *config.first()?;
    let mut inside = config.get(13..)?;
    let specific = match next(&mut inside) {
        Some((5, specific)) => Some(Bytes::copy_from_slice(specific)),
        _ => None,
    };
    Some((object_type, specific))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boxed(name: &[u8; 4], parts: &[&[u8]]) -> Vec<u8> {
        let inside = parts.concat();
        let len = u32::try_from(inside.len() + 8).unwrap().to_be_bytes();
        [&len[..], name, &inside].concat()
    }

    /// An `esds` of AAC LC, 44.1 kHz, stereo.
    fn esds() -> Vec<u8> {
        let config = [&[4, 17, 0x40, 0x15][..], &[0; 11], &[5, 2, 0x12, 0x10]].concat();
        let stream = [&[3, 22, 0, 1, 0][..], &config].concat();
        boxed(b"esds", &[&[0; 4], &stream])
    }

    fn read_sound(name: &[u8; 4], entry: &[u8]) -> Option<AudioTrack> {
        let stsd = [&[0, 0, 0, 0, 0, 0, 0, 1][..], &boxed(name, &[entry])].concat();
        match read(&stsd) {
            Ok(Track::Audio(track)) => Some(track),
            _ => None,
        }
    }

    /// The fixed part of an entry of a version, with what the extension says.
    fn fixed(version: u8) -> Vec<u8> {
        let mut entry = vec![0, 0, 0, 0, 0, 0, 0, 1, 0, version, 0, 0, 0, 0, 0, 0];
        if version == 2 {
            entry.extend([0, 3, 0, 16, 0xff, 0xfe, 0, 0, 0, 1, 0, 0, 0, 0, 0, 72]);
            entry.extend(48_000_f64.to_be_bytes());
            entry.extend([0, 0, 0, 2, 0x7f, 0, 0, 0]);
            entry.resize(64, 0);
        } else {
            entry.extend([0, 2, 0, 16, 0, 0, 0, 0, 0xac, 0x44, 0, 0]);
            entry.resize(if version == 1 { 44 } else { 28 }, 0);
        }
        entry
    }

    #[test]
    fn sounds_of_every_version_with_their_boxes_inside_wave_or_not() {
        let wave = boxed(b"wave", &[&boxed(b"frma", &[b"mp4a"]), &boxed(b"mp4a", &[&[0; 4]]), &esds()]);
        for version in 0..=2 {
            for inside in [&esds(), &wave] {
                let track = read_sound(b"mp4a", &[&fixed(version)[..], inside].concat());
                assert!(matches!(track, Some(AudioTrack::Aac(_))), "version {version}: {track:?}");
            }
            let mp3 = read_sound(b".mp3", &fixed(version));
            let rate = if version == 2 { 48_000 } else { 44_100 };
            assert_eq!(mp3, Some(AudioTrack::Mp3 { sample_rate: rate, channels: 2 }), "version {version}");
        }
        // Version 1 as MP4 has it: without the extension.
        let plain = [&fixed(1)[..28], &esds()].concat();
        assert!(matches!(read_sound(b"mp4a", &plain), Some(AudioTrack::Aac(_))));
        let head = [0, 2, 1, 56, 0, 0, 0xbb, 0x80, 0, 0, 0];
        let opus = read_sound(b"Opus", &[&fixed(0)[..], &boxed(b"dOps", &[&head])].concat());
        assert_eq!(
            opus,
            Some(AudioTrack::Opus(Bytes::from_static(&[1, 2, 56, 1, 0x80, 0xbb, 0, 0, 0, 0, 0])))
        );
        let dac3 = [&fixed(0)[..], &boxed(b"dac3", &[&[0x10, 0x11, 0x40]])].concat();
        assert!(matches!(read_sound(b"ac-3", &dac3), Some(AudioTrack::Ac3(config)) if config.channels == 2));
        assert_eq!(read_sound(b"alac", &fixed(0)), None);
    }
}
