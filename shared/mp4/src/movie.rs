//! Reading a file that is not fragmented: the tables of its `moov` box as a list of samples (ISO/IEC 14496-12, 8.6–8.7).
//!
//! Everything that a table says is checked against what is there and against budgets; what remains are places in a file
//! that somebody else reads, and finds out whether they exist.

use bytes::Bytes;
use media::cursor::{Cursor, Short};

use crate::Entry;
use crate::init::TrackInfo;

/// Most samples of all tracks of a file.
pub const MAX_SAMPLES: usize = 2_000_000;
/// Most boxes in one box.
const MAX_BOXES: usize = 1000;
/// Most tracks that are looked at.
const MAX_TRACKS: usize = 16;

/// Why a file can't be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MovieError {
    /// A box or a table ends too early.
    #[error("a box is too short: {0}")]
    Short(#[from] Short),
    /// Something that has to be there is not.
    #[error("the box {} is missing", String::from_utf8_lossy(.0))]
    Missing([u8; 4]),
    /// A budget is used up.
    #[error("more samples or boxes than are taken")]
    TooMany,
    /// Tables that contradict each other.
    #[error("the tables of samples contradict each other")]
    Tables,
}

/// A picture or a sound in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MovieSample {
    /// DTS, ms.
    pub dts_ms: i64,
    /// How much later it is shown, ms.
    pub composition_ms: i32,
    /// Where its bytes begin in the file.
    pub offset: u64,
    /// How many there are.
    pub size: u32,
    /// A decoder can begin here.
    pub is_sync: bool,
}

/// A track that can be played.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MovieTrack {
    /// What it is coded with.
    pub info: TrackInfo,
    /// Its samples in the order of their DTS.
    pub samples: Vec<MovieSample>,
}

/// Reads the content of a `moov` box. Tracks of codecs that are not known here are left out.
///
/// # Errors
/// [`MovieError`].
pub fn read_movie(moov: &Bytes) -> Result<Vec<MovieTrack>, MovieError> {
    let boxes = boxes(moov)?;
    let movie_scale = find(&boxes, *b"mvhd").and_then(|mvhd| header_timescale(&mvhd).ok()).unwrap_or(1000);
    let mut tracks = Vec::new();
    let mut left = MAX_SAMPLES;
    for (_, trak) in boxes.iter().filter(|(name, _)| name == b"trak").take(MAX_TRACKS) {
        if let Some(track) = read_track(trak, movie_scale, &mut left)? {
            tracks.push(track);
        }
    }
    if tracks.is_empty() { Err(MovieError::Missing(*b"trak")) } else { Ok(tracks) }
}

type Boxes = Vec<([u8; 4], Bytes)>;

/// The boxes in a box.
fn boxes(bytes: &Bytes) -> Result<Boxes, MovieError> {
    let mut cursor = Cursor::new(bytes);
    let mut found = Vec::new();
    while cursor.left() >= 8 {
        let len = cursor.u32()? as usize;
        let name = cursor.take_array()?;
        let content = match len {
            // To the end of what is around it.
            0 => cursor.take_rest(),
            1 => {
                let len = usize::try_from(cursor.u64()?).unwrap_or(usize::MAX);
                cursor.take(len.saturating_sub(16))?
            }
            _ => cursor.take(len.saturating_sub(8))?,
        };
        found.push((name, bytes.slice_ref(content)));
        if found.len() > MAX_BOXES {
            return Err(MovieError::TooMany);
        }
    }
    Ok(found)
}

fn find(boxes: &Boxes, name: [u8; 4]) -> Option<Bytes> {
    boxes.iter().find(|(known, _)| *known == name).map(|(_, content)| content.clone())
}

fn within(bytes: &Bytes, path: &[[u8; 4]]) -> Result<Bytes, MovieError> {
    let mut at = bytes.clone();
    for name in path {
        at = find(&boxes(&at)?, *name).ok_or(MovieError::Missing(*name))?;
    }
    Ok(at)
}

/// The timescale in a header with version, two times and it.
fn header_timescale(bytes: &Bytes) -> Result<u32, MovieError> {
    let mut cursor = Cursor::new(bytes);
    let version = cursor.u8()?;
    cursor.take(if version == 1 { 3 + 16 } else { 3 + 8 })?;
    Ok(cursor.u32()?.max(1))
}

