//! MP4 files, progressive and fragmented (ISO/IEC 14496-12): which samples there are and where.

use media::number::{as_i64, as_len};
use remux::TrackSet;

use crate::index::{Index, Part, Sample};
use crate::movie_boxes::{find, find_in, full, number, table, walk};
use crate::{Storage, VodError, movie_entry, take};

/// Largest `moov` or `moof` that is read.
const MAX_MOVIE: u64 = 128 << 20;
/// Boxes at the top of a file: a fragment each second for two days.
const MAX_BOXES: usize = 400_000;
/// Tracks that are looked at.
const MAX_TRACKS: usize = 64;
/// Largest sample.
const MAX_SAMPLE: u32 = 64 << 20;

/// What `moov` says.
#[derive(Debug, Default)]
struct Movie {
    tracks: Vec<Track>,
    track_set: TrackSet,
    left_out: Vec<String>,
}

/// What the last sample is believed to last at most, ms.
const LONGEST_SAMPLE_MS: u32 = 600_000;

/// A track that is played.
#[derive(Debug)]
struct Track {
    id: u32,
    timescale: u32,
    is_video: bool,
    /// Shift of the track's times, in its timescale.
    shift: i64,
    /// Defaults of fragments: duration, size, flags.
    defaults: (u32, u32, u32),
    /// Where the next fragment without a time of its own begins.
    next: i64,
    /// Samples with their DTS in the track's timescale.
    samples: Vec<(i64, Sample)>,
}

impl Track {
    fn ms(&self, time: i64) -> i64 {
        let ms = i128::from(time) * 1000 / i128::from(self.timescale.max(1));
        as_i64(ms)
    }

    fn push(&mut self, dts: i64, offset: i64, at: u64, len: u32, is_key: bool) -> Result<(), VodError> {
        if len > MAX_SAMPLE {
            return Err(VodError::Layout { what: "sample", at });
        }
        if self.samples.len() >= crate::MAX_SAMPLES {
            return Err(VodError::TooLong);
        }
        let composition_ms = self.ms(offset).clamp(i64::from(i16::MIN), i64::from(i16::MAX));
        let sample = Sample {
            at,
            len,
            dts_ms: 0,
            composition_ms: i16::try_from(composition_ms).unwrap_or(0),
            is_video: self.is_video,
            is_key: self.is_video && is_key,
        };
        self.samples.push((dts, sample));
        Ok(())
    }
}

pub(crate) fn read(storage: &(impl Storage + ?Sized)) -> Result<Index, VodError> {
    let mut known = Movie::default();
    let (mut at, mut boxes) = (0, 0);
    while at + 8 <= storage.len() {
        boxes += 1;
        if boxes > MAX_BOXES {
            return Err(VodError::Layout { what: "file", at });
        }
        let head = take(storage, at, 16.min(usize::try_from(storage.len() - at).unwrap_or(16)))?;
        let name = head.get(4..8).unwrap_or(&[]);
        let (size, lead) = match number(&head, 0) {
            0 => (storage.len() - at, 8),
            1 => (u64::from(number(&head, 8)) << 32 | u64::from(number(&head, 12)), 16),
            size => (u64::from(size), 8),
        };
        if size < lead {
            return Err(VodError::Layout { what: "box", at });
        }
        // A file that was cut ends here.
        let Some(end) = at.checked_add(size).filter(|end| *end <= storage.len()) else { break };
        if name == b"moov" || name == b"moof" {
            if size > MAX_MOVIE {
                return Err(VodError::Layout { what: "movie", at });
            }
            let inside = take(storage, at + lead, as_len(size - lead))?;
            if name == b"moof" {
                fragment(&inside, at, storage.len(), &mut known.tracks)?;
            } else if known.tracks.is_empty() {
                known = movie(&inside, at, storage.len())?;
            }
        }
        at = end;
    }
    merge(known)
}

