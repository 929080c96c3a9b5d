//! FLV files (FLV 10.1, annex E): tag after tag. Only the heads of tags are read, and bodies that are configurations.

use bytes::Bytes;
use flv::unit::{Body, Unit, by_track, take_apart};
use media::Kind;
use media::number::as_len;
use remux::{Probe, RemuxError, TrackSet};

use crate::index::{Index, Part, Sample};
use crate::{Storage, VodError, take};

/// A tag's head.
const HEAD: usize = 11;
/// As much of a body as says what it is.
const PEEK: usize = 32;
/// Largest configuration that is looked at.
const MAX_CONFIG: usize = 64 << 10;
/// Read at once.
const BLOCK: usize = 256 << 10;
/// Codecs without a place that are named.
const MAX_LEFT_OUT: usize = 8;
/// Parts with configurations of their own.
const MAX_PARTS: usize = 4096;
/// Tags that are kept to go in front: more than files have tracks, twice.
const MAX_HEADERS: usize = 32;

/// A window on the file that moves forward.
struct Window<'s, S: ?Sized> {
    storage: &'s S,
    at: u64,
    bytes: Vec<u8>,
}

impl<S: Storage + ?Sized> Window<'_, S> {
    /// `len` bytes from `at` on (fewer at the file's end).
    fn get(&mut self, at: u64, len: usize) -> Result<&[u8], VodError> {
        let len = as_len(self.storage.len().saturating_sub(at)).min(len);
        let inside = at >= self.at && at + len as u64 <= self.at + self.bytes.len() as u64;
        if !inside {
            let block = as_len(self.storage.len() - at).min(BLOCK.max(len));
            self.bytes = take(self.storage, at, block)?;
            self.at = at;
        }
        let from = as_len(at - self.at);
        Ok(self.bytes.get(from..from + len).unwrap_or(&[]))
    }
}

pub(crate) fn read(storage: &(impl Storage + ?Sized)) -> Result<Index, VodError> {
    let mut window = Window { storage, at: 0, bytes: Vec::new() };
    let head = window.get(0, 9)?;
    let offset =
        head.get(5..9).and_then(|bytes| bytes.first_chunk()).map_or(0, |bytes| u32::from_be_bytes(*bytes));
    if offset < 9 {
        return Err(VodError::Layout { what: "header", at: 5 });
    }
    let mut at = u64::from(offset) + 4;
    let mut film = Film::default();
    // A file that was cut in the middle of a tag ends with the tag before.
    while at + HEAD as u64 <= storage.len() {
        let bytes = window.get(at, HEAD + PEEK)?;
        let [kind, s2, s1, s0, t2, t1, t0, t3, ..] = *bytes else { break };
        let size = u32::from_be_bytes([0, s2, s1, s0]);
        let body_at = at + HEAD as u64;
        if body_at + u64::from(size) > storage.len() {
            break;
        }
        let kind = Kind::from_type_id(kind & 0x1f).ok_or(VodError::Layout { what: "tag", at })?;
        let wire_ms = u32::from_be_bytes([t3, t2, t1, t0]);
        let body = bytes.get(HEAD..).unwrap_or(&[]);
        let peek = Bytes::copy_from_slice(body.get(..size as usize).unwrap_or(body));
        match take_apart(kind, &peek).filter(|_| kind != Kind::Data && size > 0) {
            Some(Unit { body: Body::Config(_), .. }) => {
                let len = as_len(size).min(MAX_CONFIG);
                let body = Bytes::copy_from_slice(window.get(body_at, len)?);
                if let Ok(Probe::Config { changed: true }) = film.track_set.see(kind, &body) {
                    film.changed = true;
                }
                if film.track_set.has_further() {
                    film.track_set = film.track_set.only(Some(0), Some(0));
                }
            }
            Some(Unit { body: Body::Coded { composition_ms, data }, key_frame, .. }) => {
                let lead = (peek.len() - data.len()) as u64;
                let sample = Sample {
                    dts_ms: film.time(wire_ms, kind == Kind::Audio),
                    at: body_at + lead,
                    len: u32::try_from(u64::from(size).saturating_sub(lead)).unwrap_or(0),
                    composition_ms: crate::index::composition(composition_ms),
                    is_video: kind == Kind::Video,
                    is_key: kind == Kind::Video && key_frame,
                };
                film.take(&peek, sample)?;
            }
            Some(Unit { body: Body::OtherTrack(_), .. }) => film.lacks("another track".to_owned()),
            _ => {}
        }
        at = body_at + u64::from(size) + 4;
    }
    film.sort();
    Ok(Index { samples: film.samples, parts: film.parts, end_ms: 0, left_out: film.left_out })
}

