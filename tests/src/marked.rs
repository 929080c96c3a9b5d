//! Pictures and sounds with their numbers in them, well-formed enough for every container, and what of them is found in what
//! comes out: which numbers, in which order, at which times.
//!
//! A picture is one NAL unit, a sound one AAC frame; both hold `unit` and sixteen digits, which no container has reason to
//! change.

use client::{Kind, Publisher};
use flv::file::Reader;

use crate::pattern::{AUDIO_CONFIGURATION, VIDEO_CONFIGURATION};

/// What stands before a number.
const MARK: &[u8] = b"unit";
/// Digits of a number.
const DIGITS: usize = 16;

/// A picture or sound: sent, or found in what came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Unit {
    /// DTS, ms.
    pub dts_ms: i64,
    /// Which it is.
    pub number: u64,
    /// Picture or sound.
    pub is_video: bool,
    /// A decoder can begin here.
    pub is_key: bool,
    /// How much later than its DTS it is shown, ms.
    pub composition_ms: i64,
}

impl Unit {
    /// A picture.
    #[must_use]
    pub fn picture(number: u64, dts_ms: i64, is_key: bool) -> Self {
        Self { dts_ms, number, is_video: true, is_key, composition_ms: 0 }
    }

    /// A sound.
    #[must_use]
    pub fn sound(number: u64, dts_ms: i64) -> Self {
        Self { dts_ms, number, is_video: false, is_key: false, composition_ms: 0 }
    }

    /// The body of its packet, as RTMP and FLV have it.
    #[must_use]
    pub fn body(&self) -> Vec<u8> {
        let mut coded = MARK.to_vec();
        coded.extend_from_slice(format!("{:0DIGITS$x}", self.number).as_bytes());
        if !self.is_video {
            return [&[0xaf, 1][..], &coded].concat();
        }
        let [_, c2, c1, c0] = i32::try_from(self.composition_ms).expect("a short time").to_be_bytes();
        let (first, nal) = if self.is_key { (0x17, 0x65) } else { (0x27, 0x41) };
        let len = u32::try_from(coded.len() + 1).expect("short").to_be_bytes();
        [&[first, 1, c2, c1, c0][..], &len, &[nal], &coded].concat()
    }

    /// Sends it.
    ///
    /// # Panics
    /// When the server does not take it.
    pub fn send(&self, publisher: &mut Publisher) {
        self.send_as(publisher, &self.body());
    }

    /// Sends it in a packet that is written otherwise.
    ///
    /// # Panics
    /// When the server does not take it.
    pub fn send_as(&self, publisher: &mut Publisher, body: &[u8]) {
        let kind = if self.is_video { Kind::Video } else { Kind::Audio };
        let time_ms = u32::try_from(self.dts_ms & 0xffff_ffff).expect("masked");
        publisher.send(kind, time_ms, body).unwrap_or_else(|cause| panic!("{cause}"));
    }
}

/// Sends sequence headers.
///
/// # Panics
/// When the server does not take them.
pub fn send_headers(publisher: &mut Publisher, video: bool, audio: bool) {
    for (kind, header, has) in
        [(Kind::Video, VIDEO_CONFIGURATION, video), (Kind::Audio, AUDIO_CONFIGURATION, audio)]
    {
        if has {
            publisher.send(kind, 0, header).unwrap_or_else(|cause| panic!("{cause}"));
        }
    }
}

/// Pictures each 40 ms with a key frame each `gop_ms`, sounds each 23 ms, both up to before `end_ms`, in the order of their
/// times. Pictures have even numbers, sounds odd ones.
#[must_use]
pub fn usual(end_ms: i64, gop_ms: i64) -> Vec<Unit> {
    let count = |step: i64| (0..).map(move |n: i64| (n.unsigned_abs(), n * step));
    let within = |(_, dts_ms): &(u64, i64)| *dts_ms < end_ms;
    let pictures = count(40).take_while(within);
    let pictures = pictures.map(|(n, dts_ms)| Unit::picture(2 * n, dts_ms, dts_ms % gop_ms == 0));
    let sounds = count(23).take_while(within).map(|(n, dts_ms)| Unit::sound(2 * n + 1, dts_ms));
    let mut all: Vec<Unit> = pictures.chain(sounds).collect();
    all.sort_by_key(|unit| (unit.dts_ms, !unit.is_video));
    all
}