/// All samples of all tracks, from time 0 on.
fn merge(Movie { tracks, track_set, left_out }: Movie) -> Result<Index, VodError> {
    let mut all: Vec<(i64, Sample)> = Vec::new();
    let mut end = 0;
    for track in tracks {
        if !track.samples.is_empty() {
            end = end.max(track.ms(track.next.saturating_add(track.shift)));
        }
        let times: Vec<i64> = track.samples.iter().map(|(dts, _)| track.ms(dts + track.shift)).collect();
        all.extend(times.into_iter().zip(track.samples.into_iter().map(|(_, sample)| sample)));
    }
    if all.len() > crate::MAX_SAMPLES {
        return Err(VodError::TooLong);
    }
    all.sort_by_key(|(time, sample)| (*time, !sample.is_video));
    let first = all.first().map_or(0, |(time, _)| *time);
    let mut samples = Vec::with_capacity(all.len());
    for (time, sample) in all {
        let dts_ms =
            u32::try_from(time - first).map_err(|_| VodError::Layout { what: "time", at: sample.at })?;
        samples.push(Sample { dts_ms, ..sample });
    }
    let last_ms = samples.last().map_or(0, |last| last.dts_ms);
    let end_ms = u32::try_from(end.saturating_sub(first)).unwrap_or(0);
    // A table that says nothing of the last sample, or too much.
    let is_sound = end_ms > last_ms && end_ms - last_ms <= LONGEST_SAMPLE_MS;
    Ok(Index {
        samples,
        parts: vec![Part { first: 0, track_set }],
        end_ms: if is_sound { end_ms } else { 0 },
        left_out,
    })
}

/// `moov`: the tracks, and the samples that it lists.
fn movie(moov: &[u8], at: u64, file_len: u64) -> Result<Movie, VodError> {
    let wrong = |what| move || VodError::Layout { what, at };
    let movie_scale = find(moov, b"mvhd")
        .and_then(full)
        .and_then(|(version, _, mut cursor)| {
            cursor.take(if version == 1 { 16 } else { 8 }).ok()?;
            cursor.u32().ok()
        })
        .unwrap_or(1000);
    let (mut track_set, mut left_out) = (TrackSet::default(), Vec::new());
    let mut tracks = Vec::new();
    for (_, trak) in walk(moov).filter(|(name, _)| name == b"trak").take(MAX_TRACKS) {
        let media = find(trak, b"mdia").ok_or_else(wrong("trak"))?;
        let stbl = find_in(media, &[b"minf", b"stbl"]).ok_or_else(wrong("mdia"))?;
        let Some(is_video) = entry(stbl, &mut track_set, &mut left_out) else { continue };
        let id = find(trak, b"tkhd")
            .and_then(full)
            .and_then(|(version, _, mut cursor)| {
                cursor.take(if version == 1 { 16 } else { 8 }).ok()?;
                cursor.u32().ok()
            })
            .ok_or_else(wrong("tkhd"))?;
        let timescale = find(media, b"mdhd")
            .and_then(full)
            .and_then(|(version, _, mut cursor)| {
                cursor.take(if version == 1 { 16 } else { 8 }).ok()?;
                cursor.u32().ok().filter(|scale| *scale > 0)
            })
            .ok_or_else(wrong("mdhd"))?;
        let mut track = Track {
            id,
            timescale,
            is_video,
            shift: edit(trak, movie_scale, timescale),
            defaults: defaults(moov, id),
            next: 0,
            samples: Vec::new(),
        };
        listed(stbl, file_len, &mut track, at)?;
        tracks.push(track);
    }
    if tracks.is_empty() { Err(VodError::NoTrack) } else { Ok(Movie { tracks, track_set, left_out }) }
}

/// The first picture and the first sound track that can be packed are taken; `None` for all others.
fn entry(stbl: &[u8], track_set: &mut TrackSet, left_out: &mut Vec<String>) -> Option<bool> {
    match movie_entry::read(find(stbl, b"stsd")?) {
        Ok(movie_entry::Track::Video(track)) if track_set.video.is_none() => {
            track_set.video = Some(track);
            Some(true)
        }
        Ok(movie_entry::Track::Audio(track)) if track_set.audio.is_none() => {
            track_set.audio = Some(track);
            Some(false)
        }
        Ok(movie_entry::Track::Video(_)) => left_out_is(left_out, "another track of pictures".to_owned()),
        Ok(movie_entry::Track::Audio(_)) => left_out_is(left_out, "another track of sound".to_owned()),
        // Subtitles, chapters, time codes.
        Err(name) if matches!(&name, b"tx3g" | b"text" | b"tmcd" | b"wvtt" | b"stpp" | b"rtmd" | b"none") => {
            None
        }
        Err(name) => left_out_is(left_out, name.escape_ascii().to_string()),
    }
}

fn left_out_is(left_out: &mut Vec<String>, what: String) -> Option<bool> {
    left_out.push(what);
    None
}