/// What is known of a file so far.
#[derive(Default)]
struct Film {
    samples: Vec<Sample>,
    parts: Vec<Part>,
    track_set: TrackSet,
    /// The set of tracks is another than that of the last part.
    changed: bool,
    left_out: Vec<String>,
    /// The first time, and the last of pictures and of sounds, [`EARLIER_MS`] later than they are.
    first_ms: Option<u32>,
    last_ms: [u32; 2],
}

/// A track may begin so much before the first tag of all, ms.
const EARLIER_MS: u32 = 60_000;

impl Film {
    /// The time of a tag, [`EARLIER_MS`] later than it is: behind the one before it of its track, wherever the other track is.
    fn time(&mut self, wire_ms: u32, is_audio: bool) -> u32 {
        let first = *self.first_ms.get_or_insert(wire_ms);
        let time = wire_ms.wrapping_sub(first).wrapping_add(EARLIER_MS);
        let [pictures, sounds] = &mut self.last_ms;
        let last = if is_audio { sounds } else { pictures };
        // What steps back, or lies before anything that can be, is where the one before it was.
        if time < 0x8000_0000 {
            *last = time.max(*last);
        } else if *last == 0 {
            *last = EARLIER_MS;
        }
        *last
    }

    /// Puts the samples of each part in the order of their times, which begin with 0.
    fn sort(&mut self) {
        let begin_ms = self.samples.iter().map(|sample| sample.dts_ms).min().unwrap_or(0);
        for sample in &mut self.samples {
            sample.dts_ms -= begin_ms;
        }
        let ends = self.parts.iter().skip(1).map(|part| part.first).chain([self.samples.len()]);
        for (first, end) in self.parts.iter().map(|part| part.first).zip(ends) {
            if let Some(part) = self.samples.get_mut(first..end) {
                part.sort_by_key(|sample| sample.dts_ms);
            }
        }
    }

    /// Something of the file is in no sample.
    fn lacks(&mut self, name: String) {
        if self.left_out.len() < MAX_LEFT_OUT && !self.left_out.contains(&name) {
            self.left_out.push(name);
        }
    }

    /// A sample whose packet begins with `peek`.
    fn take(&mut self, peek: &Bytes, sample: Sample) -> Result<(), VodError> {
        let begins = match self.track_set.see(sample.kind(), peek) {
            Ok(Probe::AccessUnit(_)) => false,
            Ok(Probe::Began(_)) => true,
            Err(RemuxError::Codec(codec)) => {
                self.lacks(codec.to_string());
                return Ok(());
            }
            _ => return Ok(()),
        };
        if std::mem::take(&mut self.changed) || begins || self.parts.is_empty() {
            self.begin_part().ok_or(VodError::Layout { what: "configuration", at: sample.at })?;
        }
        Index::push(&mut self.samples, sample)
    }

    /// Another set of tracks holds from the next sample on. A track that shows itself later than the other was there from the
    /// beginning; what has become another begins a part. `None` when there are too many.
    fn begin_part(&mut self) -> Option<()> {
        let count = self.parts.len();
        match self.parts.last_mut() {
            Some(part) if self.track_set.extends(&part.track_set) => part.track_set = self.track_set.clone(),
            _ if count >= MAX_PARTS => return None,
            _ => self.parts.push(Part { first: self.samples.len(), track_set: self.track_set.clone() }),
        }
        Some(())
    }
}

/// Where a player wants to begin in an FLV file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// At a tag that begins at this offset, or the next key frame behind it.
    Byte(u64),
    /// At the newest key frame that is not later, ms since the first tag.
    Time(u32),
}

/// How a file is sent from the middle: first these bytes (header and configurations), then the file from `at` on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    /// What goes in front.
    pub lead: Vec<u8>,
    /// Offset of a tag.
    pub at: u64,
}