fn read_track(trak: &Bytes, movie_scale: u32, left: &mut usize) -> Result<Option<MovieTrack>, MovieError> {
    let mdia = within(trak, &[*b"mdia"])?;
    let scale = header_timescale(&within(&mdia, &[*b"mdhd"])?)?;
    let table = within(&mdia, &[*b"minf", *b"stbl"])?;
    let table = boxes(&table)?;
    let stsd = find(&table, *b"stsd").ok_or(MovieError::Missing(*b"stsd"))?;
    let Some(entry) = read_entry(&stsd)? else { return Ok(None) };
    let id = if entry.is_video() { 1 } else { 2 };
    let shift = first_edit(trak, movie_scale, scale);
    let samples = read_samples(&table, scale, shift, left)?;
    Ok(Some(MovieTrack { info: TrackInfo { id, entry }, samples }))
}

/// How much earlier the track's media begins than it is shown, in its own units.
fn first_edit(trak: &Bytes, movie_scale: u32, scale: u32) -> i64 {
    let Ok(elst) = within(trak, &[*b"edts", *b"elst"]) else { return 0 };
    let mut cursor = Cursor::new(&elst);
    let mut read = || -> Result<i64, Short> {
        let version = cursor.u8()?;
        cursor.take(3)?;
        let mut shift = 0;
        for _ in 0..cursor.u32()?.min(2) {
            let (duration, time) = if version == 1 {
                (cursor.u64()?, cursor.u64()?.cast_signed())
            } else {
                (u64::from(cursor.u32()?), i64::from(cursor.u32()?.cast_signed()))
            };
            cursor.take(4)?;
            if time >= 0 {
                return Ok(shift + time);
            }
            // An empty edit: it is shown later.
            let wait = u128::from(duration) * u128::from(scale) / u128::from(movie_scale);
            shift -= i64::try_from(wait).unwrap_or(0);
        }
        Ok(shift)
    };
    read().unwrap_or(0)
}

fn read_entry(stsd: &Bytes) -> Result<Option<Entry>, MovieError> {
    let mut cursor = Cursor::new(stsd);
    cursor.take(8)?;
    let entries = boxes(&stsd.slice_ref(cursor.take_rest()))?;
    let Some((name, content)) = entries.first() else { return Ok(None) };
    let mut cursor = Cursor::new(content);
    match name {
        b"avc1" | b"avc3" | b"hvc1" | b"hev1" => {
            cursor.take(24)?;
            let size = (u32::from(cursor.u16()?), u32::from(cursor.u16()?));
            cursor.take(50)?;
            let inner = boxes(&content.slice_ref(cursor.take_rest()))?;
            let avc = find(&inner, *b"avcC").map(|record| Entry::Avc { record, size });
            Ok(avc.or_else(|| find(&inner, *b"hvcC").map(|record| Entry::Hevc { record, size })))
        }
        b"mp4a" => {
            cursor.take(8)?;
            let version = cursor.u16()?;
            cursor.take(6)?;
            let channels = cursor.u16()?;
            cursor.take(6)?;
            let sample_rate = cursor.u32()? >> 16;
            // QuickTime's longer forms.
            cursor.take(match version {
                1 => 16,
                2 => 36,
                _ => 0,
            })?;
            let inner = boxes(&content.slice_ref(cursor.take_rest()))?;
            let esds = match find(&inner, *b"esds") {
                Some(esds) => Some(esds),
                None => find(&inner, *b"wave").and_then(|wave| find(&boxes(&wave).ok()?, *b"esds")),
            };
            Ok(esds.and_then(|esds| of_descriptors(&esds, channels, sample_rate).ok().flatten()))
        }
        _ => Ok(None),
    }
}

/// The codec of an elementary stream descriptor.
fn of_descriptors(esds: &Bytes, channels: u16, sample_rate: u32) -> Result<Option<Entry>, MovieError> {
    fn next<'a>(cursor: &mut Cursor<'a>) -> Result<(u8, Cursor<'a>), Short> {
        let tag = cursor.u8()?;
        let mut len = 0_usize;
        for _ in 0..4 {
            let byte = cursor.u8()?;
            len = len << 7 | usize::from(byte & 0x7f);
            if byte & 0x80 == 0 {
                break;
            }
        }
        let len = len.min(cursor.left());
        Ok((tag, cursor.sub(len)?))
    }
    let mut cursor = Cursor::new(esds);
    cursor.take(4)?;
    let (_, mut stream) = next(&mut cursor)?;
    stream.take(2)?;
    let flags = stream.u8()?;
    if flags & 0x80 != 0 {
        stream.take(2)?;
    }
    if flags & 0x40 != 0 {
        let len = usize::from(stream.u8()?);
        stream.take(len)?;
    }
    if flags & 0x20 != 0 {
        stream.take(2)?;
    }
    let (_, mut config) = next(&mut stream)?;
    let object_type = config.u8()?;
    config.take(12)?;
    match object_type {
        0x40 | 0x66..=0x68 => {
            let (_, mut specific) = next(&mut config)?;
            let record = esds.slice_ref(specific.take_rest());
            Ok(Some(Entry::Aac { record, channels, sample_rate }))
        }
        0x69 | 0x6b => Ok(Some(Entry::Mp3 { channels, sample_rate })),
        _ => Ok(None),
    }
}

