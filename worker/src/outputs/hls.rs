//! HLS of all streams of this process: who has it, where its lists and segments are found, who watches.

pub(crate) mod early;
mod output;
pub(crate) mod rested;
pub(crate) mod sessions;
pub(crate) mod stream;

use std::collections::HashMap;
use std::path::PathBuf;

use bytes::Bytes;
use conf::vhost::{Hls, Vhost};
use hls::{Member, Position, Trace, Traced};
use media::StreamKey;

use self::rested::Rested;
use self::sessions::Sessions;
use self::stream::{Changes, HlsStream};
use super::owners::file_path;
use crate::disk::remains::Remains;
use crate::disk::{Disk, FilePath, HlsDone, Job, place};

/// Most streams whose numbering is remembered when they are gone.
const MAX_POSITIONS: usize = 10_000;
/// Most files of notes that are read.
const MAX_NOTES: usize = 64;
/// How long a stream is held back until the disk has answered, ms. Later its viewers get it, and what is for HLS is kept.
const HOLD_MS: u64 = 500;
/// How long a player may take to ask again, beyond three segments, ms.
const PLAYER_PATIENCE_MS: u64 = 5_000;
/// How often it is noted where lists stand, ms.
const NOTE_EVERY_MS: u64 = 250;

/// After so long without a publisher a list says that nothing follows, where no time is configured, ms.
const OVER_MS: u64 = 120_000;

/// Whether a file of this name has notes of how far lists have come.
fn is_note(name: &str) -> bool {
    let number = name.strip_prefix("hls-").and_then(|rest| rest.strip_suffix(".json"));
    number.is_some_and(|number| number.parse::<u32>().is_ok())
}

/// What becomes of the lists and files of a stream that has HLS no longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// They go.
    Gone,
    /// They stay, and nothing follows.
    Over,
    /// Somebody else goes on with them.
    GoesOn,
}

/// What is found under a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Entry {
    /// The list of a stream, or of one of its members.
    List(usize, Option<Member>),
    Segment(usize, u64),
}

/// What an answer is made of.
#[derive(Debug)]
pub(crate) enum Found {
    /// A list, and the stream that it is of: its own, or that of one of its members.
    List(usize, Option<Member>),
    /// A segment that is in memory, its number, and the stream.
    Bytes(usize, u64, Bytes),
    /// One that is a file.
    File(usize, FilePath),
}

/// All streams with HLS.
#[derive(Debug)]
pub(crate) struct HlsStreams {
    /// By feed.
    pub(crate) streams: HashMap<usize, HlsStream>,
    /// By vhost, and path as somebody asks for a list who knows its stream's name.
    by_name: HashMap<(String, String), usize>,
    /// By vhost and path of a file: segments, and lists that other lists name.
    by_path: HashMap<(String, String), Entry>,
    /// Lists whose files are called as another stream may be, too.
    ambiguous: HashMap<(String, String), usize>,
    /// By vhost and by what the names of its segments say.
    traced: HashMap<(String, Traced), usize>,
    positions: HashMap<StreamKey, Position>,
    /// What a former process noted.
    noted: HashMap<StreamKey, Position>,
    pub(crate) sessions: Sessions,
    /// Who waits for an answer of the disk: by ticket.
    recovering: HashMap<u64, usize>,
    /// When a status line is due, and how many were written.
    status: (u64, usize),
    /// What former processes noted of all lists is asked for under these tickets.
    asked: Vec<u64>,
    /// Streams of a former process that nobody has published since.
    pub(crate) rested: Rested,
    notes: FilePath,
    noted_ms: u64,
    /// Bytes of segments in memory.
    pub(crate) most_memory: u64,
    is_new: bool,
    /// Streams whose publishers are to end.
    pub(crate) unfit: Vec<StreamKey>,
    /// Lists, by vhost and path, that can be had now and could not before, or in which there is something for the first time.
    pub(crate) appeared: Vec<(String, String)>,
}

impl HlsStreams {
    /// Nothing yet. `runtime` is where it is noted how far lists have come.
    pub(crate) fn new(disk: &mut Disk, runtime: &std::path::Path, slot: u32, most_memory: u64) -> Self {
        let name = format!("hls-{slot}.json");
        let notes = place(&PathBuf::from(runtime), name.clone());
        // A stream may have been another process's, had there been more of them, or fewer.
        let others = std::fs::read_dir(runtime).into_iter().flatten().flatten();
        let others = others.filter_map(|entry| entry.file_name().into_string().ok());
        let others = others.filter(|other| *other != name && is_note(other)).take(MAX_NOTES);
        let all: Vec<String> = others.chain([name.clone()]).collect();
        let asked = all.into_iter().map(|name| {
            let ticket = disk.ticket();
            disk.push(Job::Read(ticket, place(&PathBuf::from(runtime), name)));
            ticket
        });
        let asked = asked.collect();
        Self {
            streams: HashMap::new(),
            by_name: HashMap::new(),
            by_path: HashMap::new(),
            ambiguous: HashMap::new(),
            traced: HashMap::new(),
            positions: HashMap::new(),
            noted: HashMap::new(),
            sessions: Sessions::default(),
            recovering: HashMap::new(),
            status: (0, 0),
            asked,
            rested: Rested::default(),
            notes,
            noted_ms: 0,
            most_memory,
            is_new: false,
            unfit: Vec::new(),
            appeared: Vec::new(),
        }
    }

