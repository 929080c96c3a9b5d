//! HLS of one stream: packets in, segments and a list out.

pub(crate) mod renditions;
pub(crate) mod storing;

use std::collections::{BTreeSet, HashMap};

use bytes::Bytes;
use conf::vhost::{Hls, HlsOnError, HlsStorage};
use hls::member::Choices;
use hls::template::{Moment, Names, fill, fill_plain};
use hls::{Cut, Ended, Facts, Member, Playlist, Position, Rules, Segmenter};
use media::{Kind, StreamKey};
use remux::{Coded, Lineup, TsPackager};

use self::renditions::Renditions;
use self::storing::Writing;
use super::early::Early;
use crate::disk::{Disk, FilePath, NUMBER, place};
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

#[derive(Debug)]
struct Open {
    bytes: Vec<u8>,
    began_ms: i64,
    is_break: bool,
    /// The tracks that it says it has.
    lineup: Lineup,
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
    pub(crate) key: StreamKey,
    pub(crate) config: Hls,
    segmenter: Segmenter,
    packager: TsPackager,
    pub(crate) playlist: Playlist<Pieces>,
    open: Option<Open>,
    /// What the list has: the first track of each kind.
    lineup: Lineup,
    /// It was told which tracks there are.
    knows_tracks: bool,
    /// Further tracks.
    renditions: Renditions,
    /// Those that have a list, or have had one.
    listed_members: BTreeSet<Member>,
    /// The stream's list is a list of lists. Once it is, it stays.
    is_several: bool,
    /// A segment of this publish is listed.
    is_listed: bool,
    /// What each member needed at most, bits per second.
    rates: HashMap<Member, u64>,
    /// The list of lists as it is on the disk.
    written_choices: String,
    /// What a former process said in it.
    former: Choices,
    /// When it began, monotonic ms.
    pub(crate) began_ms: u64,
    /// What a former process left is known.
    pub(crate) ready: bool,
    /// What happened until then.
    pub(crate) early: Early,
    /// The configuration of a track has changed.
    changed: bool,
    /// The stream's time is absolute.
    absolute: bool,
    /// A time of the stream, and what the clock said then, ms since 1970.
    anchor: Option<(i64, i64)>,
    /// Segments on their way to the disk, in order.
    writing: Vec<Writing>,
    /// Since when nobody publishes, monotonic ms.
    pub(crate) rests_since_ms: Option<u64>,
    /// Segments that were lost because they could not be written.
    pub(crate) lost: u64,
    lost_before: bool,
    /// Bytes of its segments in memory.
    pub(crate) kept: u64,
    /// It was said that they are too many.
    is_told: bool,
    pub(crate) refused: u64,
    /// What of the stream is in no segment.
    pub(crate) left_out: LeftOut,
    /// Segments have begun without a key frame, which was said.
    is_cut_between: bool,
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
            segmenter: Segmenter::new(rules(&config, absolute)),
            packager: TsPackager::new(GATHER_MS),
            playlist: Playlist::new(config.window_ms, position),
            open: None,
            lineup: Lineup::default(),
            knows_tracks: false,
            renditions: Renditions::default(),
            listed_members: BTreeSet::new(),
            is_several: false,
            is_listed: false,
            rates: HashMap::new(),
            written_choices: String::new(),
            former: Choices::default(),
            began_ms: reactor::now_ms(),
            ready: false,
            early: Early::default(),
            changed: false,
            absolute,
            anchor: None,
            writing: Vec::new(),
            rests_since_ms: None,
            lost: 0,
            lost_before: false,
            kept: 0,
            is_told: false,
            refused: 0,
            left_out: LeftOut::default(),
            is_cut_between: false,
            key,
            config,
        };
        stream.resume(position);
        stream
    }

    /// Goes on where another left off.
    pub(crate) fn resume(&mut self, position: Position) {
        // The target duration is a matter of the configuration alone: one that another fixed holds no longer.
        let target_s = u64::try_from(rules(&self.config, self.absolute).target()).unwrap_or(10);
        self.playlist = Playlist::new(self.config.window_ms, Position { target_s, ..position });
    }

    pub(crate) fn on_disk(&self) -> bool {
        self.config.storage != HlsStorage::Memory
    }

    /// Whether its list would be the same file with this configuration.
    pub(crate) fn has_files_of(&self, config: &Hls) -> bool {
        let is_there = config.storage != HlsStorage::Memory;
        is_there && config.path == self.config.path && config.m3u8_file == self.config.m3u8_file
    }

    fn names(&self, number: u64, duration_ms: u64, moment: Moment) -> Names<'_> {
        Names { key: &self.key, number, duration_ms, moment }
    }

    /// Path of the list as somebody asks for it who knows the names: what the URL says once it is decoded.
    pub(crate) fn asked_path(&self) -> String {
        fill_plain(&self.config.m3u8_file, &self.names(0, 0, Moment::default()))
    }

    /// Path of the list below the root.
    pub(crate) fn list_path(&self) -> String {
        fill(&self.config.m3u8_file, &self.names(0, 0, Moment::default()))
    }

    pub(crate) fn list_place(&self) -> FilePath {
        place(&self.config.path, self.list_path())
    }

    /// Paths under which its lists may be asked for.
    pub(crate) fn list_paths(&self) -> Vec<String> {
        let members = self.listed_members.iter().copied().chain([Member::Main]);
        let of_members = members.map(|member| self.list_path_of(member));
        [self.asked_path(), self.list_path()].into_iter().chain(of_members).collect()
    }

    /// What names segments have, with [`NUMBER`] for the number; `None` when more than the number differs.
    pub(crate) fn segment_pattern(&self) -> Option<FilePath> {
        let fixed = self.config.ts_file.replace("[seq]", NUMBER);
        let has_time =
            ["[timestamp]", "[2006]", "[01]", "[02]", "[15]", "[04]", "[05]", "[999]", "[duration]"];
        let is_plain =
            fixed.matches(NUMBER).count() == 1 && !has_time.iter().any(|part| fixed.contains(part));
        let last = fixed.rsplit('/').next().unwrap_or("");
        let below = fill(&fixed, &self.names(0, 0, Moment::default()));
        (is_plain && last.contains(NUMBER)).then(|| place(&self.config.path, below))
    }

    /// Whether this is the path of a segment that is older than all that can be had.
    pub(crate) fn is_past(&self, path: &str) -> bool {
        let number = self.segment_pattern().and_then(|pattern| {
            let (before, behind) = pattern.below.split_once(NUMBER)?;
            path.strip_prefix(before)?.strip_suffix(behind)?.parse::<u64>().ok()
        });
        let first = self.playlist.available().next().map(|listed| listed.number);
        number.zip(first).is_some_and(|(number, first)| number < first)
    }

    /// Takes what happened in the stream; `unix_ms` is the time of day.
    pub(crate) fn take(
        &mut self,
        event: &FeedEvent,
        lineup: &Lineup,
        unix_ms: i64,
        disk: &mut Disk,
    ) -> Changes {
        let mut changes = Changes::default();
        let is_told = matches!(event, FeedEvent::Break(..) | FeedEvent::Changed);
        if !is_told && !self.knows_tracks || is_told && !self.ready {
            self.look_at_tracks(lineup, &mut changes);
        }
        if !self.ready {
            self.early.keep(&self.key, event, lineup, unix_ms);
            return changes;
        }
        match event {
            FeedEvent::Break(..) => {
                self.end_publish(disk, &mut changes);
                self.anchor = None;
                self.is_listed = false;
                self.renditions.retain(lineup);
                self.look_at_tracks(lineup, &mut changes);
                self.end_lists(disk);
            }
            FeedEvent::Changed => self.changed |= self.look_at_tracks(lineup, &mut changes),
            // MPEG-TS has no place for it.
            FeedEvent::Coded(_, coded) if !lineup.fits_ts(coded.kind, coded.track) => {
                self.refused += 1;
                self.left_out.note(&self.key, "hls", &lineup.name(coded.kind, coded.track));
                changes.is_unfit = self.config.on_error == HlsOnError::Disconnect;
            }
            FeedEvent::Coded(dts_ms, coded) => {
                if coded.track == 0 {
                    self.coded(*dts_ms, coded, unix_ms, disk, &mut changes);
                } else if !self.renditions.has(coded.kind, coded.track) {
                    self.left_out.note(&self.key, "hls", &lineup.name(coded.kind, coded.track));
                    return changes;
                } else if lineup.lacks_first() {
                    self.left_out.note(&self.key, "hls", NO_FIRST);
                }
                self.push_further(*dts_ms, coded);
            }
            FeedEvent::Unfit(what) => {
                self.refused += 1;
                self.left_out.note(&self.key, "hls", what);
                changes.is_unfit = self.config.on_error == HlsOnError::Disconnect;
            }
            FeedEvent::Beyond(kind, track) => self.left_out.note_beyond("hls", *kind, *track),
            FeedEvent::Raw(_) | FeedEvent::Header(_) => {}
        }
        changes
    }

    fn coded(&mut self, dts_ms: i64, coded: &Coded, unix_ms: i64, disk: &mut Disk, changes: &mut Changes) {
        let facts = Facts {
            kind: coded.kind,
            dts_ms,
            is_key: coded.is_key,
            is_break: std::mem::take(&mut self.changed),
            has_video: self.lineup.ts_tracks().has_video(),
        };
        let began = self.segmenter.open();
        match self.segmenter.look(&facts) {
            Cut::Skip => return,
            Cut::Stay => {}
            Cut::Begin { is_break, end_ms } => {
                if let Some(began) = began {
                    self.close(end_ms - began, disk, changes);
                }
                self.anchor = self.anchor.filter(|_| !is_break).or(Some((dts_ms, unix_ms)));
                let mut bytes = Vec::with_capacity(1 << 16);
                if self.absolute {
                    self.packager.begin_anew(&self.lineup, &mut bytes);
                } else {
                    self.packager.begin(&self.lineup, &mut bytes);
                }
                self.packager.owe_sets();
                self.renditions.begin(self.absolute);
                if !is_break {
                    self.look_at_cut(&facts);
                }
                let is_break = is_break || std::mem::take(&mut self.lost_before);
                self.open = Some(Open { bytes, began_ms: dts_ms, is_break, lineup: self.lineup.clone() });
            }
        }
        let Some(open) = &mut self.open else { return };
        if open.bytes.len() > MAX_SEGMENT_BYTES
            || self.packager.push(&self.lineup, dts_ms, coded, &mut open.bytes).is_err()
        {
            self.refused += 1;
        }
    }

    /// Packs a packet for the lists of further tracks.
    fn push_further(&mut self, dts_ms: i64, coded: &Coded) {
        let (refused, told) = self.renditions.push(dts_ms, coded);
        self.refused += refused;
        for member in told {
            tracing::warn!(
                "hls of {}: key frames of {member} lie elsewhere than the first track's: its segments begin without one",
                self.key
            );
        }
    }

    /// Takes up which tracks there are. Whether what was there before is another now.
    fn look_at_tracks(&mut self, lineup: &Lineup, changes: &mut Changes) -> bool {
        self.knows_tracks = true;
        // Who has the list already would not follow it into a list of lists.
        let may_grow = self.is_several || !self.is_listed || self.config.ctx;
        let mut is_other = self.renditions.review(lineup, may_grow, self.open.is_some(), self.absolute);
        self.listed_members.extend(self.renditions.members());
        self.is_several |= !self.is_listed && !self.renditions.is_empty();
        self.tell_lists(changes);
        let lineup = lineup.only(Some(0), Some(0));
        if self.lineup != lineup {
            is_other = true;
            // A track more: it is in the segment that is open, too.
            if let Some(open) = self.open.as_mut().filter(|open| lineup.extends(&open.lineup)) {
                open.lineup = lineup.clone();
                self.packager.begin(&lineup, &mut open.bytes);
            }
            self.lineup = lineup;
        }
        is_other
    }

    /// The lists that have paths of their own.
    fn tell_lists(&self, changes: &mut Changes) {
        let main = Some(Member::Main).filter(|_| self.is_several);
        let members = main.into_iter().chain(self.listed_members.iter().copied());
        changes.lists.extend(members.map(|member| (self.list_path_of(member), member)));
    }

    /// Says once that the encoder's key frames are too far apart for what is configured.
    fn look_at_cut(&mut self, facts: &Facts) {
        let is_between = facts.kind == Kind::Video && !facts.is_key;
        if is_between && self.config.wait_keyframe && !std::mem::replace(&mut self.is_cut_between, true) {
            let target_s = self.playlist.position().target_s;
            tracing::warn!(
                "hls of {}: key frames are further apart than {target_s} s: segments begin without one (hls_fragment, hls_aof_ratio)",
                self.key
            );
        }
    }

    /// Nobody publishes any more: what is open ends.
    pub(crate) fn rest(&mut self, disk: &mut Disk) -> Changes {
        let mut changes = Changes::default();
        if self.ready {
            self.end_publish(disk, &mut changes);
        } else {
            self.early.rest(&self.key);
        }
        changes
    }

    fn end_publish(&mut self, disk: &mut Disk, changes: &mut Changes) {
        match self.segmenter.end() {
            Some(duration_ms) => self.close(duration_ms, disk, changes),
            None => {
                self.open = None;
                self.renditions.drop_open();
            }
        }
    }

    fn close(&mut self, duration_ms: i64, disk: &mut Disk, changes: &mut Changes) {
        let Some(Open { mut bytes, began_ms, is_break, .. }) = self.open.take() else { return };
        self.packager.flush(&mut bytes);
        let others = self.renditions.end();
        let duration_ms = u64::try_from(duration_ms).unwrap_or(0);
        let fragment_ms = i64::try_from(self.config.fragment_ms).unwrap_or(10_000).max(1);
        let wall_ms = self.anchor.map(|(dts_ms, unix_ms)| unix_ms + began_ms - dts_ms);
        if self.absolute {
            // By time: another server that gets the stream gives the same number.
            self.playlist.skip_to(u64::try_from(began_ms.div_euclid(fragment_ms)).unwrap_or(0));
        }
        let number = self.playlist.next_number() + self.writing.len() as u64;
        let mut moment = moment(wall_ms.filter(|_| !self.absolute).unwrap_or(began_ms));
        if self.config.ts_floor {
            moment.unix_ms = moment.unix_ms.div_euclid(fragment_ms);
        }
        let piece = |template: &str, mut bytes: Vec<u8>| {
            // It stays for the whole window: not with the room that it grew into.
            bytes.shrink_to_fit();
            self.store(fill(template, &self.names(number, duration_ms, moment)), bytes.into())
        };
        let others = others.into_iter().map(|(member, bytes)| {
            let (uri, stored) = piece(&member.mark(&self.config.ts_file), bytes);
            (member, uri, stored)
        });
        let others = others.collect();
        let (uri, main) = piece(&self.config.ts_file, bytes);
        let segment = Ended {
            duration_ms,
            is_break: is_break && number > 0,
            began_ms: wall_ms.filter(|_| !self.absolute),
            uri,
            place: Pieces { main, others },
        };
        self.give(segment, disk, changes);
    }
}
