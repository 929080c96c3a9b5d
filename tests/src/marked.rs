//! Pictures and sounds with their numbers in them, well-formed enough for every container, and what of them is found in what
//! comes out: which numbers, in which order, at which times.
//!
//! A picture is one NAL unit (or frame), a sound one frame of its codec ([`crate::coding`]); both hold `unit` and sixteen digits,
//! which no container has reason to change.

use client::{Kind, Publisher};
use flv::file::Reader;

use crate::coding::Coding;

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

    /// Its number, as it stands in its coded bytes.
    #[must_use]
    pub fn mark(&self) -> Vec<u8> {
        [MARK, format!("{:0DIGITS$x}", self.number).as_bytes()].concat()
    }

    /// The body of its packet, as RTMP and FLV have it: AVC or AAC.
    #[must_use]
    pub fn body(&self) -> Vec<u8> {
        Coding::default().body(self)
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
    send_headers_of(publisher, &Coding::default(), 0, (video, audio));
}

/// Sends the sequence headers of a coding, as far as there are any, at a time, ms.
///
/// # Panics
/// When the server does not take them.
pub fn send_headers_of(
    publisher: &mut Publisher,
    coding: &Coding,
    time_ms: i64,
    (video, audio): (bool, bool),
) {
    let time_ms = u32::try_from(time_ms & 0xffff_ffff).expect("masked");
    for (kind, is_wanted) in [(Kind::Video, video), (Kind::Audio, audio)] {
        if let Some(header) = coding.header(kind == Kind::Video).filter(|_| is_wanted) {
            publisher.send(kind, time_ms, &header).unwrap_or_else(|cause| panic!("{cause}"));
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
    tags.flat_map(|tag| of_packet(tag.kind, i64::from(tag.timestamp_ms), &tag.body)).collect()
}

/// What is in a packet of RTMP or a tag of FLV; nothing in headers and data.
#[must_use]
pub fn of_packet(kind: Kind, dts_ms: i64, body: &[u8]) -> Vec<Unit> {
    let numbers = numbers(body);
    let is_video = kind == Kind::Video;
    let is_key = flv::classify(kind, body).key_frame;
    let (mut composition_ms, mut coded) = (0, None);
    if is_video && !numbers.is_empty() {
        // Where the coded bytes begin, and whether a composition time stands before them.
        let (has_time, from) = match (body[0], body.get(1..5)) {
            (0x81..=0xff, Some(b"hvc1")) if body[0] & 0x0f == 1 => (true, 8),
            (0x81..=0xff, _) => (false, 5),
            _ => (true, 5),
        };
        if has_time {
            composition_ms = signed(&body[from - 3..from]);
        }
        coded = (body[0] < 0x80 || &body[1..5] == b"hvc1").then(|| &body[from..]);
    }
    coded.into_iter().for_each(assert_laid_out);
    numbers.into_iter().map(|number| Unit { dts_ms, number, is_video, is_key, composition_ms }).collect()
}

fn signed(bytes: &[u8]) -> i64 {
    let value = bytes.iter().fold(0_i64, |value, byte| value << 8 | i64::from(*byte));
    if value >= 1 << 23 { value - (1 << 24) } else { value }
}

/// What the first tracks of a transport stream have. Of sounds that were written together only the first has a time: the others lie 23 ms
/// apart, as sounds of 44.1 kHz do.
#[must_use]
pub fn of_ts(bytes: &[u8]) -> Vec<Unit> {
    of_ts_tracks(bytes, 0)
}

/// The same of the tracks with this number.
#[must_use]
pub fn of_ts_tracks(bytes: &[u8], number: u16) -> Vec<Unit> {
    let mut open: [Option<Vec<u8>>; 2] = [None, None];
    let mut units = Vec::new();
    for packet in bytes.chunks_exact(188) {
        assert_eq!(packet[0], 0x47, "a transport packet");
        let pid = u16::from_be_bytes([packet[1] & 0x1f, packet[2]]);
        let Some(place) = pid.checked_sub(0x100 + 2 * number).filter(|place| *place < 2) else { continue };
        let place = usize::from(place);
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
    // Of H.264, or of HEVC.
    let is_idr = |nal: &[u8]| nal.starts_with(&[0, 0, 1]) && matches!(nal[3], 0x65 | 0x26);
    let is_key = is_video && body.windows(4).any(is_idr);
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
    of_mp4_tracks(bytes, [1, 2])
}

/// The same of the tracks of pictures and of sounds with these numbers.
#[must_use]
pub fn of_mp4_tracks(bytes: &[u8], [pictures, sounds]: [u32; 2]) -> Vec<Unit> {
    let word =
        |bytes: &[u8], at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
    let find = |all: &[(&[u8], usize, &[u8])], name: &[u8]| {
        all.iter().position(|(known, _, _)| *known == name).expect("a box of this name")
    };
    let has_nals = [b"avc1", b"hvc1"].iter().any(|name| bytes.windows(4).any(|window| window == *name));
    let mut units = Vec::new();
    for (_, moof_at, moof) in boxes(bytes).into_iter().filter(|(name, ..)| *name == b"moof") {
        for (_, _, traf) in boxes(moof).into_iter().filter(|(name, ..)| *name == b"traf") {
            let inner = boxes(traf);
            let (header, time, run) = (
                inner[find(&inner, b"tfhd")].2,
                inner[find(&inner, b"tfdt")].2,
                inner[find(&inner, b"trun")].2,
            );
            let is_video = word(header, 4) == pictures;
            if !is_video && word(header, 4) != sounds {
                continue;
            }
            let mut dts_ms = i64::from(word(time, 4)) << 32 | i64::from(word(time, 8));
            let mut at = moof_at + word(run, 8) as usize;
            for row in run[12..].chunks_exact(16) {
                let size = word(row, 4) as usize;
                // The media of the newest fragment may not be there yet.
                for number in bytes.get(at..at + size).map(numbers).unwrap_or_default() {
                    if is_video && has_nals {
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
/// and each shown as far behind it; and that the first sound is as far behind the first picture as it was, within 2 ms.
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
        let differs = numbers(&got).iter().zip(&numbers(&wanted)).position(|(one, other)| one != other);
        assert!(
            numbers(&got) == numbers(&wanted),
            "{what}: {} of {} units, pictures: {is_video}, which differ from place {differs:?} on, {:?} instead of {:?} at the end",
            got.len(),
            wanted.len(),
            got.last(),
            wanted.last()
        );
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
    let apart = |units: &[Unit]| {
        let first = |is_video| units.iter().find(|unit| unit.is_video == is_video);
        let shown = |unit: &Unit| unit.dts_ms + unit.composition_ms;
        Some(shown(first(false)?) - shown(first(true)?))
    };
    if let Some((now, then)) = apart(got).zip(apart(wanted)) {
        assert!((now - then).abs() <= 2, "{what}: sound begins {now} instead of {then} ms behind pictures");
    }
}