    /// A stream gets HLS.
    pub(crate) fn open(
        &mut self,
        feed: usize,
        key: &StreamKey,
        (config, absolute): (&Hls, bool),
        disk: &mut Disk,
    ) {
        let known = self.positions.remove(key);
        let mut stream = HlsStream::new(key.clone(), config.clone(), absolute, known.unwrap_or_default());
        if known.is_some() {
            // What this process knows itself, nobody has to be asked for; but its files may be there.
            self.noted.remove(key);
            stream.ready = !stream.naming.on_disk();
        }
        self.insert(feed, stream);
        if self.asked.is_empty() {
            self.recover(feed, disk);
        }
    }

    fn insert(&mut self, feed: usize, stream: HlsStream) {
        // An address has the stream's name, encoded once. Where that of its file is another, it is an address as well, unless a
        // stream can be called so.
        let vhost = &stream.naming.key.vhost;
        let (asked, file) = (stream.naming.asked_path(), stream.naming.list_path());
        if asked != file {
            let file = (vhost.clone(), file);
            if rtmp::url::check_name(&file.1, usize::MAX).is_ok() {
                self.ambiguous.insert(file, feed);
            } else {
                self.by_path.insert(file, Entry::List(feed, None));
            }
        }
        self.appeared.push((vhost.clone(), asked.clone()));
        self.appeared.push((vhost.clone(), stream.naming.list_path()));
        self.by_name.insert((vhost.clone(), asked), feed);
        self.traced.insert((vhost.clone(), hls::of_key(&stream.naming.key)), feed);
        self.streams.insert(feed, stream);
    }

    /// Asks what a former process left of a stream.
    fn recover(&mut self, feed: usize, disk: &mut Disk) {
        let Some(stream) = self.streams.get_mut(&feed).filter(|stream| !stream.ready) else { return };
        if !stream.naming.on_disk() {
            let noted = self.noted.remove(&stream.naming.key);
            stream.recovered(Remains::default(), noted, disk);
            return self.catch_up(feed, disk);
        }
        let ticket = disk.ticket();
        let wanted = stream.wanted(stream.naming.config.cleanup);
        self.recovering.insert(ticket, feed);
        if !disk.push(Job::Recover(ticket, Box::new(wanted))) {
            self.recovering.remove(&ticket);
            stream.ready = true;
            self.catch_up(feed, disk);
        }
    }

    /// What a former process left of a stream is known: what was published meanwhile follows that.
    fn catch_up(&mut self, feed: usize, disk: &mut Disk) {
        let Some(stream) = self.streams.get_mut(&feed) else { return };
        let changes = stream.catch_up(disk);
        if changes.is_unfit && !self.unfit.contains(&stream.naming.key) {
            self.unfit.push(stream.naming.key.clone());
        }
        let vhost = stream.naming.key.vhost.clone();
        self.apply(feed, &vhost, changes);
    }

    /// Whether a stream is not to be read yet: what a former process left is being looked for, which takes no time unless the
    /// disk hangs.
    pub(crate) fn holds(&self, feed: usize, now_ms: u64) -> bool {
        let stream = self.streams.get(&feed);
        stream.is_some_and(|stream| !stream.ready && now_ms < stream.began_ms + HOLD_MS)
    }

    /// A stream has HLS no longer, or gets it anew.
    pub(crate) fn end(&mut self, feed: usize, end: End, disk: &mut Disk) {
        let Some(mut stream) = self.streams.remove(&feed) else { return };
        let changes = stream.rest(disk);
        self.apply(feed, &stream.naming.key.vhost.clone(), changes);
        match end {
            // Where nothing is ever removed, the list says at least that nothing follows.
            End::Gone if stream.naming.config.cleanup => drop(stream.dispose(disk)),
            End::Gone | End::Over => {
                stream.abandon(disk);
                stream.set_over(true, disk);
            }
            End::GoesOn => stream.abandon(disk),
        }
        self.by_name.retain(|_, at| *at != feed);
        self.ambiguous.retain(|_, at| *at != feed);
        self.traced.retain(|_, at| *at != feed);
        self.by_path
            .retain(|_, entry| !matches!(entry, Entry::List(at, _) | Entry::Segment(at, _) if *at == feed));
        if self.positions.len() < MAX_POSITIONS {
            self.positions.insert(stream.naming.key.clone(), stream.playlist.position());
        }
    }