/// Asserts that a picture is one NAL unit behind its length, as FLV and MP4 have it.
fn assert_laid_out(picture: &[u8]) {
    let len = picture.first_chunk().map_or(0, |len| u32::from_be_bytes(*len)) as usize;
    assert_eq!(len + 4, picture.len(), "a picture is laid out as {picture:x?}");
}

/// The numbers in some bytes, in their order.
fn numbers(bytes: &[u8]) -> Vec<u64> {
    let places = bytes.windows(MARK.len() + DIGITS).filter(|window| window.starts_with(MARK));
    places
        .filter_map(|window| u64::from_str_radix(std::str::from_utf8(&window[MARK.len()..]).ok()?, 16).ok())
        .collect()
}

/// What is in an FLV file, or the beginning of one.
#[must_use]
pub fn of_flv(bytes: &[u8]) -> Vec<Unit> {
    let mut reader = Reader::new();
    reader.push(bytes);
    let tags = std::iter::from_fn(|| reader.next_tag().expect("FLV"));
    tags.flat_map(|tag| {
        let is_video = tag.kind == Kind::Video;
        let composition_ms = if is_video { tag.body.get(2..5).map_or(0, signed) } else { 0 };
        let dts_ms = i64::from(tag.timestamp_ms);
        let is_key = flv::classify(tag.kind, &tag.body).key_frame;
        let numbers = numbers(&tag.body).into_iter();
        if is_video && numbers.len() > 0 {
            assert_laid_out(&tag.body[5..]);
        }
        numbers
            .map(move |number| Unit { dts_ms, number, is_video, is_key, composition_ms })
            .collect::<Vec<_>>()
    })
    .collect()
}

fn signed(bytes: &[u8]) -> i64 {
    let value = bytes.iter().fold(0_i64, |value, byte| value << 8 | i64::from(*byte));
    if value >= 1 << 23 { value - (1 << 24) } else { value }
}

/// What is in a transport stream. Of sounds that were written together only the first has a time: the others lie 23 ms
/// apart, as sounds of 44.1 kHz do.
#[must_use]
pub fn of_ts(bytes: &[u8]) -> Vec<Unit> {
    let mut open: [Option<Vec<u8>>; 2] = [None, None];
    let mut units = Vec::new();
    for packet in bytes.chunks_exact(188) {
        assert_eq!(packet[0], 0x47, "a transport packet");
        let pid = u16::from_be_bytes([packet[1] & 0x1f, packet[2]]);
        let Some(place) = usize::from(pid).checked_sub(0x100).filter(|place| *place < 2) else { continue };
        let from = if packet[3] & 0x20 != 0 { 5 + usize::from(packet[4]) } else { 4 };
        let payload = if packet[3] & 0x10 != 0 { packet.get(from..).unwrap_or(&[]) } else { &[] };
        if packet[1] & 0x40 != 0
            && let Some(whole) = open[place].replace(Vec::new())
        {
            units.extend(of_pes(&whole, place == 0));
        }
        if let Some(open) = &mut open[place] {
            open.extend_from_slice(payload);
        }
    }
    for (place, whole) in open.into_iter().enumerate() {
        units.extend(whole.into_iter().flat_map(|whole| of_pes(&whole, place == 0)));
    }
    units
}

fn of_pes(pes: &[u8], is_video: bool) -> Vec<Unit> {
    let stamp = |at: usize| {
        let byte = |n: usize| i64::from(pes[at + n]);
        ((byte(0) & 0x0e) << 29 | byte(1) << 22 | (byte(2) & 0xfe) << 14 | byte(3) << 7 | byte(4) >> 1) / 90
    };
    let pts_ms = stamp(9);
    let dts_ms = if pes[7] & 0x40 != 0 { stamp(14) } else { pts_ms };
    let body = &pes[9 + usize::from(pes[8])..];
    let is_key = is_video && body.windows(4).any(|window| window == [0, 0, 1, 0x65]);
    let times = (0..).map(|n: i64| dts_ms + n * 23);
    let units = numbers(body).into_iter().zip(times);
    units
        .map(|(number, dts_ms)| Unit { dts_ms, number, is_video, is_key, composition_ms: pts_ms - dts_ms })
        .map(|unit| if is_video { unit } else { Unit { composition_ms: 0, ..unit } })
        .collect()
}

