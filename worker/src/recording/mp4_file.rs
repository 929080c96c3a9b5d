//! A fragmented MP4 file while it is written: playable after every fragment; with its duration at the beginning and an index
//! of key frames at the end when it is finished.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use mp4::{FragmentIndex, fragment_facts, set_duration};

use super::flv_file::Patch;

/// Largest header, and largest description of a fragment, that is read back.
const MAX_BOX: u64 = 4 << 20;
/// Largest note between fragments.
const MAX_NOTE: u64 = 256;
/// The track that the index is about: the first pictures (number 1) where there are any, else the first sounds.
const TRACKS: [u32; 2] = [1, 2];

/// Room behind a beginning for a track that shows itself later.
const ROOM: usize = 3072;

/// A beginning with room for a track more.
pub(crate) fn with_room(head: &[u8]) -> Vec<u8> {
    padded(head, head.len() + ROOM).unwrap_or_else(|| head.to_vec())
}

/// A beginning with a box behind it that players pass over; `None` when it does not fit into so many bytes.
fn padded(head: &[u8], len: usize) -> Option<Vec<u8>> {
    let room = len.checked_sub(head.len())?;
    let filler = match room.checked_sub(8) {
        Some(room) => mp4::note(&vec![0; room]),
        None if room == 0 => Vec::new(),
        None => return None,
    };
    Some([head, &filler].concat())
}

/// A file.
#[derive(Debug, Clone)]
pub(crate) struct Mp4File {
    head: Vec<u8>,
    indices: [FragmentIndex; 2],
    len: u64,
    end_ms: u64,
    /// Number of the last fragment.
    sequence: u32,
    /// DTS of the last samples, by the numbers of the tracks, ms.
    last_ms: BTreeMap<u32, u64>,
    /// What was noted last between fragments.
    note: Option<Vec<u8>>,
}

impl Mp4File {
    /// Begins a file with what stands in front of all fragments.
    pub(crate) fn begin(head: Vec<u8>) -> Self {
        let len = head.len() as u64;
        let indices = TRACKS.map(FragmentIndex::new);
        Self { head, indices, len, end_ms: 0, sequence: 0, last_ms: BTreeMap::new(), note: None }
    }

    /// What stands in front of all fragments.
    pub(crate) fn head(&self) -> &[u8] {
        &self.head
    }

    /// When the last sample ends, ms.
    pub(crate) fn end_ms(&self) -> u64 {
        self.end_ms
    }

    /// Number of the last fragment.
    pub(crate) fn sequence(&self) -> u32 {
        self.sequence
    }

    /// DTS of the last sample of the track with this number, ms.
    pub(crate) fn last_ms(&self, track: u32) -> Option<u64> {
        self.last_ms.get(&track).copied()
    }

    /// What was noted last between fragments.
    pub(crate) fn last_note(&self) -> Option<&[u8]> {
        self.note.as_deref()
    }

    /// Something that is no fragment is appended.
    pub(crate) fn pass(&mut self, len: usize) {
        self.len += len as u64;
    }