    /// Where all streams together have too much in memory, the one with most gives it up.
    fn fit_into_memory(&mut self, disk: &Disk) {
        loop {
            let kept: u64 = self.streams.values().map(|stream| stream.bytes_in_memory).sum();
            let most = self.streams.iter_mut().max_by_key(|(_, stream)| stream.bytes_in_memory);
            let (Some(over), Some((feed, stream))) = (kept.checked_sub(self.most_memory), most) else {
                return;
            };
            let (feed, had) = (*feed, stream.bytes_in_memory);
            if over == 0 {
                return;
            }
            let changes = stream.give_up(over.min(had / 8).max(1), disk);
            // The newest segment of each stream is never given up.
            let is_less = stream.bytes_in_memory < had;
            let vhost = stream.naming.key.vhost.clone();
            self.apply(feed, &vhost, changes);
            if !is_less {
                return;
            }
        }
    }

    fn apply(&mut self, feed: usize, vhost: &str, changes: Changes) {
        if let Some(stream) =
            self.streams.get(&feed).filter(|_| !changes.new.is_empty() || !changes.lists.is_empty())
        {
            let lists = stream.list_paths().into_iter().map(|path| (vhost.to_owned(), path));
            self.appeared.extend(lists);
        }
        for path in changes.gone {
            self.by_path.remove(&(vhost.to_owned(), path));
        }
        for (path, member) in changes.lists {
            self.by_path.entry((vhost.to_owned(), path)).or_insert(Entry::List(feed, Some(member)));
        }
        for (path, number) in changes.new {
            self.by_path.insert((vhost.to_owned(), path), Entry::Segment(feed, number));
            self.is_new = true;
        }
    }

    /// Takes what the disk's thread has done for HLS.
    pub(crate) fn done(&mut self, done: HlsDone, disk: &mut Disk) {
        match done {
            HlsDone::Written(ticket, result) => {
                let feeds: Vec<usize> = self.streams.keys().copied().collect();
                for feed in feeds {
                    let Some(stream) = self.streams.get_mut(&feed) else { continue };
                    let mut changes = Changes::default();
                    stream.written(ticket, &result, disk, &mut changes);
                    let vhost = stream.naming.key.vhost.clone();
                    self.apply(feed, &vhost, changes);
                }
            }
            HlsDone::Read(ticket, text) => {
                self.asked.retain(|asked| *asked != ticket);
                self.read_notes(&text);
                if !self.asked.is_empty() {
                    return;
                }
                let feeds: Vec<usize> = self.streams.keys().copied().collect();
                feeds.into_iter().for_each(|feed| self.recover(feed, disk));
                self.rested.are_due = true;
            }
            HlsDone::Recovered(ticket, remains) if self.rested.asked(ticket) => {
                self.rested.answered(ticket, *remains);
            }
            HlsDone::Recovered(ticket, remains) => {
                let Some(feed) = self.recovering.remove(&ticket) else { return };
                let Some(stream) = self.streams.get_mut(&feed) else { return };
                let noted = self.noted.remove(&stream.naming.key);
                let changes = stream.recovered(*remains, noted, disk);
                let vhost = stream.naming.key.vhost.clone();
                self.apply(feed, &vhost, changes);
                self.catch_up(feed, disk);
            }
        }
    }

    /// Keeps to the bound of memory, and notes how far lists have come, where there is something new.
    pub(crate) fn work(&mut self, now_ms: u64, disk: &Disk) {
        if !self.is_new {
            return;
        }
        self.fit_into_memory(disk);
        if now_ms >= self.noted_ms + NOTE_EVERY_MS {
            self.noted_ms = now_ms;
            self.is_new = false;
            self.note(disk);
        }
    }

    /// Notes how far all lists have come, for a successor.
    fn note(&self, disk: &Disk) {
        let of_streams = self.streams.values().map(|stream| (&stream.naming.key, stream.playlist.position()));
        let others = self.positions.iter().chain(&self.noted).map(|(key, position)| (key, *position));
        let all = of_streams.chain(others);
        let list: Vec<serde_json::Value> = all
            .map(|(key, position)| {
                serde_json::json!([key, position.next, position.discontinuities, position.target_s])
            })
            .collect();
        let text = serde_json::to_vec(&list).unwrap_or_default();
        disk.push(Job::Note(self.notes.clone(), text.into()));
    }