/// Finds where a player can begin. At the end of the file when there is nothing behind what it wants.
///
/// # Errors
/// [`VodError`] when the file is no FLV file.
pub fn start(storage: &(impl Storage + ?Sized), from: From) -> Result<Start, VodError> {
    let mut window = Window { storage, at: 0, bytes: Vec::new() };
    let head = window.get(0, 9)?.to_vec();
    if !head.starts_with(b"FLV") || head.len() < 9 {
        return Err(VodError::Kind);
    }
    let offset =
        head.get(5..9).and_then(|bytes| bytes.first_chunk()).map_or(0, |bytes| u32::from_be_bytes(*bytes));
    let mut headers = Headers::default();
    let (mut clock, mut has_video) = (Clock::default(), false);
    let mut found: Option<(u64, Headers)> = None;
    let mut at = u64::from(offset.max(9)) + 4;
    while at + HEAD as u64 <= storage.len() {
        let bytes = window.get(at, HEAD + PEEK)?;
        let [kind, s2, s1, s0, t2, t1, t0, t3, ..] = *bytes else { break };
        let size = u32::from_be_bytes([0, s2, s1, s0]);
        let end = at + HEAD as u64 + u64::from(size) + 4;
        let kind = Kind::from_type_id(kind & 0x1f).ok_or(VodError::Layout { what: "tag", at })?;
        let time_ms = clock.time(u32::from_be_bytes([t3, t2, t1, t0]));
        let peek = Bytes::copy_from_slice(bytes.get(HEAD..).unwrap_or(&[]));
        let peek = peek.slice(..peek.len().min(size as usize));
        let unit = if kind == Kind::Data { None } else { take_apart(kind, &peek) };
        let info = flv::classify(kind, &peek);
        if (info.sequence_header || info.beside) && end <= storage.len() {
            let len = as_len(end - at);
            if len <= MAX_CONFIG {
                headers.keep(kind, info.beside, Bytes::copy_from_slice(window.get(at, len)?));
            }
        } else if let Some(unit) = unit {
            has_video |= kind == Kind::Video;
            let can_begin = if has_video { kind == Kind::Video && unit.key_frame } else { true };
            match from {
                From::Byte(wanted) if at == wanted || at > wanted && can_begin => {
                    found = Some((at, headers.clone()));
                    break;
                }
                From::Byte(_) => {}
                From::Time(wanted) if time_ms > wanted && found.is_some() => break,
                From::Time(_) => {
                    if can_begin {
                        found = Some((at, headers.clone()));
                    }
                }
            }
        }
        at = end;
    }
    let (at, headers) = found.unwrap_or_else(|| (storage.len(), headers));
    let mut lead = head;
    // The header's own length, without what an extension may have added.
    if let Some(place) = lead.get_mut(5..9) {
        place.copy_from_slice(&[0, 0, 0, 9]);
    }
    lead.extend([0; 4]);
    for header in &headers.0 {
        lead.extend_from_slice(&header.tag);
    }
    Ok(Start { lead, at })
}

/// The newest sequence header of each track, and what a track says beside it, in the order of the file.
#[derive(Debug, Clone, Default)]
struct Headers(Vec<Header>);

/// A tag that decoders need first.
#[derive(Debug, Clone)]
struct Header {
    kind: Kind,
    /// Numbers of the tracks that it is of.
    tracks: Vec<u8>,
    is_beside: bool,
    /// All of it, its length behind it included.
    tag: Bytes,
}

impl Headers {
    /// Keeps a tag in place of those that it has all tracks of.
    fn keep(&mut self, kind: Kind, is_beside: bool, tag: Bytes) {
        let body = tag.get(HEAD..tag.len().saturating_sub(4)).unwrap_or(&[]);
        let body = tag.slice_ref(body);
        let units = by_track(kind, &body).unwrap_or_default();
        let tracks: Vec<u8> = units.into_iter().map(|(track, _)| track).collect();
        let is_replaced = |old: &Header| {
            old.kind == kind
                && old.is_beside == is_beside
                && old.tracks.iter().all(|track| tracks.contains(track))
        };
        self.0.retain(|old| !is_replaced(old));
        if !tracks.is_empty() && self.0.len() < MAX_HEADERS {
            self.0.push(Header { kind, tracks, is_beside, tag });
        }
    }
}

/// Times of a file: from 0 on, never back.
#[derive(Default)]
struct Clock {
    first: Option<u32>,
    last_ms: u32,
}

