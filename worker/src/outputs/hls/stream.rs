//! HLS of one stream: packets in, segments and a list out.

mod cutting;
mod naming;
mod renditions;
mod storing;

use std::collections::BTreeSet;

use bytes::Bytes;
use conf::vhost::{Hls, HlsOnError};
use hls::member::Choices;
use hls::{Cut, Ended, Member, Playlist, Position, Rules};
use media::StreamKey;
use remux::{AccessUnit, TrackSet};

use self::cutting::{Closed, Cutting};
use self::naming::Naming;
use self::storing::{Rates, Writing};
use super::early::Early;
use crate::disk::{Disk, FilePath};
use crate::outputs::event::FeedEvent;
use crate::outputs::left_out::{LeftOut, NO_FIRST};
use crate::outputs::moment::moment;

/// Sounds that are not further apart are written together, ms.
const GATHER_MS: i64 = 70;
/// Numbers that are left out after a restart, for segments that came behind the last note of them.
const SLACK: u64 = 8;
/// Bytes of one stream's segments in memory.
const MAX_MEMORY: u64 = 2 << 30;
/// A segment that has so many bytes ends, whatever its length.
const MAX_SEGMENT_BYTES: usize = 256 << 20;

/// Where the bytes of a segment are.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) bytes: Option<Bytes>,
    pub(crate) file: Option<FilePath>,
    pub(crate) len: u64,
    /// Its path in URLs.
    pub(crate) path: String,
}

/// A segment of all tracks: that of the first, and those of the others with their names in their lists.
#[derive(Debug, Clone)]
pub(crate) struct Pieces {
    pub(crate) main: Stored,
    pub(crate) others: Vec<(Member, String, Stored)>,
}

impl Pieces {
    fn all(&self) -> impl Iterator<Item = &Stored> {
        [&self.main].into_iter().chain(self.others.iter().map(|(_, _, stored)| stored))
    }

    fn all_mut(&mut self) -> impl Iterator<Item = &mut Stored> {
        [&mut self.main].into_iter().chain(self.others.iter_mut().map(|(_, _, stored)| stored))
    }

    /// Bytes of all.
    pub(crate) fn len(&self) -> u64 {
        self.all().map(|stored| stored.len).sum()
    }

    fn lengths(&self) -> impl Iterator<Item = (Member, u64)> {
        let others = self.others.iter().map(|(member, _, stored)| (*member, stored.len));
        [(Member::Main, self.main.len)].into_iter().chain(others)
    }

    /// How the list of a further member names its own.
    fn uri_of(&self, member: Member) -> Option<&str> {
        self.others.iter().find(|(known, ..)| *known == member).map(|(_, uri, _)| uri.as_str())
    }

    /// The one that has this path.
    pub(crate) fn at(&self, path: &str) -> Option<&Stored> {
        self.all().find(|stored| stored.path == path)
    }
}

/// What became of a stream's list.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// Segments that can be had now, by path.
    pub(crate) new: Vec<(String, u64)>,
    /// Paths that can't any more.
    pub(crate) gone: Vec<String>,
    /// Lists that have paths of their own.
    pub(crate) lists: Vec<(String, Member)>,
    /// The publisher is to end.
    pub(crate) is_unfit: bool,
}

impl Changes {
    /// What happened next.
    pub(crate) fn add(&mut self, next: Self) {
        self.new.extend(next.new);
        self.new.retain(|(path, _)| !next.gone.contains(path));
        self.gone.extend(next.gone);
        self.lists.extend(next.lists);
        self.is_unfit |= next.is_unfit;
    }
}

/// HLS of one stream.
#[derive(Debug)]
pub(crate) struct HlsStream {
    /// The stream, and how its files are called.
    pub(crate) naming: Naming,
    cutting: Cutting,
    pub(crate) playlist: Playlist<Pieces>,
    /// It was told which tracks there are.
    knows_tracks: bool,
    /// Those that have a list, or have had one.
    listed_members: BTreeSet<Member>,
    /// The stream's list is a list of lists. Once it is, it stays.
    is_several: bool,
    /// A segment of this publish is listed.
    is_listed: bool,
    rates: Rates,
    choices: WrittenChoices,
    /// When it began, monotonic ms.
    pub(crate) began_ms: u64,
    /// What a former process left is known.
    pub(crate) ready: bool,
    /// What happened until then.
    pub(crate) early: Early,
    /// Segments on their way to the disk, in order.
    writing: Vec<Writing>,
    /// Since when nobody publishes, monotonic ms.
    pub(crate) rests_since_ms: Option<u64>,
    /// Bytes of its segments in memory, and whether it was said that they are too many.
    pub(crate) bytes_in_memory: u64,
    is_told: bool,
    /// Segments that were lost because they could not be written, and packets that are in none.
    pub(crate) lost: u64,
    pub(crate) refused: u64,
    /// What of the stream is in no segment.
    pub(crate) left_out: LeftOut,
}