    fn read_notes(&mut self, text: &str) {
        let list: Vec<(StreamKey, u64, u64, u64)> = serde_json::from_str(text).unwrap_or_default();
        for (key, next, discontinuities, target_s) in list.into_iter().take(MAX_POSITIONS) {
            let position = Position { next, discontinuities, target_s };
            let known = self.noted.entry(key).or_insert(position);
            if known.next < next {
                *known = position;
            }
        }
    }

    /// Whether a path is that of a segment that its stream had and has no longer.
    pub(crate) fn is_past(&self, vhost: &Vhost, path: &http1::Path) -> bool {
        let path = file_path(path);
        let path = Member::unmark(&path).map_or(path, |(_, path)| path);
        let traced = Trace::new(&vhost.hls.ts_file, &vhost.name).and_then(|trace| trace.find(&path));
        let feed = traced.and_then(|traced| self.traced.get(&(vhost.name.clone(), traced)));
        feed.and_then(|feed| self.streams.get(feed)).is_some_and(|stream| stream.is_past(&path))
    }

    /// What there is under a path of a vhost.
    pub(crate) fn find(&self, vhost: &str, path: &http1::Path) -> Option<Found> {
        let mut name = (vhost.to_owned(), path.components().join("/"));
        if let Some(feed) = self.by_name.get(&name) {
            return Some(Found::List(*feed, None));
        }
        let file = (name.0.clone(), file_path(path));
        if self.by_path.contains_key(&file) {
            name = file;
        }
        match *self.by_path.get(&name)? {
            Entry::List(feed, member) => Some(Found::List(feed, member)),
            Entry::Segment(feed, number) => {
                let stream = self.streams.get(&feed)?;
                let listed = stream.playlist.available().find(|listed| listed.number == number)?;
                let place = listed.segment.place.at(&name.1)?;
                match (&place.bytes, &place.file) {
                    (Some(bytes), _) => Some(Found::Bytes(feed, number, bytes.clone())),
                    (None, Some(file)) => Some(Found::File(feed, file.clone())),
                    (None, None) => None,
                }
            }
        }
    }

    /// Whether a path of a vhost is the file of a list, but the address of another stream's.
    pub(crate) fn is_list_of_another(&self, vhost: &str, path: &http1::Path) -> bool {
        self.ambiguous.contains_key(&(vhost.to_owned(), path.components().join("/")))
    }

    /// Streams that nobody has published for so long that their files are to go. Their lists have said that nothing follows for
    /// long enough that every player has read it.
    fn overdue(&mut self, now_ms: u64, disk: &Disk) -> Vec<usize> {
        let mut overdue = Vec::new();
        for (feed, stream) in &mut self.streams {
            let Some(rests_ms) = stream.rests_since_ms.map(|since| now_ms.saturating_sub(since)) else {
                continue;
            };
            let dispose_ms = stream.naming.config.dispose_ms;
            let over_ms = if dispose_ms > 0 { dispose_ms } else { OVER_MS };
            if rests_ms >= over_ms {
                stream.set_over(true, disk);
            }
            if dispose_ms > 0 && rests_ms >= dispose_ms + 2000 * stream.playlist.position().target_s {
                overdue.push(*feed);
            }
        }
        overdue
    }

    /// Looks after all streams: those that rest for too long lose their files, players who do not ask any more have left. Returns the
    /// feeds of streams that have gone.
    pub(crate) fn sweep(&mut self, now_ms: u64, pithy_ms: u64, disk: &mut Disk) -> Vec<usize> {
        let overdue = self.overdue(now_ms, disk);
        overdue.iter().for_each(|feed| self.end(*feed, End::Gone, disk));
        let patience = |stream: &HlsStream| 3_000 * stream.playlist.position().target_s + PLAYER_PATIENCE_MS;
        let patience: HashMap<StreamKey, u64> =
            self.streams.values().map(|stream| (stream.naming.key.clone(), patience(stream))).collect();
        self.print_status(now_ms, pithy_ms);
        self.sessions.expire(now_ms, |key| patience.get(key).copied().unwrap_or(PLAYER_PATIENCE_MS));
        overdue
    }

    /// One line of one stream within a period: they take turns.
    fn print_status(&mut self, now_ms: u64, pithy_ms: u64) {
        let (due_ms, written) = self.status;
        if now_ms < due_ms || self.streams.is_empty() {
            return;
        }
        let mut live: Vec<_> =
            self.streams.values().filter(|stream| stream.rests_since_ms.is_none()).collect();
        live.sort_by(|a, b| a.naming.key.cmp(&b.naming.key));
        if let Some(stream) = live.get(written % live.len().max(1)) {
            let time_ms = now_ms.saturating_sub(stream.began_ms);
            let sequence = stream.playlist.position().next;
            tracing::info!("-> HLS time={time_ms}, sequence_no={sequence}, stream={}", stream.naming.key);
        }
        self.status = (now_ms + pithy_ms, written + 1);
    }
}