    /// Bytes so far.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Whether there is no fragment in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.sequence == 0
    }

    /// Another beginning, for a file that gets a track more. `None` when there is no room for it.
    pub(crate) fn set_head(&mut self, head: &[u8]) -> Option<Patch> {
        self.head = padded(head, self.head.len())?;
        Some(Patch { at: 0, bytes: self.head.clone() })
    }

    /// A fragment is appended.
    pub(crate) fn fragment(&mut self, bytes: &[u8]) {
        self.note(bytes);
        self.len += bytes.len() as u64;
    }

    /// What a fragment says; it begins where the file ends now.
    fn note(&mut self, bytes: &[u8]) {
        let Some(facts) = fragment_facts(bytes) else { return };
        self.sequence = facts.sequence;
        for run in &facts.runs {
            self.end_ms = self.end_ms.max(run.end_ms);
            self.last_ms.insert(run.track, run.last_ms);
        }
        self.indices.iter_mut().for_each(|index| index.note(self.len, &facts));
    }

    /// What is appended when nothing follows any more, and what is written over the beginning.
    pub(crate) fn finish(&self) -> (Vec<u8>, Patch) {
        let [pictures, sounds] = &self.indices;
        let has = TRACKS.map(|track| self.last_ms.contains_key(&track));
        let index = if has == [false, true] { sounds } else { pictures };
        let mut bytes = self.head.clone();
        set_duration(&mut bytes, self.end_ms);
        (index.write(), Patch { at: 0, bytes })
    }

    /// Takes up a file that was left behind: what of it is whole. Returns `None` when it is no file of fragments; an index at
    /// the end counts as not there.
    pub(crate) fn read_back(file: &File) -> io::Result<Option<Self>> {
        let total = file.metadata()?.len();
        let mut back: Option<Self> = None;
        let mut at = 0;
        let mut fragment = None;
        while at + 8 <= total {
            let mut first = [0; 8];
            file.read_exact_at(&mut first, at)?;
            let (name, len) = mp4::head(first);
            if len < 8 || at + len > total || &name == b"mfra" {
                break;
            }
            let content = |at: u64, len: u64| {
                let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
                file.read_exact_at(&mut bytes, at)?;
                Ok::<_, io::Error>(bytes)
            };
            match (&name, &mut back) {
                (b"moov", None) if at + len <= MAX_BOX => {
                    let mut head = vec![0; usize::try_from(at + len).unwrap_or(0)];
                    file.read_exact_at(&mut head, 0)?;
                    back = Some(Self::begin(head));
                }
                (b"moof", Some(_)) if len <= MAX_BOX => fragment = Some((at, content(at, len)?)),
                (b"free", Some(back)) if len <= MAX_NOTE => {
                    back.note = Some(content(at + 8, len - 8)?);
                    back.len = at + len;
                }
                (b"mdat", Some(back)) => {
                    if let Some((begin, bytes)) = fragment.take() {
                        back.len = begin;
                        back.note(&bytes);
                    }
                    back.len = at + len;
                }
                _ => {}
            }
            at += len;
        }
        Ok(back)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use bytes::Bytes;
    use mp4::{Entry, Run, Sample, TrackInfo, fragment, init_of_file};

    use super::*;

    fn recorded() -> (Mp4File, Vec<u8>) {
        let tracks = [TrackInfo {
            id: 1,
            entry: Entry::Avc { record: Bytes::from_static(b"x"), size: (16, 16) },
            colours: None,
        }];
        let mut bytes = init_of_file(&tracks);
        let mut file = Mp4File::begin(bytes.clone());
        for n in 0..10 {
            let sample = |is_sync| Sample {
                duration_ms: 40,
                composition_ms: 0,
                is_sync,
                data: Bytes::from_static(b"data"),
            };
            let samples = vec![sample(n % 2 == 0), sample(false)];
            let next = fragment(n + 1, &[Run { track: 1, dts_ms: u64::from(n) * 80, samples }]);
            file.fragment(&next);
            bytes.extend(next);
        }
        (file, bytes)
    }

    fn back(bytes: &[u8]) -> Option<Mp4File> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        Mp4File::read_back(&file).unwrap()
    }

    #[test]
    fn a_file_that_was_left_behind_is_finished_like_any_other() {
        let (file, bytes) = recorded();
        assert_eq!(file.len(), bytes.len() as u64);
        let (index, patch) = file.finish();
        assert_eq!(back(&bytes).unwrap().finish(), (index.clone(), patch));
        // Finished once already: the index is not a part of what is whole.
        let whole = [bytes.as_slice(), &index].concat();
        assert_eq!(back(&whole).unwrap().len(), file.len());
        // The last fragment is torn.
        let torn = back(&bytes[..bytes.len() - 1]).unwrap();
        let last = (file.len() - torn.len(), file.end_ms - torn.end_ms);
        assert_eq!(last, ((bytes.len() - file.head.len()) as u64 / 10, 80));
        assert!(back(b"something else").is_none() && back(b"").is_none());
    }
}