/// A table behind its version, flags and count.
fn entries(table: &Boxes, name: [u8; 4]) -> Result<(Cursor<'_>, u32), MovieError> {
    let (_, content) = table.iter().find(|(known, _)| *known == name).ok_or(MovieError::Missing(name))?;
    let mut cursor = Cursor::new(content);
    cursor.take(4)?;
    let count = cursor.u32()?;
    Ok((cursor, count))
}

fn read_samples(
    table: &Boxes,
    scale: u32,
    shift: i64,
    left: &mut usize,
) -> Result<Vec<MovieSample>, MovieError> {
    let sizes = read_sizes(table, left)?;
    let offsets = read_offsets(table, &sizes)?;
    let ms = |units: i64| {
        let ms = i128::from(units) * 1000 / i128::from(scale);
        i64::try_from(ms).unwrap_or(i64::MAX)
    };
    let mut samples: Vec<MovieSample> = Vec::with_capacity(sizes.len());
    let (mut times, mut left_times) = entries(table, *b"stts")?;
    let (mut run, mut delta, mut units) = (0_u32, 0_u32, 0_i64);
    let mut late = entries(table, *b"ctts").ok();
    let (mut late_run, mut late_by) = (0_u32, 0_i32);
    for (size, offset) in sizes.into_iter().zip(offsets) {
        while run == 0 && left_times > 0 {
            (run, delta) = (times.u32()?, times.u32()?);
            left_times -= 1;
        }
        if let Some((cursor, count)) = &mut late {
            while late_run == 0 && *count > 0 {
                (late_run, late_by) = (cursor.u32()?, cursor.u32()?.cast_signed());
                *count -= 1;
            }
        }
        let dts = units.saturating_sub(shift);
        let (dts_ms, pts_ms) = (ms(dts), ms(dts.saturating_add(i64::from(late_by))));
        let composition_ms = i32::try_from(pts_ms - dts_ms).unwrap_or(0);
        samples.push(MovieSample { dts_ms, composition_ms, offset, size, is_sync: true });
        units = units.saturating_add(i64::from(delta));
        run = run.saturating_sub(1);
        late_run = late_run.saturating_sub(1);
        if late_run == 0 && late.as_ref().is_some_and(|(_, count)| *count == 0) {
            late_by = 0;
        }
    }
    // Without this table every sample can be begun with.
    if let Ok((mut syncs, count)) = entries(table, *b"stss") {
        samples.iter_mut().for_each(|sample| sample.is_sync = false);
        for _ in 0..count {
            let number = syncs.u32()? as usize;
            if let Some(sample) = number.checked_sub(1).and_then(|at| samples.get_mut(at)) {
                sample.is_sync = true;
            }
        }
    }
    Ok(samples)
}

fn read_sizes(table: &Boxes, left: &mut usize) -> Result<Vec<u32>, MovieError> {
    let (_, stsz) = table.iter().find(|(name, _)| name == b"stsz").ok_or(MovieError::Missing(*b"stsz"))?;
    let mut cursor = Cursor::new(stsz);
    cursor.take(4)?;
    let (same, count) = (cursor.u32()?, cursor.u32()? as usize);
    *left = left.checked_sub(count).ok_or(MovieError::TooMany)?;
    if same != 0 {
        return Ok(vec![same; count]);
    }
    // As many as there are bytes for, whatever is said.
    let mut bytes = Cursor::new(cursor.take(count.checked_mul(4).ok_or(MovieError::TooMany)?)?);
    let mut sizes = Vec::with_capacity(count);
    while !bytes.is_empty() {
        sizes.push(bytes.u32()?);
    }
    Ok(sizes)
}

