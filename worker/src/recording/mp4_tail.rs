//! The end of a fragmented MP4 file that is continued: number and times of its last fragment. Each part begins with a box that
//! players pass over, and that says which publish it is of.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;

use media::cursor::Cursor;
use mp4::set_duration;
use remux::{AccessUnit, Mp4Packager, mp4_id};

use super::FRAGMENT_MS;
use super::continued::{Found, Length, Origin, Start, Tail};
use super::flv_file::Patch;
use super::mp4_file::Mp4File;
use crate::reading::Publish;

/// What the box of a part begins with.
const MAGIC: &[u8] = b"continues";

/// A file with what is known of its end.
#[derive(Debug)]
pub(crate) struct Mp4Tail {
    file: Mp4File,
    packager: Mp4Packager,
    base_ms: i64,
    /// Nothing that follows is earlier, ms.
    floor_ms: i64,
    /// What follows may be in the file already,
    repeats: bool,
    /// but not what follows of these tracks.
    passed: BTreeSet<u32>,
}

impl Mp4Tail {
    fn of(file: Mp4File) -> Self {
        let packager = Mp4Packager::new(FRAGMENT_MS);
        Self { file, packager, base_ms: 0, floor_ms: 0, repeats: false, passed: BTreeSet::new() }
    }

    /// Begins a file; `None` when nothing of the stream can be in it.
    pub(crate) fn begin(start: &Start) -> Option<(Self, Vec<u8>)> {
        let head = Mp4Packager::init_of_file(&start.track_set)?;
        Some((Self::of(Mp4File::begin(head.clone())), head))
    }

    /// Reads a file that is there.
    pub(crate) fn find(file: &File, start: &Start) -> io::Result<Found> {
        let Some(file) = Mp4File::read_back(file)? else { return Ok(Found::Alien) };
        let mut head = file.head().to_vec();
        set_duration(&mut head, 0);
        if Mp4Packager::init_of_file(&start.track_set).is_none_or(|wanted| wanted != head) {
            return Ok(Found::Other("has other tracks"));
        }
        Ok(Found::Fits(Tail::Mp4(Box::new(Self::of(file)))))
    }

    /// Something follows. Returns what is written before it.
    pub(crate) fn go_on(&mut self, start: &Start) -> Vec<u8> {
        let end_ms = i64::try_from(self.file.end_ms()).unwrap_or(0);
        let known = self.file.last_note().and_then(origin_of).filter(|known| known.publish == start.publish);
        (self.repeats, self.passed) = (known.is_some(), BTreeSet::new());
        self.floor_ms = if known.is_some() { 0 } else { end_ms };
        self.base_ms = known.map_or(start.dts_ms - end_ms, |known| known.offset_ms);
        self.packager = Mp4Packager::go_on(FRAGMENT_MS, self.file.sequence(), self.base_ms);
        if known.is_some() {
            return Vec::new();
        }
        let note = mp4::note(&note_of(Origin { publish: start.publish, offset_ms: self.base_ms }));
        self.file.pass(note.len());
        note
    }

    /// Takes a sample; appends the fragment that is complete with it.
    pub(crate) fn take(&mut self, dts_ms: i64, coded: &AccessUnit, out: &mut Vec<u8>) {
        let time_ms = dts_ms.saturating_sub(self.base_ms);
        if time_ms < self.floor_ms {
            return;
        }
        let track = mp4_id(coded.kind, coded.track);
        if self.repeats && !self.passed.contains(&track) {
            let last_ms = self.file.last_ms(track);
            if last_ms.is_some_and(|last_ms| u64::try_from(time_ms).is_ok_and(|time_ms| time_ms <= last_ms)) {
                return;
            }
            self.passed.insert(track);
        }
        if let Some(fragment) = self.packager.push(dts_ms, coded.clone()) {
            self.file.fragment(&fragment.bytes);
            out.extend_from_slice(&fragment.bytes);
        }
    }

    pub(crate) fn finish(&mut self) -> (Vec<u8>, Patch) {
        let mut bytes = Vec::new();
        if let Some(fragment) = self.packager.flush() {
            self.file.fragment(&fragment.bytes);
            bytes.extend_from_slice(&fragment.bytes);
        }
        let (index, patch) = self.file.finish();
        bytes.extend_from_slice(&index);
        (bytes, patch)
    }

    pub(crate) fn length(&self) -> Length {
        Length { duration_ms: self.file.end_ms(), bytes: self.file.len() }
    }
}

fn note_of(origin: Origin) -> Vec<u8> {
    let mut note = MAGIC.to_vec();
    note.extend_from_slice(&origin.publish.born_ns.to_be_bytes());
    note.extend_from_slice(&origin.publish.first_seq.to_be_bytes());
    note.extend_from_slice(&origin.offset_ms.to_be_bytes());
    note
}

fn origin_of(note: &[u8]) -> Option<Origin> {
    let mut cursor = Cursor::new(note.strip_prefix(MAGIC)?);
    let publish = Publish { born_ns: cursor.u64().ok()?, first_seq: cursor.u64().ok()? };
    Some(Origin { publish, offset_ms: cursor.u64().ok()?.cast_signed() })
}