/// The boxes of a level: name, where it begins, and what it holds.
fn boxes(bytes: &[u8]) -> Vec<(&[u8], usize, &[u8])> {
    let (mut found, mut at) = (Vec::new(), 0);
    while at + 8 <= bytes.len() {
        let len = u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes")) as usize;
        let Some(inside) = bytes.get(at + 8..at + len) else { break };
        found.push((&bytes[at + 4..at + 8], at, inside));
        at += len;
    }
    found
}

/// What is in the fragments of an MP4 file, or the beginning of one.
#[must_use]
pub fn of_mp4(bytes: &[u8]) -> Vec<Unit> {
    let word =
        |bytes: &[u8], at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
    let find = |all: &[(&[u8], usize, &[u8])], name: &[u8]| {
        all.iter().position(|(known, _, _)| *known == name).expect("a box of this name")
    };
    let mut units = Vec::new();
    for (_, moof_at, moof) in boxes(bytes).into_iter().filter(|(name, ..)| *name == b"moof") {
        for (_, _, traf) in boxes(moof).into_iter().filter(|(name, ..)| *name == b"traf") {
            let inner = boxes(traf);
            let (header, time, run) = (
                inner[find(&inner, b"tfhd")].2,
                inner[find(&inner, b"tfdt")].2,
                inner[find(&inner, b"trun")].2,
            );
            let is_video = word(header, 4) == 1;
            let mut dts_ms = i64::from(word(time, 4)) << 32 | i64::from(word(time, 8));
            let mut at = moof_at + word(run, 8) as usize;
            for row in run[12..].chunks_exact(16) {
                let size = word(row, 4) as usize;
                // The media of the newest fragment may not be there yet.
                for number in bytes.get(at..at + size).map(numbers).unwrap_or_default() {
                    if is_video {
                        assert_laid_out(&bytes[at..at + size]);
                    }
                    let is_key = is_video && word(row, 8) & 0x1_0000 == 0;
                    let composition_ms = i64::from(word(row, 12).cast_signed());
                    units.push(Unit { dts_ms, number, is_video, is_key, composition_ms });
                }
                at += size;
                dts_ms += i64::from(word(row, 0));
            }
        }
    }
    units
}

/// Pictures, or sounds.
#[must_use]
pub fn of_kind(units: &[Unit], is_video: bool) -> Vec<Unit> {
    units.iter().copied().filter(|unit| unit.is_video == is_video).collect()
}

/// Asserts that of each kind exactly the same units came out, in their order, each decoded as far behind the first as it was,
/// and each shown as far behind it.
///
/// # Panics
/// When it is not so.
pub fn assert_same(what: &str, got: &[Unit], wanted: &[Unit]) {
    assert_shown(what, got, wanted, 0);
    for is_video in [true, false] {
        let decoded = |units: &[Unit]| units.iter().map(|unit| unit.dts_ms).collect::<Vec<_>>();
        let (got, wanted) = (decoded(&of_kind(got, is_video)), decoded(&of_kind(wanted, is_video)));
        let since_first = |times: &[i64]| times.iter().map(|time| time - times[0]).collect::<Vec<_>>();
        assert_eq!(since_first(&got), since_first(&wanted), "{what}: DTS, pictures: {is_video}");
    }
}

/// As [`assert_same`], for containers that decode pictures earlier than FLV does, with times that are off by so much at most:
/// when units are decoded does not matter as long as it is in order and before they are shown.
///
/// # Panics
/// When it is not so.
pub fn assert_shown(what: &str, got: &[Unit], wanted: &[Unit], tolerance_ms: i64) {
    for is_video in [true, false] {
        let (got, wanted) = (of_kind(got, is_video), of_kind(wanted, is_video));
        let numbers = |units: &[Unit]| units.iter().map(|unit| unit.number).collect::<Vec<_>>();
        assert_eq!(numbers(&got), numbers(&wanted), "{what}: numbers, pictures: {is_video}");
        let shown = |unit: &Unit| unit.dts_ms + unit.composition_ms;
        let (Some(first), Some(source)) = (got.first(), wanted.first()) else { continue };
        for (one, other) in got.iter().zip(&wanted) {
            let (now, then) = (shown(one) - shown(first), shown(other) - shown(source));
            assert!(
                (now - then).abs() <= tolerance_ms,
                "{what}: unit {} is shown at {now} instead of {then} ms",
                one.number
            );
            assert_eq!(one.is_key, other.is_key, "{what}: unit {}", one.number);
        }
        let in_order = got.windows(2).all(|pair| pair[0].dts_ms <= pair[1].dts_ms);
        assert!(in_order, "{what}: decoded in order: {got:?}");
    }
}