fn read_offsets(table: &Boxes, sizes: &[u32]) -> Result<Vec<u64>, MovieError> {
    let (mut chunks, count, is_long) = match entries(table, *b"stco") {
        Ok((cursor, count)) => (cursor, count, false),
        Err(_) => {
            let (cursor, count) = entries(table, *b"co64")?;
            (cursor, count, true)
        }
    };
    let (mut groups, mut left_groups) = entries(table, *b"stsc")?;
    let mut offsets = Vec::with_capacity(sizes.len());
    let mut next_group = if left_groups > 0 {
        left_groups -= 1;
        let group = (groups.u32()?, groups.u32()?);
        groups.u32()?;
        Some(group)
    } else {
        None
    };
    let mut per_chunk = 0;
    for chunk in 1..=count {
        while let Some((first, samples)) = next_group.filter(|(first, _)| *first <= chunk) {
            let _ = first;
            per_chunk = samples;
            next_group = if left_groups > 0 {
                left_groups -= 1;
                let group = (groups.u32()?, groups.u32()?);
                groups.u32()?;
                Some(group)
            } else {
                None
            };
        }
        let mut at = if is_long { chunks.u64()? } else { u64::from(chunks.u32()?) };
        for _ in 0..per_chunk {
            let Some(size) = sizes.get(offsets.len()) else { return Ok(offsets) };
            offsets.push(at);
            at = at.checked_add(u64::from(*size)).ok_or(MovieError::Tables)?;
        }
    }
    if offsets.len() == sizes.len() { Ok(offsets) } else { Err(MovieError::Tables) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boxes::{boxed, full, u32};

    fn movie(stsz_count: u32, chunk_samples: u32) -> Bytes {
        let mut out = Vec::new();
        boxed(&mut out, *b"trak", |out| {
            boxed(out, *b"mdia", |out| {
                full(out, *b"mdhd", 0, 0, |out| [0, 0, 1000, 0].iter().for_each(|value| u32(out, *value)));
                boxed(out, *b"minf", |out| {
                    boxed(out, *b"stbl", |out| {
                        full(out, *b"stsd", 0, 0, |out| {
                            u32(out, 1);
                            Entry::Avc { record: Bytes::from_static(b"record"), size: (4, 2) }.write(out);
                        });
                        let table = |out: &mut Vec<u8>, name, values: &[u32]| {
                            full(out, name, 0, 0, |out| values.iter().for_each(|value| u32(out, *value)));
                        };
                        table(out, *b"stts", &[1, 4, 40]);
                        table(out, *b"ctts", &[2, 1, 80, 3, 0]);
                        table(out, *b"stsz", &[0, stsz_count, 10, 20, 30, 40]);
                        table(out, *b"stsc", &[2, 1, chunk_samples, 1, 2, 1, 1]);
                        table(out, *b"stco", &[2, 1000, 5000]);
                        table(out, *b"stss", &[1, 3]);
                    });
                });
            });
        });
        out.into()
    }

    #[test]
    fn tables_become_samples() {
        let tracks = read_movie(&movie(4, 3)).unwrap();
        let got: Vec<_> = tracks[0]
            .samples
            .iter()
            .map(|sample| (sample.dts_ms, sample.composition_ms, sample.offset, sample.size, sample.is_sync))
            .collect();
        assert_eq!(
            got,
            [
                (0, 80, 1000, 10, false),
                (40, 0, 1010, 20, false),
                (80, 0, 1030, 30, true),
                (120, 0, 5000, 40, false)
            ]
        );
        assert_eq!(tracks[0].info.entry, Entry::Avc { record: Bytes::from_static(b"record"), size: (4, 2) });
    }

    #[test]
    fn tables_that_lie_are_refused() {
        assert!(matches!(read_movie(&movie(u32::MAX, 3)), Err(MovieError::TooMany)));
        assert!(matches!(read_movie(&movie(1_000_000, 3)), Err(MovieError::Short(_))));
        assert_eq!(read_movie(&movie(4, 1)), Err(MovieError::Tables));
        assert_eq!(read_movie(&movie(4, u32::MAX)).map(|tracks| tracks[0].samples.len()), Ok(4));
        let many: Vec<u8> = b"\0\0\0\x08pssh".repeat(100_000);
        assert_eq!(read_movie(&many.into()), Err(MovieError::TooMany));
        assert!(read_movie(&Bytes::from_static(b"\xff\xff\xff\xfftrak")).is_err());
        assert!(read_movie(&Bytes::from_static(b"\0\0\0\x01trak\xff\xff\xff\xff\xff\xff\xff\xff")).is_err());
    }

    proptest::proptest! {
        #[test]
        fn a_broken_file_is_read_without_harm(at in 0_usize..500, value in proptest::num::u8::ANY, cut in 0_usize..600) {
            let mut bytes = movie(4, 3).to_vec();
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
            bytes.truncate(cut);
            let _ = read_movie(&bytes.into());
        }
    }
}