/// The list of lists on the disk.
#[derive(Debug, Default)]
struct WrittenChoices {
    /// As it is there.
    text: String,
    /// What a former process said in it.
    former: Choices,
}

/// Turns a configuration into rules.
fn rules(config: &Hls, absolute: bool) -> Rules {
    let fragment_ms = i64::try_from(config.fragment_ms).unwrap_or(10_000).max(100);
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "a length in ms")]
    let longest_ms = (fragment_ms as f64 * config.aof_ratio.clamp(1.0, 100.0)) as i64;
    Rules {
        fragment_ms,
        longest_ms,
        wait_keyframe: config.wait_keyframe,
        target_ratio: config.td_ratio,
        absolute,
    }
}

impl HlsStream {
    pub(crate) fn new(key: StreamKey, config: Hls, absolute: bool, position: Position) -> Self {
        let mut stream = Self {
            cutting: Cutting::new(rules(&config, absolute)),
            playlist: Playlist::new(config.window_ms, position),
            naming: Naming { key, config },
            knows_tracks: false,
            listed_members: BTreeSet::new(),
            is_several: false,
            is_listed: false,
            rates: Rates::default(),
            choices: WrittenChoices::default(),
            began_ms: reactor::now_ms(),
            ready: false,
            early: Early::default(),
            writing: Vec::new(),
            rests_since_ms: None,
            bytes_in_memory: 0,
            is_told: false,
            lost: 0,
            refused: 0,
            left_out: LeftOut::default(),
        };
        stream.resume(position);
        stream
    }

    /// Goes on where another left off.
    pub(crate) fn resume(&mut self, position: Position) {
        // The target duration is a matter of the configuration alone: one that another fixed holds no longer.
        let target_s =
            u64::try_from(rules(&self.naming.config, self.cutting.absolute).target()).unwrap_or(10);
        self.playlist = Playlist::new(self.naming.config.window_ms, Position { target_s, ..position });
    }

    /// Paths under which its lists may be asked for.
    pub(crate) fn list_paths(&self) -> Vec<String> {
        let members = self.listed_members.iter().copied().chain([Member::Main]);
        let of_members = members.map(|member| self.list_path_of(member));
        [self.naming.asked_path(), self.naming.list_path()].into_iter().chain(of_members).collect()
    }

    /// Whether this is the path of a segment that is older than all that can be had.
    pub(crate) fn is_past(&self, path: &str) -> bool {
        let number = self.naming.number_of(path);
        let first = self.playlist.available().next().map(|listed| listed.number);
        number.zip(first).is_some_and(|(number, first)| number < first)
    }

    /// Takes what happened in the stream; `unix_ms` is the time of day.
    pub(crate) fn take(
        &mut self,
        event: &FeedEvent,
        track_set: &TrackSet,
        unix_ms: i64,
        disk: &mut Disk,
    ) -> Changes {
        let mut changes = Changes::default();
        let is_told = matches!(event, FeedEvent::Break(..) | FeedEvent::Changed);
        if !is_told && !self.knows_tracks || is_told && !self.ready {
            self.look_at_tracks(track_set, &mut changes);
        }
        if !self.ready {
            self.early.keep(&self.naming.key, event, track_set, unix_ms);
            return changes;
        }
        match event {
            FeedEvent::Break(..) => {
                self.end_publish(disk, &mut changes);
                self.is_listed = false;
                self.cutting.begin_publish(track_set);
                self.look_at_tracks(track_set, &mut changes);
                self.end_lists(disk);
            }
            FeedEvent::Changed => {
                let is_other = self.look_at_tracks(track_set, &mut changes);
                self.cutting.changed |= is_other;
            }
            // MPEG-TS has no place for it.
            FeedEvent::AccessUnit(_, coded) if !track_set.fits_ts(coded.kind, coded.track) => {
                self.refused += 1;
                self.left_out.note(&self.naming.key, "hls", &track_set.name(coded.kind, coded.track));
                changes.is_unfit = self.naming.config.on_error == HlsOnError::Disconnect;
            }
            FeedEvent::AccessUnit(dts_ms, coded) => {
                if coded.track == 0 {
                    self.coded(*dts_ms, coded, unix_ms, disk, &mut changes);
                } else if !self.cutting.renditions.has(coded.kind, coded.track) {
                    self.left_out.note(&self.naming.key, "hls", &track_set.name(coded.kind, coded.track));
                    return changes;
                } else if track_set.lacks_first() {
                    self.left_out.note(&self.naming.key, "hls", NO_FIRST);
                }
                self.push_further(*dts_ms, coded);
            }
            FeedEvent::Unfit(what) => {
                self.refused += 1;
                self.left_out.note(&self.naming.key, "hls", what);
                changes.is_unfit = self.naming.config.on_error == HlsOnError::Disconnect;
            }
            FeedEvent::Beyond(kind, track) => self.left_out.note_beyond("hls", *kind, *track),
            FeedEvent::Raw(_) | FeedEvent::Header(_) => {}
        }
        changes
    }