/// The shift that a track's edit list asks for (8.6.6): what lies before its first entry is not shown, an empty one delays.
fn edit(trak: &[u8], movie_scale: u32, timescale: u32) -> i64 {
    let Some(elst) = find_in(trak, &[b"edts", b"elst"]) else { return 0 };
    let Some((version, _, mut cursor)) = full(elst) else { return 0 };
    let count = cursor.u32().unwrap_or(0).min(16);
    let mut delay = 0_i64;
    for _ in 0..count {
        let row = if version == 1 {
            cursor.u64().and_then(|duration| Ok((duration, cursor.u64()?.cast_signed())))
        } else {
            cursor
                .u32()
                .and_then(|duration| Ok((u64::from(duration), i64::from(cursor.u32()?.cast_signed()))))
        };
        let Ok((duration, media_time)) = row else { break };
        if cursor.u32().is_err() {
            break;
        }
        if media_time < 0 {
            let scaled = u128::from(duration) * u128::from(timescale) / u128::from(movie_scale.max(1));
            delay = delay.saturating_add(i64::try_from(scaled).unwrap_or(0));
        } else {
            return delay.saturating_sub(media_time.min(i64::from(timescale) * 3600));
        }
    }
    delay
}

/// What fragments of a track have when they do not say (8.8.3).
fn defaults(moov: &[u8], id: u32) -> (u32, u32, u32) {
    let Some(mvex) = find(moov, b"mvex") else { return (0, 0, 0) };
    let trex = walk(mvex).filter(|(name, _)| name == b"trex").map(|(_, inside)| inside);
    trex.filter(|trex| number(trex, 4) == id)
        .map(|trex| (number(trex, 12), number(trex, 16), number(trex, 20)))
        .next()
        .unwrap_or((0, 0, 0))
}

/// The samples that the sample tables list (8.6, 8.7).
fn listed(stbl: &[u8], file_len: u64, track: &mut Track, at: u64) -> Result<(), VodError> {
    let wrong = |what| move || VodError::Layout { what, at };
    let stsz = find(stbl, b"stsz").ok_or_else(wrong("stsz"))?;
    let (same, count) = (number(stsz, 4), number(stsz, 8));
    let sizes = stsz.get(12..).map_or(&[][..], |rest| rest.as_chunks::<4>().0);
    if count == 0 {
        return Ok(());
    }
    let count = as_len(count);
    if count > crate::MAX_SAMPLES {
        return Err(VodError::TooLong);
    }
    if same == 0 && sizes.len() < count {
        return Err(wrong("stsz")());
    }
    let short = find(stbl, b"stco").map(|stco| table::<4>(stco).ok_or_else(wrong("stco"))).transpose()?;
    let long = find(stbl, b"co64").map(|co64| table::<8>(co64).ok_or_else(wrong("co64"))).transpose()?;
    let chunk_at = |chunk: usize| -> Option<u64> {
        match (short, long) {
            (Some(short), _) => Some(u64::from(u32::from_be_bytes(*short.get(chunk)?))),
            (None, Some(long)) => Some(u64::from_be_bytes(*long.get(chunk)?)),
            (None, None) => None,
        }
    };
    let stsc = find(stbl, b"stsc").and_then(table::<12>).ok_or_else(wrong("stsc"))?;
    let stts = find(stbl, b"stts").and_then(table::<8>).ok_or_else(wrong("stts"))?;
    let ctts = find(stbl, b"ctts").and_then(table::<8>).unwrap_or(&[]);
    let signed = find(stbl, b"ctts").is_some();
    let keys = find(stbl, b"stss").map(|stss| table::<4>(stss).ok_or_else(wrong("stss"))).transpose()?;
    let mut times = Runs::new(stts);
    let mut offsets = Runs::new(ctts);
    let mut next_key = 0;
    let (mut chunk, mut left, mut place, mut entry) = (0_usize, 0_u32, 0_u64, 0_usize);
    let mut dts = 0_i64;
    for sample in 0..count {
        if left == 0 {
            // The rows of stsc say from which chunk (counted from 1) on how many samples a chunk has.
            while stsc.get(entry + 1).is_some_and(|row| number(row, 0) as usize <= chunk + 1) {
                entry += 1;
            }
            left = stsc.get(entry).map_or(0, |row| number(row, 4));
            place = chunk_at(chunk).ok_or_else(wrong("stco"))?;
            chunk += 1;
            if left == 0 {
                return Err(wrong("stsc")());
            }
        }
        left -= 1;
        let len = if same > 0 { same } else { sizes.get(sample).map_or(0, |size| u32::from_be_bytes(*size)) };
        let end = place.checked_add(u64::from(len)).filter(|end| *end <= file_len);
        let Some(end) = end else {
            // A file that was cut: what is there can be played.
            break;
        };
        let is_key = match keys {
            None => true,
            Some(keys) => {
                let is_it =
                    keys.get(next_key).is_some_and(|key| u32::from_be_bytes(*key) as usize == sample + 1);
                next_key += usize::from(is_it);
                is_it
            }
        };
        let offset = if signed { i64::from(offsets.next().unwrap_or(0).cast_signed()) } else { 0 };
        track.push(dts, offset, place, len, is_key)?;
        dts = dts.saturating_add(i64::from(times.next().unwrap_or(0)));
        place = end;
    }
    track.next = dts;
    Ok(())
}

