//! Files as HLS: FLV and MP4 files are indexed and cut at key frames when somebody asks, and packed without being decoded.
//!
//! Files are read in a thread of their own; what it made is kept for a while, bounded.

mod index;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use bytes::Bytes;
use index::Index;

/// Indexes that are kept in the thread.
const MAX_INDEXES: usize = 8;
/// Bytes of lists and segments that are kept.
const MAX_KEPT: usize = 64 << 20;
/// Questions that may wait.
const MAX_WAITING: usize = 256;

/// What is asked for: a file by its tag, and its list (`None`) or one of its segments.
pub(crate) type Wanted = (String, Option<usize>);

/// What became of it: the bytes, or nothing that can be made.
pub(crate) type Made = Option<Bytes>;

#[derive(Debug)]
struct Question {
    wanted: Wanted,
    file: File,
    name: String,
}

/// The way to the thread, and what it made.
#[derive(Debug)]
pub(crate) struct Vod {
    questions: SyncSender<Question>,
    answers: Receiver<(Wanted, Made)>,
    bell: UnixStream,
    asked: BTreeSet<Wanted>,
    made: HashMap<Wanted, Made>,
    order: VecDeque<Wanted>,
    kept: usize,
}

impl Vod {
    /// Starts the thread.
    pub(crate) fn start() -> io::Result<Self> {
        let (questions, todo) = sync_channel::<Question>(MAX_WAITING);
        let (done, answers) = sync_channel(MAX_WAITING);
        let (bell, mut ringer) = UnixStream::pair()?;
        bell.set_nonblocking(true)?;
        ringer.set_nonblocking(true)?;
        std::thread::Builder::new().name("vod".to_owned()).spawn(move || {
            let mut indexes: VecDeque<(String, Option<Index>)> = VecDeque::new();
            while let Ok(question) = todo.recv() {
                let made = answer(&mut indexes, &question);
                if done.send((question.wanted, made)).is_err() {
                    return;
                }
                // A full socket rings as well.
                let _ = ringer.write(&[1]);
            }
        })?;
        Ok(Self {
            questions,
            answers,
            bell,
            asked: BTreeSet::new(),
            made: HashMap::new(),
            order: VecDeque::new(),
            kept: 0,
        })
    }

    /// What becomes readable when something was made.
    pub(crate) fn bell(&self) -> RawFd {
        self.bell.as_raw_fd()
    }

    /// Takes what was made.
    pub(crate) fn hear(&mut self) {
        let mut buffer = [0; 256];
        while matches!(io::Read::read(&mut self.bell, &mut buffer), Ok(1..)) {}
        while let Ok((wanted, made)) = self.answers.try_recv() {
            self.asked.remove(&wanted);
            self.kept += made.as_ref().map_or(0, Bytes::len) + 256;
            self.order.push_back(wanted.clone());
            self.made.insert(wanted, made);
            while self.kept > MAX_KEPT && self.order.len() > 1 {
                let Some(oldest) = self.order.pop_front() else { break };
                let made = self.made.remove(&oldest).flatten();
                self.kept = self.kept.saturating_sub(made.map_or(0, |bytes| bytes.len()) + 256);
            }
        }
    }

    /// What was made of this, if it was; else it is asked for. `name` tells the kind of file.
    pub(crate) fn get(&mut self, wanted: &Wanted, file: File, name: &str) -> Option<Made> {
        if let Some(made) = self.made.get(wanted) {
            return Some(made.clone());
        }
        if !self.asked.contains(wanted) {
            let question = Question { wanted: wanted.clone(), file, name: name.to_owned() };
            if self.questions.try_send(question).is_ok() {
                self.asked.insert(wanted.clone());
            }
        }
        None
    }
}

fn answer(indexes: &mut VecDeque<(String, Option<Index>)>, question: &Question) -> Made {
    let (tag, number) = &question.wanted;
    if !indexes.iter().any(|(known, _)| known == tag) {
        let index = Index::read(&question.file, &question.name);
        if let Err(error) = &index {
            tracing::warn!("{} can't be played as HLS: {error}", question.name);
        }
        indexes.push_back((tag.clone(), index.ok()));
        if indexes.len() > MAX_INDEXES {
            indexes.pop_front();
        }
    }
    let index = indexes.iter().find(|(known, _)| known == tag)?.1.as_ref()?;
    match number {
        None => Some(index.list(&question.name).into()),
        Some(number) => index.segment(&question.file, *number).map(Bytes::from),
    }
}

/// The file that a name of HLS means, and what of it: `a.flv.m3u8` is the list of `a.flv`, `a.flv.7.ts` its segment 7.
pub(crate) fn file_of(name: &str) -> Option<(&str, Option<usize>)> {
    let (file, number) = match name.strip_suffix(".m3u8") {
        Some(file) => (file, None),
        None => {
            let (file, number) = name.strip_suffix(".ts")?.rsplit_once('.')?;
            let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
            (file, Some(number.parse().ok().filter(|_| is_number)?))
        }
    };
    let is_media = |ending| file.len() > 4 && file.to_ascii_lowercase().ends_with(ending);
    (is_media(".flv") || is_media(".mp4")).then_some((file, number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_lists_and_segments() {
        assert_eq!(file_of("a.flv.m3u8"), Some(("a.flv", None)));
        assert_eq!(file_of("a.b.MP4.12.ts"), Some(("a.b.MP4", Some(12))));
        for none in
            ["a.m3u8", "a.flv.ts", "a.flv.x.ts", "a.flv.+1.ts", ".flv.m3u8", "a.ts", "a-1.ts", "a.mkv.m3u8"]
        {
            assert_eq!(file_of(none), None, "{none}");
        }
    }
}
