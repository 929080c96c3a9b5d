//! Files as HLS: FLV and MP4 files are indexed and cut at key frames when somebody asks, and packed without being decoded.
//!
//! Files are read in a thread of their own; what it made is kept for a while, bounded.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::fs::File;
use std::io;
use std::os::fd::RawFd;
use std::os::unix::fs::FileExt;

use bytes::Bytes;
use vod::{From, Index, Storage, Unreadable};

use crate::workers::{JobQueue, Pool, Workers};

/// Indexes that are kept in the thread.
const MAX_INDEXES: usize = 8;
/// Bytes of lists and segments that are kept.
const MAX_KEPT: usize = 64 << 20;
/// Questions that may wait.
const MAX_WAITING: usize = 256;

/// Wanted length of a segment, ms.
const TARGET_MS: u32 = 6_000;

/// What of a file is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum What {
    /// The list of its segments, with what stands behind the name of each.
    List(String),
    /// One of them.
    Segment(usize),
    /// The part of an FLV file behind a byte; answered with the offset of a tag (eight bytes) and what goes in front of it.
    FromByte(u64),
    /// The same by a time, ms.
    FromTime(u32),
}

/// What is asked for: a file by its tag, and what of it.
pub(crate) type Wanted = (String, What);

/// What became of it: the bytes, or nothing that can be made.
pub(crate) type Made = Option<Bytes>;

/// How far that is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    /// It is there.
    Made(Made),
    /// It will be: [`Vod::drain`] tells when.
    Asked,
    /// Too many others wait: it has to be asked for again when something was made.
    Busy,
}

#[derive(Debug)]
struct Question {
    wanted: Wanted,
    file: File,
    name: String,
}

/// The way to the thread, and what it made.
#[derive(Debug)]
pub(crate) struct Vod {
    workers: Workers<(Wanted, Made)>,
    questions: JobQueue<Question>,
    asked: BTreeSet<Wanted>,
    made: HashMap<Wanted, Made>,
    order: VecDeque<Wanted>,
    bytes_in_memory: usize,
}

impl Vod {
    /// Starts the thread.
    ///
    /// # Errors
    /// There is no descriptor or no thread for it.
    pub(crate) fn start() -> io::Result<Self> {
        let workers = Workers::new()?;
        let pool = Pool { name: "vod", threads: 1, stack_bytes: None, most: MAX_WAITING + 1 };
        let questions = workers.start(pool, || {
            let mut indexes: VecDeque<(String, Option<Index>)> = VecDeque::new();
            move |question: Question| {
                let made = answer(&mut indexes, &question);
                Some((question.wanted, made))
            }
        })?;
        let (asked, made, order) = (BTreeSet::new(), HashMap::new(), VecDeque::new());
        Ok(Self { workers, questions, asked, made, order, bytes_in_memory: 0 })
    }

    /// What becomes readable when something was made.
    pub(crate) fn fd(&self) -> RawFd {
        self.workers.fd()
    }

    /// Takes what was made. Returns of what that is.
    pub(crate) fn drain(&mut self) -> Vec<Wanted> {
        let mut all = Vec::new();
        for (wanted, made) in self.workers.drain() {
            all.push(wanted.clone());
            self.asked.remove(&wanted);
            self.bytes_in_memory += made.as_ref().map_or(0, Bytes::len) + 256;
            self.order.push_back(wanted.clone());
            self.made.insert(wanted, made);
            while self.bytes_in_memory > MAX_KEPT && self.order.len() > 1 {
                let Some(oldest) = self.order.pop_front() else { break };
                let made = self.made.remove(&oldest).flatten();
                let bytes = made.map_or(0, |bytes| bytes.len()) + 256;
                self.bytes_in_memory = self.bytes_in_memory.saturating_sub(bytes);
            }
        }
        all
    }

    /// What was made of this, if it was; else it is asked for, where there is room for a question. `name` tells the kind of file.
    pub(crate) fn get(&mut self, wanted: &Wanted, file: File, name: &str) -> State {
        if let Some(made) = self.made.get(wanted) {
            return State::Made(made.clone());
        }
        if self.asked.contains(wanted) {
            return State::Asked;
        }
        let question = Question { wanted: wanted.clone(), file, name: name.to_owned() };
        if !self.questions.push(question, 1) {
            return State::Busy;
        }
        self.asked.insert(wanted.clone());
        State::Asked
    }
}

/// A file as it is read.
struct Stored<'f>(&'f File, u64);

impl Storage for Stored<'_> {
    fn len(&self) -> u64 {
        self.1
    }

    fn read(&self, at: u64, into: &mut [u8]) -> Result<(), Unreadable> {
        self.0.read_exact_at(into, at).map_err(|_| Unreadable)
    }
}

fn answer(indexes: &mut VecDeque<(String, Option<Index>)>, question: &Question) -> Made {
    let (tag, what) = &question.wanted;
    let stored = Stored(&question.file, question.file.metadata().ok()?.len());
    let from = match what {
        What::FromByte(at) => Some(From::Byte(*at)),
        What::FromTime(ms) => Some(From::Time(*ms)),
        What::List(_) | What::Segment(_) => None,
    };
    if let Some(from) = from {
        let start = vod::start(&stored, from).ok()?;
        return Some([start.at.to_be_bytes().as_slice(), &start.lead].concat().into());
    }
    if !indexes.iter().any(|(known, _)| known == tag) {
        let index = Index::read(&stored);
        match &index {
            Err(error) => tracing::warn!("{} can't be played as HLS: {error}", question.name),
            Ok(index) if !index.lacks().is_empty() => {
                let lacks = index.lacks().join(", ");
                tracing::warn!("HLS of {} lacks what it has no place for: {lacks}", question.name);
            }
            Ok(_) => {}
        }
        indexes.push_back((tag.clone(), index.ok()));
        if indexes.len() > MAX_INDEXES {
            indexes.pop_front();
        }
    }
    let index = indexes.iter().find(|(known, _)| known == tag)?.1.as_ref()?;
    match what {
        What::Segment(number) => index.segment(&stored, TARGET_MS, *number).ok().flatten().map(Bytes::from),
        What::List(suffix) => {
            let name = hls::uri::relative(&question.name, &question.name);
            Some(vod::playlist(index, TARGET_MS, |number| format!("{name}.{number}.ts{suffix}")).into())
        }
        What::FromByte(_) | What::FromTime(_) => None,
    }
}

/// The file that a name of HLS means, and what of it: `a.flv.m3u8` is the list of `a.flv`, `a.flv.7.ts` its segment 7.
pub(crate) fn file_of(name: &str) -> Option<(&str, What)> {
    let (file, what) = match name.strip_suffix(".m3u8") {
        Some(file) => (file, What::List(String::new())),
        None => {
            let (file, number) = name.strip_suffix(".ts")?.rsplit_once('.')?;
            let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
            (file, What::Segment(number.parse().ok().filter(|_| is_number)?))
        }
    };
    let is_media = |ending| file.len() > 4 && file.to_ascii_lowercase().ends_with(ending);
    (is_media(".flv") || is_media(".mp4")).then_some((file, what))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_lists_and_segments() {
        assert_eq!(file_of("a.flv.m3u8"), Some(("a.flv", What::List(String::new()))));
        assert_eq!(file_of("a.b.MP4.12.ts"), Some(("a.b.MP4", What::Segment(12))));
        for none in
            ["a.m3u8", "a.flv.ts", "a.flv.x.ts", "a.flv.+1.ts", ".flv.m3u8", "a.ts", "a-1.ts", "a.mkv.m3u8"]
        {
            assert_eq!(file_of(none), None, "{none}");
        }
    }
}