/// Rows of a count and a value, one value after the other.
struct Runs<'a> {
    rows: std::slice::Iter<'a, [u8; 8]>,
    left: u32,
    value: u32,
}

impl<'a> Runs<'a> {
    fn new(rows: &'a [[u8; 8]]) -> Self {
        Self { rows: rows.iter(), left: 0, value: 0 }
    }

    fn next(&mut self) -> Option<u32> {
        while self.left == 0 {
            let row = self.rows.next()?;
            (self.left, self.value) = (number(row, 0), number(row, 4));
        }
        self.left -= 1;
        Some(self.value)
    }
}

/// `moof`: samples of a fragment (8.8).
fn fragment(moof: &[u8], moof_at: u64, file_len: u64, tracks: &mut [Track]) -> Result<(), VodError> {
    for (_, traf) in walk(moof).filter(|(name, _)| name == b"traf").take(MAX_TRACKS) {
        let wrong = |what| move || VodError::Layout { what, at: moof_at };
        let (_, flags, mut cursor) = find(traf, b"tfhd").and_then(full).ok_or_else(wrong("tfhd"))?;
        let short = |_| VodError::Layout { what: "tfhd", at: moof_at };
        let id = cursor.u32().map_err(short)?;
        let Some(track) = tracks.iter_mut().find(|track| track.id == id) else { continue };
        let base = if flags & 1 != 0 { cursor.u64().map_err(short)? } else { moof_at };
        if flags & 2 != 0 {
            cursor.u32().map_err(short)?;
        }
        let (mut duration, mut size, mut sample_flags) = track.defaults;
        for (bit, place) in [(8, &mut duration), (0x10, &mut size), (0x20, &mut sample_flags)] {
            if flags & bit != 0 {
                *place = cursor.u32().map_err(short)?;
            }
        }
        if let Some((version, _, mut cursor)) = find(traf, b"tfdt").and_then(full) {
            let time = if version == 1 { cursor.u64().ok() } else { cursor.u32().ok().map(u64::from) };
            track.next = time.and_then(|time| i64::try_from(time).ok()).ok_or_else(wrong("tfdt"))?;
        }
        let mut place = base;
        for (_, trun) in walk(traf).filter(|(name, _)| name == b"trun") {
            let (version, flags, mut cursor) = full(trun).ok_or_else(wrong("trun"))?;
            let short = |_| VodError::Layout { what: "trun", at: moof_at };
            let count = cursor.u32().map_err(short)?;
            if flags & 1 != 0 {
                let offset = i64::from(cursor.u32().map_err(short)?.cast_signed());
                place = base.checked_add_signed(offset).ok_or_else(wrong("trun"))?;
            }
            let first_flags = if flags & 4 != 0 { Some(cursor.u32().map_err(short)?) } else { None };
            for n in 0..count {
                let mut row = [duration, size, sample_flags, 0];
                for (bit, value) in [0x100, 0x200, 0x400, 0x800].into_iter().zip(&mut row) {
                    if flags & bit != 0 {
                        *value = cursor.u32().map_err(short)?;
                    }
                }
                let [duration, len, mut own_flags, offset] = row;
                if let (0, Some(first)) = (n, first_flags) {
                    own_flags = first;
                }
                let offset = if version == 0 { i64::from(offset) } else { i64::from(offset.cast_signed()) };
                let end = place.checked_add(u64::from(len)).filter(|end| *end <= file_len);
                let Some(end) = end else { return Ok(()) };
                let dts = track.next;
                // sample_is_non_sync_sample (8.8.3.1).
                track.push(dts, offset, place, len, own_flags & 0x1_0000 == 0)?;
                track.next = dts.saturating_add(i64::from(duration));
                place = end;
                // A run of empty samples without fields of their own would go on for ever.
                if len == 0 && flags & 0xf00 == 0 && n > 4096 {
                    return Err(wrong("trun")());
                }
            }
        }
    }
    Ok(())
}
