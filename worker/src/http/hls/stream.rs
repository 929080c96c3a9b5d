//! HLS of one stream: packets in, segments and a list out.

use std::io::ErrorKind;

use bytes::Bytes;
use conf::vhost::{Hls, HlsOnError, HlsStorage};
use hls::template::{Moment, Names, fill, fill_plain};
use hls::{Cut, Ended, Facts, Listed, Playlist, Position, Rules, Segmenter};
use media::{Kind, StreamKey};
use remux::{Coded, Lineup, TsPackager};

use super::list;
use crate::http::disk::{Disk, Job, NUMBER, Place, place};
use crate::http::feed::Happening;
use crate::http::left_out::LeftOut;

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
    pub(crate) file: Option<Place>,
    pub(crate) len: u64,
    /// Its path in URLs.
    pub(crate) path: String,
}

#[derive(Debug)]
struct Open {
    bytes: Vec<u8>,
    began_ms: i64,
    is_break: bool,
    /// The tracks that it says it has.
    lineup: Lineup,
}

fn in_memory(listed: &Listed<Stored>) -> u64 {
    listed.segment.place.bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)
}

/// What became of a stream's list.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// Segments that can be had now, by path.
    pub(crate) new: Vec<(String, u64)>,
    /// Paths that can't any more.
    pub(crate) gone: Vec<String>,
    /// The publisher is to end.
    pub(crate) is_unfit: bool,
}

/// HLS of one stream.
#[derive(Debug)]
pub(crate) struct HlsStream {
    pub(crate) key: StreamKey,
    pub(crate) config: Hls,
    segmenter: Segmenter,
    packager: TsPackager,
    pub(crate) playlist: Playlist<Stored>,
    open: Option<Open>,
    /// What the list has: the first track of each kind.
    lineup: Lineup,
    /// When it began, monotonic ms.
    pub(crate) began_ms: u64,
    /// What a former process left is known.
    pub(crate) ready: bool,
    /// The configuration of a track has changed.
    changed: bool,
    /// The stream's time is absolute.
    absolute: bool,
    /// A time of the stream, and what the clock said then, ms since 1970.
    anchor: Option<(i64, i64)>,
    /// Segments on their way to the disk, in order.
    writing: Vec<(u64, Ended<Stored>)>,
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
            began_ms: reactor::now_ms(),
            ready: false,
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

    pub(crate) fn list_place(&self) -> Place {
        place(&self.config.path, self.list_path())
    }

    /// What names segments have, with [`NUMBER`] for the number; `None` when more than the number differs.
    pub(crate) fn segment_pattern(&self) -> Option<Place> {
        let fixed = self.config.ts_file.replace("[seq]", NUMBER);
        let has_time =
            ["[timestamp]", "[2006]", "[01]", "[02]", "[15]", "[04]", "[05]", "[999]", "[duration]"];
        let is_plain =
            fixed.matches(NUMBER).count() == 1 && !has_time.iter().any(|part| fixed.contains(part));
        let last = fixed.rsplit('/').next().unwrap_or("");
        let below = fill(&fixed, &self.names(0, 0, Moment::default()));
        (is_plain && last.contains(NUMBER)).then(|| place(&self.config.path, below))
    }

