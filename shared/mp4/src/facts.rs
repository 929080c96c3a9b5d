//! What files of fragments say of themselves: enough to go on writing one, or to finish it for somebody else. Only what this
//! crate writes is read with all its details; of others' boxes nothing but their lengths counts.

use media::cursor::{Cursor, Short};

use crate::boxes::{boxed, patch, patch_u64};

/// A box on the highest level: its name, and how long it is.
#[must_use]
pub fn head(bytes: [u8; 8]) -> ([u8; 4], u64) {
    let [a, b, c, d, name @ ..] = bytes;
    (name, u64::from(u32::from_be_bytes([a, b, c, d])))
}

/// A box between fragments that players pass over, for whoever goes on writing the file.
#[must_use]
pub fn note(content: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    boxed(&mut out, *b"free", |out| out.extend_from_slice(content));
    out
}

/// A fragment, as its `moof` tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FragmentFacts {
    /// Its number.
    pub sequence: u32,
    /// Its runs, in their order.
    pub runs: Vec<RunFacts>,
}

/// What a fragment has of one track.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunFacts {
    /// Number of the track.
    pub track: u32,
    /// When the first sample is shown, ms.
    pub shown_ms: u64,
    /// DTS of the last sample, ms.
    pub last_ms: u64,
    /// When the last sample ends, ms.
    pub end_ms: u64,
    /// A decoder can begin with the first sample.
    pub is_sync: bool,
}

/// The boxes in `bytes`: name, where the content begins, and the content. One that claims more than there is ends the walk.
fn walk(bytes: &[u8]) -> impl Iterator<Item = ([u8; 4], usize, &[u8])> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let (name, len) = head(*bytes.get(at..)?.first_chunk()?);
        let end = at.checked_add(usize::try_from(len).ok()?)?;
        let begin = at + 8;
        let inside = bytes.get(begin..end)?;
        at = end;
        Some((name, begin, inside))
    })
}

/// Reads a `moof` with what stands behind it, or without. `None` when it is not of the form that this crate writes.
#[must_use]
pub fn fragment_facts(bytes: &[u8]) -> Option<FragmentFacts> {
    let (name, _, moof) = walk(bytes).next()?;
    if &name != b"moof" {
        return None;
    }
    let mut facts = FragmentFacts { sequence: 0, runs: Vec::new() };
    for (name, _, inside) in walk(moof) {
        match &name {
            b"mfhd" => facts.sequence = Cursor::new(inside.get(4..)?).u32().ok()?,
            b"traf" => facts.runs.extend(run(inside).ok()?),
            _ => {}
        }
    }
    Some(facts)
}

fn run(traf: &[u8]) -> Result<Option<RunFacts>, Short> {
    let (mut track, mut time) = (0, 0);
    for (name, _, inside) in walk(traf) {
        let mut cursor = Cursor::new(inside);
        let (version, flags) = (cursor.u8()?, cursor.u24()?);
        match &name {
            b"tfhd" => track = cursor.u32()?,
            b"tfdt" => time = if version == 1 { cursor.u64()? } else { u64::from(cursor.u32()?) },
            b"trun" if flags == 0xf01 => {
                let count = cursor.u32()?;
                cursor.u32()?;
                let mut run: Option<RunFacts> = None;
                for _ in 0..count {
                    let (duration, _, flags) = (cursor.u32()?, cursor.u32()?, cursor.u32()?);
                    let composition = i64::from(cursor.u32()?.cast_signed());
                    let facts = run.get_or_insert_with(|| RunFacts {
                        track,
                        shown_ms: time.saturating_add_signed(composition),
                        last_ms: time,
                        end_ms: time,
                        is_sync: flags & 0x0001_0000 == 0,
                    });
                    facts.last_ms = facts.end_ms;
                    facts.end_ms = facts.end_ms.saturating_add(u64::from(duration));
                }
                return Ok(run);
            }
            _ => {}
        }
    }
    Ok(None)
}

/// Writes a duration into an initialisation segment that has room for it, wherever that is.
pub fn set_duration(init: &mut [u8], duration_ms: u64) {
    let moov = walk(init).find(|(name, ..)| name == b"moov").map(|(_, at, inside)| (at, inside));
    let Some((moov_at, moov)) = moov else { return };
    let mut places = Vec::new();
    for (name, at, inside) in walk(moov) {
        let at = moov_at + at;
        match &name {
            // Behind version, flags, two times and the units.
            b"mvhd" => places
                .push((at + if inside.first() == Some(&1) { 24 } else { 16 }, inside.first() == Some(&1))),
            b"mvex" => {
                let mehd = walk(inside).find(|(name, ..)| name == b"mehd");
                places.extend(mehd.map(|(_, inner, inside)| (at + inner + 4, inside.first() == Some(&1))));
            }
            _ => {}
        }
    }
    for (at, is_long) in places {
        if is_long {
            patch_u64(init, at, duration_ms);
        } else {
            patch(init, at, u32::try_from(duration_ms).unwrap_or(u32::MAX));
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::{Entry, Run, Sample, TrackInfo, fragment, init, init_of_file};

    #[test]
    fn a_fragment_is_read_as_it_was_written() {
        let sample = |is_sync, composition_ms| Sample {
            duration_ms: 40,
            composition_ms,
            is_sync,
            data: Bytes::from_static(b"data"),
        };
        let runs = [
            Run { track: 1, dts_ms: 1 << 33, samples: vec![sample(true, 80), sample(false, -40)] },
            Run { track: 2, dts_ms: 5, samples: vec![sample(false, 0)] },
        ];
        let bytes = fragment(7, &runs);
        let first = RunFacts {
            track: 1,
            shown_ms: (1 << 33) + 80,
            last_ms: (1 << 33) + 40,
            end_ms: (1 << 33) + 80,
            is_sync: true,
        };
        let second = RunFacts { track: 2, shown_ms: 5, last_ms: 5, end_ms: 45, is_sync: false };
        assert_eq!(fragment_facts(&bytes), Some(FragmentFacts { sequence: 7, runs: vec![first, second] }));
        for len in 0..bytes.len() {
            let _ = fragment_facts(&bytes[..len]);
        }
    }

    #[test]
    fn a_duration_is_written_where_there_is_room_for_it() {
        let entry = Entry::Mp3 { channels: 2, sample_rate: 44_100 };
        let tracks = [TrackInfo { id: 2, entry, colours: None }];
        let (mut file, mut live) = (init_of_file(&tracks), init(&tracks));
        let before = file.clone();
        set_duration(&mut file, 0x0001_0002_0003);
        let differ = before.iter().zip(&file).filter(|(one, other)| one != other).count();
        // Three bytes of the long number; the short one, which can't say so much, says the most that it can.
        assert_eq!((before.len(), differ), (file.len(), 7));
        set_duration(&mut file, 0);
        assert_eq!(before, file);
        set_duration(&mut live, 1);
        set_duration(&mut [0, 0, 0, 9, b'm', b'o', b'o', b'v'], 1);
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..256)) {
            let mut moof = [&[0, 0, 1, 8][..], b"moof", &bytes].concat();
            let _ = fragment_facts(&moof);
            moof.splice(4..8, *b"moov");
            set_duration(&mut moof, 1);
        }
    }
}