impl Clock {
    fn time(&mut self, wire: u32) -> u32 {
        let first = *self.first.get_or_insert(wire);
        let time = wire.wrapping_sub(first);
        // What lies before the first one, or steps back, is where the one before it was.
        if time < 0x8000_0000 {
            self.last_ms = self.last_ms.max(time);
        }
        self.last_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(out: &mut Vec<u8>, kind: u8, time: u32, body: &[u8]) {
        let [t3, t2, t1, t0] = time.to_be_bytes();
        let [_, s2, s1, s0] = u32::try_from(body.len()).unwrap().to_be_bytes();
        out.extend([kind, s2, s1, s0, t2, t1, t0, t3, 0, 0, 0]);
        out.extend(body);
        out.extend(u32::try_from(body.len() + 11).unwrap().to_be_bytes());
    }

    fn file() -> Vec<u8> {
        let mut out = b"FLV\x01\x05\0\0\0\x09\0\0\0\0".to_vec();
        tag(&mut out, 9, 0, b"\x17\0\0\0\0\x01\x42\xc0\x1e\xff\xe1\0\x04\x67\x42\xc0\x1e\x01\0\x02\x68\xce");
        tag(&mut out, 8, 0, b"\xaf\0\x12\x10");
        for n in 0..10_u32 {
            let key = if n % 5 == 0 { 0x17 } else { 0x27 };
            tag(&mut out, 9, 1000 + n * 40, &[key, 1, 0, 0, 40, 0, 0, 0, 1, 0x65]);
            tag(&mut out, 8, 1000 + n * 40 + 10, b"\xaf\x01abc");
        }
        out
    }

    #[test]
    fn samples_are_where_their_bytes_are() {
        let file = file();
        let index = Index::read(&file[..]).unwrap();
        assert_eq!((index.samples.len(), index.parts.len()), (20, 1));
        let first = index.samples[0];
        assert!(first.is_key && first.is_video && first.composition_ms == 40 && first.len == 5);
        assert_eq!(file[usize::try_from(first.at).unwrap()..][..5], [0, 0, 0, 1, 0x65]);
        let sound = index.samples[1];
        assert_eq!(&file[usize::try_from(sound.at).unwrap()..][..3], b"abc");
        assert_eq!(index.samples[2].dts_ms - first.dts_ms, 40);
    }

    #[test]
    fn sounds_that_nothing_but_their_packets_describe_are_carried() {
        let mut file = b"FLV\x01\x05\0\0\0\x09\0\0\0\0".to_vec();
        let sps = b"\x17\0\0\0\0\x01\x42\xc0\x1e\xff\xe1\0\x04\x67\x42\xc0\x1e\x01\0\x02\x68\xce";
        tag(&mut file, 9, 0, sps);
        let mp3 = [b"\x2f\xff\xfb\x90\x00".as_slice(), b"sound"].concat();
        for n in 0..10_u32 {
            tag(&mut file, 9, n * 40, &[if n == 0 { 0x17 } else { 0x27 }, 1, 0, 0, 0, 0, 0, 0, 1, 0x65]);
            tag(&mut file, 8, n * 40 + 10, &mp3);
        }
        let index = Index::read(&file[..]).unwrap();
        assert_eq!((index.samples.len(), index.parts.len()), (20, 1));
        let segment = index.segment(&file[..], 6000, 0).unwrap().unwrap();
        assert_eq!(segment.windows(5).filter(|window| *window == b"sound").count(), 10);
    }

    #[test]
    fn playing_can_begin_in_the_middle() {
        let file = file();
        let index = Index::read(&file[..]).unwrap();
        // The second key frame, 200 ms behind the first.
        let second = index.samples[10].at - 5 - 11;
        // Places in an FLV file count from its first tag, which is a second earlier than the first picture.
        let begin_ms = index.samples[10].dts_ms + 1000;
        for from in
            [From::Byte(second), From::Byte(second - 1), From::Time(begin_ms), From::Time(begin_ms + 39)]
        {
            let start = start(&file[..], from).unwrap();
            assert_eq!(start.at, second, "{from:?}");
            let rest = &file[usize::try_from(second).unwrap()..];
            let whole = Index::read(&[&start.lead[..], rest].concat()[..]).unwrap();
            assert_eq!((whole.samples.len(), whole.samples[0].is_key), (10, true));
        }
        assert_eq!(start(&file[..], From::Byte(1 << 40)).unwrap().at, file.len() as u64);
        assert_eq!(start(&file[..], From::Time(0)).unwrap().at, index.samples[0].at - 16);
    }

    #[test]
    fn files_that_are_cut_or_crafted_never_panic() {
        let file = file();
        for end in 0..file.len() {
            drop(start(&file[..end], From::Time(200)));
            drop(Index::read(&file[..end]));
        }
        for at in 0..file.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut broken = file.clone();
                broken[at] = value;
                drop(Index::read(&broken[..]));
            }
        }
    }
}