    /// Takes what happened in the stream; `unix_ms` is the time of day.
    pub(crate) fn take(
        &mut self,
        happening: &Happening,
        lineup: &Lineup,
        unix_ms: i64,
        disk: &mut Disk,
    ) -> Changes {
        let mut changes = Changes::default();
        if !self.ready {
            return changes;
        }
        match happening {
            Happening::Break(..) => {
                self.end_publish(disk, &mut changes);
                self.anchor = None;
                self.lineup = lineup.only(Some(0), Some(0));
            }
            Happening::Changed => {
                let lineup = lineup.only(Some(0), Some(0));
                if self.lineup == lineup {
                    return changes;
                }
                // A track more: it is in the segment that is open, too.
                if let Some(open) = self.open.as_mut().filter(|open| lineup.extends(&open.lineup)) {
                    open.lineup = lineup.clone();
                    self.packager.begin(&lineup, &mut open.bytes);
                }
                self.lineup = lineup;
                self.changed = true;
            }
            // MPEG-TS has no place for it.
            Happening::Coded(_, coded) if !lineup.fits_ts(coded.kind, coded.track) => {
                self.refused += 1;
                self.left_out.note(&self.key, "hls", &lineup.name(coded.kind, coded.track));
                changes.is_unfit = self.config.on_error == HlsOnError::Disconnect;
            }
            Happening::Coded(dts_ms, coded) => {
                if coded.track > 0 {
                    self.left_out.note(&self.key, "hls", &lineup.name(coded.kind, coded.track));
                } else {
                    self.coded(*dts_ms, coded, unix_ms, disk, &mut changes);
                }
            }
            Happening::Unfit(what) => {
                self.refused += 1;
                self.left_out.note(&self.key, "hls", what);
                changes.is_unfit = self.config.on_error == HlsOnError::Disconnect;
            }
            Happening::Further(what) => self.left_out.note(&self.key, "hls", what),
            Happening::Raw(_) => {}
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
        self.end_publish(disk, &mut changes);
        changes
    }

    fn end_publish(&mut self, disk: &mut Disk, changes: &mut Changes) {
        match self.segmenter.end() {
            Some(duration_ms) => self.close(duration_ms, disk, changes),
            None => self.open = None,
        }
    }

    fn close(&mut self, duration_ms: i64, disk: &mut Disk, changes: &mut Changes) {
        let Some(Open { mut bytes, began_ms, is_break, .. }) = self.open.take() else { return };
        self.packager.flush(&mut bytes);
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
        let path = fill(&self.config.ts_file, &self.names(number, duration_ms, moment));
        // It stays for the whole window: not with the room that it grew into.
        bytes.shrink_to_fit();
        let bytes = Bytes::from(bytes);
        let is_kept = self.config.storage != HlsStorage::Disk;
        let file = self.on_disk().then(|| place(&self.config.path, path.clone()));
        let segment = Ended {
            duration_ms,
            is_break: is_break && number > 0,
            began_ms: wall_ms.filter(|_| !self.absolute),
            uri: format!("{}{}", self.config.entry_prefix, list::relative(&self.list_path(), &path)),
            place: Stored {
                bytes: is_kept.then(|| bytes.clone()),
                file: file.clone(),
                len: bytes.len() as u64,
                path,
            },
        };
        match file {
            None => self.list(segment, disk, changes),
            Some(file) => {
                let ticket = disk.ticket();
                self.writing.push((ticket, segment));
                if !disk.push(Job::Write(ticket, file, bytes)) {
                    self.written(ticket, &Err(ErrorKind::StorageFull.into()), disk, changes);
                }
            }
        }
    }

    /// A segment is on the disk, or could not be written.
    pub(crate) fn written(
        &mut self,
        ticket: u64,
        result: &std::io::Result<()>,
        disk: &mut Disk,
        changes: &mut Changes,
    ) {
        let Some(at) = self.writing.iter().position(|(known, _)| *known == ticket) else { return };
        let (_, segment) = self.writing.remove(at);
        let Err(error) = result else {
            return self.list(segment, disk, changes);
        };
        tracing::error!("hls of {}: a segment can't be written: {error}", self.key);
        self.lost += 1;
        self.lost_before = true;
        // Where room helps. On a disk that can't be written at all, the list that names the oldest could not be, either.
        if !matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) {
            return;
        }
        // The oldest make room for those to come: what nobody lists first, then what is no longer listed.
        let wanted = segment.place.len;
        let mut freed = 0;
        let gone = self.playlist.shrink(|listed| {
            freed += listed.segment.place.len;
            freed >= wanted
        });
        self.write_list(disk);
        self.forget(gone, disk, changes);
        self.write_list(disk);
    }

    fn list(&mut self, segment: Ended<Stored>, disk: &mut Disk, changes: &mut Changes) {
        changes.new.push((segment.place.path.clone(), self.playlist.next_number()));
        let mut gone = self.playlist.push(segment);
        self.kept = self.playlist.available().map(in_memory).sum();
        if let Some(over) = self.kept.checked_sub(MAX_MEMORY).filter(|over| *over > 0) {
            gone.extend(self.shrink(over));
        }
        self.write_list(disk);
        self.forget(gone, disk, changes);
    }

    /// Gives up so many bytes in memory, the oldest first; the newest segment stays.
    pub(crate) fn give_up(&mut self, bytes: u64, disk: &Disk) -> Changes {
        let mut changes = Changes::default();
        let gone = self.shrink(bytes);
        self.write_list(disk);
        self.forget(gone, disk, &mut changes);
        changes
    }