    fn coded(
        &mut self,
        dts_ms: i64,
        coded: &AccessUnit,
        unix_ms: i64,
        disk: &mut Disk,
        changes: &mut Changes,
    ) {
        match self.cutting.look(dts_ms, coded) {
            (Cut::Skip, _) => return,
            (Cut::Stay, _) => {}
            (Cut::Begin { is_break, end_ms }, began_ms) => {
                let closed = began_ms.and_then(|began_ms| self.cutting.close(end_ms - began_ms));
                if let Some(closed) = closed {
                    self.close(closed, disk, changes);
                }
                self.cutting.begin(is_break, dts_ms, unix_ms);
                if !is_break {
                    self.look_at_cut(coded);
                }
            }
        }
        self.refused += u64::from(!self.cutting.pack(dts_ms, coded));
    }

    /// Packs a packet for the lists of further tracks.
    fn push_further(&mut self, dts_ms: i64, coded: &AccessUnit) {
        let (refused, told) = self.cutting.renditions.push(dts_ms, coded);
        self.refused += refused;
        for member in told {
            tracing::warn!(
                "hls of {}: key frames of {member} lie elsewhere than the first track's: its segments begin without one",
                self.naming.key
            );
        }
    }

    /// Takes up which tracks there are. Whether what was there before is another now.
    fn look_at_tracks(&mut self, track_set: &TrackSet, changes: &mut Changes) -> bool {
        self.knows_tracks = true;
        // Who has the list already would not follow it into a list of lists.
        let may_grow = self.is_several || !self.is_listed || self.naming.config.ctx;
        let (is_open, absolute) = (self.cutting.is_open(), self.cutting.absolute);
        let is_other = self.cutting.renditions.review(track_set, may_grow, is_open, absolute);
        self.listed_members.extend(self.cutting.renditions.members());
        self.is_several |= !self.is_listed && !self.cutting.renditions.is_empty();
        self.tell_lists(changes);
        self.cutting.set_tracks(track_set.only(Some(0), Some(0))) || is_other
    }

    /// The lists that have paths of their own.
    fn tell_lists(&self, changes: &mut Changes) {
        let main = Some(Member::Main).filter(|_| self.is_several);
        let members = main.into_iter().chain(self.listed_members.iter().copied());
        changes.lists.extend(members.map(|member| (self.list_path_of(member), member)));
    }

    /// Says once that the encoder's key frames are too far apart for what is configured.
    fn look_at_cut(&mut self, coded: &AccessUnit) {
        if self.naming.config.wait_keyframe && self.cutting.is_first_between(coded) {
            let target_s = self.playlist.position().target_s;
            tracing::warn!(
                "hls of {}: key frames are further apart than {target_s} s: segments begin without one (hls_fragment, hls_aof_ratio)",
                self.naming.key
            );
        }
    }

    /// Nobody publishes any more: what is open ends.
    pub(crate) fn rest(&mut self, disk: &mut Disk) -> Changes {
        let mut changes = Changes::default();
        if self.ready {
            self.end_publish(disk, &mut changes);
        } else {
            self.early.rest(&self.naming.key);
        }
        changes
    }

    fn end_publish(&mut self, disk: &mut Disk, changes: &mut Changes) {
        if let Some(closed) = self.cutting.end() {
            self.close(closed, disk, changes);
        }
    }

    /// A segment is complete: it gets its number and names.
    fn close(&mut self, closed: Closed, disk: &mut Disk, changes: &mut Changes) {
        let Closed { duration_ms, began_ms, wall_ms, is_break, bytes, others } = closed;
        let absolute = self.cutting.absolute;
        let fragment_ms = i64::try_from(self.naming.config.fragment_ms).unwrap_or(10_000).max(1);
        if absolute {
            // By time: another server that gets the stream gives the same number.
            self.playlist.skip_to(u64::try_from(began_ms.div_euclid(fragment_ms)).unwrap_or(0));
        }
        let number = self.playlist.next_number() + self.writing.len() as u64;
        let mut moment = moment(wall_ms.filter(|_| !absolute).unwrap_or(began_ms));
        if self.naming.config.ts_floor {
            moment.unix_ms = moment.unix_ms.div_euclid(fragment_ms);
        }
        let naming = &self.naming;
        let piece = |template: &str, mut bytes: Vec<u8>| {
            // It stays for the whole window: not with the room that it grew into.
            bytes.shrink_to_fit();
            naming.store(naming.segment_path(template, number, duration_ms, moment), bytes.into())
        };
        let others = others.into_iter().map(|(member, bytes)| {
            let (uri, stored) = piece(&member.mark(&naming.config.ts_file), bytes);
            (member, uri, stored)
        });
        let others = others.collect();
        let (uri, main) = piece(&naming.config.ts_file, bytes);
        let segment = Ended {
            duration_ms,
            is_break: is_break && number > 0,
            began_ms: wall_ms.filter(|_| !absolute),
            uri,
            place: Pieces { main, others },
        };
        self.give(segment, disk, changes);
    }
}