    fn shrink(&mut self, mut bytes: u64) -> Vec<Listed<Stored>> {
        if !self.is_told {
            self.is_told = true;
            tracing::warn!(
                "hls of {}: its window is too long for memory (limits {{ hls_memory }})",
                self.key
            );
        }
        let gone = self.playlist.shrink(|listed| {
            bytes = bytes.saturating_sub(in_memory(listed));
            bytes == 0
        });
        self.kept = self.playlist.available().map(in_memory).sum();
        gone
    }

    fn write_list(&self, disk: &Disk) {
        if self.on_disk() {
            let text = self.playlist.text("", "");
            if !text.is_empty() {
                disk.push(Job::Note(self.list_place(), text.into()));
            }
        }
    }

    fn forget(&self, gone: Vec<Listed<Stored>>, disk: &Disk, changes: &mut Changes) {
        let mut files = Vec::new();
        for Listed { segment, .. } in gone {
            changes.gone.push(segment.place.path);
            files.extend(segment.place.file.filter(|_| self.config.cleanup));
        }
        if !files.is_empty() {
            disk.push(Job::Remove(files));
        }
    }

    /// Nobody has published for so long that nobody will, or somebody does again: the list says so.
    pub(crate) fn set_over(&mut self, is_over: bool, disk: &Disk) {
        if self.playlist.set_over(is_over) {
            self.write_list(disk);
        }
    }

    /// Everything goes: nobody has published for too long.
    pub(crate) fn dispose(&mut self, disk: &Disk) -> Changes {
        let mut changes = Changes::default();
        let gone = self.playlist.drain();
        self.forget(gone, disk, &mut changes);
        if self.on_disk() && self.config.cleanup {
            disk.push(Job::Remove(vec![self.list_place()]));
        }
        changes
    }

    /// Takes over what a former process listed and noted. Returns what can be had of it.
    pub(crate) fn recovered(&mut self, text: &str, noted: Option<Position>) -> Changes {
        let mut changes = Changes::default();
        self.ready = true;
        let end = |old: &list::Old| old.first + old.segments.len() as u64;
        let is_newest = |old: &list::Old| noted.is_none_or(|noted| end(old) >= noted.next);
        let Some(old) = list::read(text).filter(is_newest) else {
            // What came behind the last note has a number, too.
            noted.into_iter().for_each(|noted| self.resume(Position { next: noted.next + SLACK, ..noted }));
            return changes;
        };
        self.resume(Position {
            next: old.first,
            discontinuities: old.discontinuities,
            target_s: old.target_s,
        });
        let directory = self.list_path();
        let directory = directory.rsplit_once('/').map_or("", |(above, _)| above).to_owned();
        for segment in old.segments {
            let name = segment.uri.strip_prefix(&self.config.entry_prefix).unwrap_or(&segment.uri).to_owned();
            let path = list::absolute(&directory, &name);
            let file = place(&self.config.path, path.clone());
            changes.new.push((path.clone(), self.playlist.next_number()));
            // How long it is matters only where room is to be made, and these go first anyway.
            let place = Stored { bytes: None, file: Some(file), len: 0, path };
            let Ended { duration_ms, is_break, began_ms, uri, .. } = segment;
            self.playlist.push(Ended { duration_ms, is_break, began_ms, uri, place });
        }
        self.lost_before = true;
        changes
    }

    /// What a client is promised it can take in, bits per second.
    pub(crate) fn bits_per_second(&self) -> u64 {
        let rates = self.playlist.listed().map(|Listed { segment, .. }| {
            segment.place.len.saturating_mul(8000) / segment.duration_ms.max(1)
        });
        rates.max().unwrap_or(0).max(1)
    }
}

/// A moment in local time.
pub(crate) fn moment(unix_ms: i64) -> Moment {
    let Ok(stamp) = jiff::Timestamp::from_millisecond(unix_ms) else {
        return Moment { unix_ms, ..Moment::default() };
    };
    let zoned = stamp.to_zoned(jiff::tz::TimeZone::system());
    let small = |value: i8| u8::try_from(value).unwrap_or(0);
    Moment {
        unix_ms,
        year: zoned.year(),
        month: small(zoned.month()),
        day: small(zoned.day()),
        hour: small(zoned.hour()),
        minute: small(zoned.minute()),
        second: small(zoned.second()),
        millisecond: u16::try_from(zoned.millisecond()).unwrap_or(0),
    }
}
