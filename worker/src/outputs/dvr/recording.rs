//! One stream's recording: packets to the bytes of one file after the other.

use std::path::PathBuf;

use bytes::Bytes;
use conf::vhost::{Dvr, DvrPlan, TimeJitter};
use hls::template::{Names, fill};
use media::{Kind, StreamKey};
use mediaring::Flags;
use remux::{AccessUnit, Mp4Packager, TrackSet};

use super::Finished;
use crate::disk::{Disk, Job, place};
use crate::outputs::event::FeedEvent;
use crate::outputs::left_out::LeftOut;
use crate::outputs::moment::moment;
use crate::reading::{Packet, Publish};
use crate::recording::FRAGMENT_MS;
use crate::recording::continued::{Length, Piece, Start};
use crate::recording::flv_file::FlvFile;
use crate::recording::mp4_file::{Mp4File, with_room};

/// Bytes that are gathered before they are written.
const BATCH_BYTES: usize = 128 << 10;
/// Media that is gathered before it is written, ms.
const BATCH_MS: i64 = 1000;
/// How long it rests after a failure of the disk, ms.
const REST_MS: u64 = 5_000;

#[derive(Debug)]
enum Container {
    Flv(Box<FlvFile>),
    Mp4 {
        packager: Box<Mp4Packager>,
        file: Box<Mp4File>,
    },
    /// A file that is continued: what it is like is the disk's business.
    Continued {
        pieces: Vec<Piece>,
        before: Length,
    },
}

#[derive(Debug)]
struct Current {
    id: u64,
    container: Container,
    began_ms: i64,
    newest_ms: i64,
    /// Not yet given to the disk, and the time of its first byte.
    pending: Vec<u8>,
    pending_ms: i64,
    /// Bytes of the packets so far.
    bytes: u64,
    /// The tracks that it says it has.
    track_set: TrackSet,
}

/// A stream that is recorded.
#[derive(Debug)]
pub(crate) struct Recording {
    pub(crate) key: StreamKey,
    pub(crate) config: Dvr,
    current: Option<Current>,
    /// What is recorded.
    publish: Publish,
    /// What is time 0 in the files of this publish.
    base_ms: Option<i64>,
    /// Nothing of this publish is earlier, where that is known.
    begin_ms: Option<i64>,
    metadata: Option<Bytes>,
    video_header: Option<Bytes>,
    audio_header: Option<Bytes>,
    /// Of which tracks this publish has shown a key frame, a bit for each, and nothing since then is missing: their pictures can
    /// be decoded.
    keys: u8,
    rests_until_ms: u64,
    /// What of the stream is in no file.
    pub(crate) left_out: LeftOut,
    now: (i64, u64),
}

/// A path of the configuration in the directory that is fixed, and the template below it.
pub(crate) fn split(path: &str) -> (PathBuf, String) {
    let is_template = path.contains('[') || path.ends_with(".flv") || path.ends_with(".mp4");
    let template =
        if is_template { path.to_owned() } else { format!("{path}/[app]/[stream].[timestamp].flv") };
    let parts: Vec<&str> = template.split('/').collect();
    let last = parts.len().saturating_sub(1);
    let fixed = parts.iter().position(|part| part.contains('[')).map_or(last, |at| at.min(last));
    let root = parts.get(..fixed).unwrap_or(&[]).join("/");
    let root = match (root.is_empty(), template.starts_with('/')) {
        (true, true) => "/".to_owned(),
        (true, false) => ".".to_owned(),
        _ => root,
    };
    (root.into(), parts.get(fixed..).unwrap_or(&[]).join("/"))
}

impl Recording {
    pub(crate) fn new(key: StreamKey, config: Dvr) -> Self {
        Self {
            key,
            config,
            current: None,
            publish: Publish::default(),
            base_ms: None,
            begin_ms: None,
            metadata: None,
            video_header: None,
            audio_header: None,
            keys: 0,
            rests_until_ms: 0,
            left_out: LeftOut::default(),
            now: (0, 0),
        }
    }

    /// Whether it writes the file of this number.
    pub(crate) fn is_in(&self, id: u64) -> bool {
        self.current.as_ref().is_some_and(|current| current.id == id)
    }

    /// Length in ms and bytes of the file that is open.
    pub(crate) fn progress(&self) -> Option<(u64, u64)> {
        let current = self.current.as_ref()?;
        let (before_ms, bytes) = match &current.container {
            Container::Flv(flv) => (0, flv.len()),
            Container::Mp4 { file, .. } => (0, file.len()),
            Container::Continued { before, .. } => (before.duration_ms, before.bytes + current.bytes),
        };
        Some((before_ms + u64::try_from(current.newest_ms - current.began_ms).unwrap_or(0), bytes))
    }

    /// The file was so long before this publish.
    pub(crate) fn goes_on(&mut self, length: Length) {
        if let Some(Current { container: Container::Continued { before, .. }, .. }) = &mut self.current {
            *before = length;
        }
    }

    fn is_mp4(&self) -> bool {
        self.config.path.ends_with(".mp4")
    }

    /// Takes what happened. Returns the files that end with it, by their numbers.
    pub(crate) fn take(
        &mut self,
        event: &FeedEvent,
        track_set: &TrackSet,
        now: (i64, u64),
        disk: &mut Disk,
    ) -> Vec<(u64, Finished)> {
        self.now = now;
        let mut ended = Vec::new();
        match event {
            FeedEvent::Break(publish, begin_ms) => {
                self.begin_ms = *begin_ms;
                ended.extend(self.close(disk));
                self.base_ms = None;
                self.publish = *publish;
                self.keys = 0;
            }
            // Of a file of fragments the tracks are fixed; FLV has the new configuration as a tag.
            FeedEvent::Changed if self.is_mp4() && !self.has_grown(track_set, disk) => {
                ended.extend(self.close(disk));
            }
            FeedEvent::Changed => {}
            FeedEvent::Raw(packet) | FeedEvent::Header(packet) => {
                self.note(packet);
                if !self.is_mp4() {
                    self.flv_packet(packet, track_set, disk, &mut ended);
                }
            }
            FeedEvent::AccessUnit(dts_ms, coded) if self.is_mp4() => {
                self.mp4_packet(*dts_ms, coded, track_set, disk, &mut ended);
            }
            FeedEvent::Unfit(what) if self.is_mp4() => self.left_out.note(&self.key, "dvr", what),
            FeedEvent::Beyond(kind, track) if self.is_mp4() => {
                self.left_out.note_beyond("dvr", *kind, *track);
            }
            FeedEvent::AccessUnit(..) | FeedEvent::Unfit(_) | FeedEvent::Beyond(..) => {}
        }
        ended
    }

    /// Whether the change is a track more that the open file has got room for.
    fn has_grown(&mut self, track_set: &TrackSet, disk: &Disk) -> bool {
        let Some(current) = self.current.as_mut().filter(|current| track_set.extends(&current.track_set))
        else {
            return false;
        };
        let Container::Mp4 { file, .. } = &mut current.container else { return false };
        let head = Mp4Packager::init_of_file(track_set);
        let Some(patch) = head.and_then(|head| file.set_head(&head)) else { return false };
        current.track_set = track_set.clone();
        disk.push(Job::Patch(current.id, patch))
    }

    fn note(&mut self, packet: &Packet) {
        let place = match packet.kind {
            Kind::Data if packet.flags.contains(Flags::METADATA) => &mut self.metadata,
            Kind::Video if packet.flags.contains(Flags::SEQUENCE_HEADER) => &mut self.video_header,
            Kind::Audio if packet.flags.contains(Flags::SEQUENCE_HEADER) => &mut self.audio_header,
            _ => return,
        };
        *place = match packet.kind {
            Kind::Data => Some(packet.payload.clone()),
            kind => Some(flv::kept::with(kind, place.as_ref(), &packet.payload)),
        };
    }

    /// Whether a file ends before a packet, and whether the packet belongs into one: pictures do from the first key frame of their
    /// track on, sounds always. Files begin with a key frame of the first track.
    fn turn(
        &mut self,
        (kind, track, dts_ms, is_key): (Kind, u8, i64, bool),
        track_set: &TrackSet,
        disk: &mut Disk,
        ended: &mut Vec<(u64, Finished)>,
    ) -> bool {
        let is_picture = kind == Kind::Video;
        let own = 1_u8.checked_shl(u32::from(track)).unwrap_or(0);
        if is_picture && is_key {
            self.keys |= own;
        }
        if is_picture && self.keys & own == 0 {
            return false;
        }
        let can_begin =
            if track_set.video.is_some() { is_picture && is_key && track == 0 } else { !is_picture };
        if let Some(current) = &self.current {
            let length = dts_ms - current.began_ms;
            let limit = i64::try_from(self.config.duration_ms).unwrap_or(i64::MAX);
            let at_a_good_place = can_begin || !self.config.wait_keyframe;
            let is_cut = matches!(self.config.plan, DvrPlan::Segment | DvrPlan::Hss);
            if is_cut && length >= limit && at_a_good_place {
                ended.extend(self.close(disk));
            }
        }
        if self.current.is_none() && self.now.1 >= self.rests_until_ms {
            self.open(dts_ms, track_set, disk);
        }
        self.current.is_some()
    }

    fn open(&mut self, dts_ms: i64, track_set: &TrackSet, disk: &mut Disk) {
        let begin_ms = self.begin_ms.take().map_or(dts_ms, |begin_ms| begin_ms.min(dts_ms));
        let base_ms = *self.base_ms.get_or_insert(begin_ms);
        let (root, template) = split(&self.config.path);
        let names = Names { key: &self.key, number: 0, duration_ms: 0, moment: moment(self.now.0) };
        let file = place(&root, fill(&template, &names));
        let id = disk.ticket();
        let (container, job) = if self.config.plan == DvrPlan::Append {
            let start = self.start(begin_ms, track_set);
            let container = Container::Continued { pieces: Vec::new(), before: Length::default() };
            (container, Job::GoOn(id, file, Box::new(start)))
        } else if self.is_mp4() {
            let Some(init) = Mp4Packager::init_of_file(track_set) else { return };
            let is_whole = track_set.video.is_some() && track_set.audio.is_some();
            let init = if is_whole { init } else { with_room(&init) };
            let packager = Box::new(Mp4Packager::new(FRAGMENT_MS));
            let container = Container::Mp4 { packager, file: Box::new(Mp4File::begin(init.clone())) };
            (container, Job::Begin(id, file, init.into()))
        } else {
            let has_audio = track_set.audio.is_some() || self.audio_header.is_some();
            let (mut flv, mut bytes) =
                FlvFile::begin(self.metadata.as_deref(), has_audio, track_set.video.is_some());
            let time = self.time(dts_ms, base_ms);
            for (kind, header) in [(Kind::Video, &self.video_header), (Kind::Audio, &self.audio_header)] {
                for header in header.as_ref().map(flv::kept::split).unwrap_or_default() {
                    flv.tag(&mut bytes, kind, time, &header, false);
                }
            }
            (Container::Flv(Box::new(flv)), Job::Begin(id, file, bytes.into()))
        };
        if !disk.push(job) {
            self.rests_until_ms = self.now.1 + REST_MS;
            self.keys = 0;
            return;
        }
        self.current = Some(Current {
            id,
            container,
            began_ms: dts_ms,
            newest_ms: dts_ms,
            pending: Vec::new(),
            pending_ms: dts_ms,
            bytes: 0,
            track_set: track_set.clone(),
        });
    }

    /// What a file is continued with.
    fn start(&self, dts_ms: i64, track_set: &TrackSet) -> Start {
        Start {
            key: self.key.clone(),
            publish: self.publish,
            dts_ms,
            absolute: self.config.time_jitter == TimeJitter::Off,
            is_mp4: self.is_mp4(),
            metadata: self.metadata.clone(),
            headers: [self.video_header.clone(), self.audio_header.clone()],
            track_set: track_set.clone(),
        }
    }

    /// Time in a file: from the beginning of the publish, 31 bits.
    fn time(&self, dts_ms: i64, base_ms: i64) -> u32 {
        let time = if self.config.time_jitter == TimeJitter::Off { dts_ms } else { dts_ms - base_ms };
        u32::try_from(time.max(0) & 0x7fff_ffff).unwrap_or(0)
    }

    fn flv_packet(
        &mut self,
        packet: &Packet,
        track_set: &TrackSet,
        disk: &mut Disk,
        ended: &mut Vec<(u64, Finished)>,
    ) {
        let is_header = packet.flags.contains(Flags::SEQUENCE_HEADER);
        let is_key = packet.flags.contains(Flags::KEY);
        let is_frame = packet.kind != Kind::Data && !is_header;
        // Of further tracks the ring does not say where decoders can begin.
        let further = (packet.kind == Kind::Video && packet.flags.contains(Flags::FURTHER))
            .then(|| flv::unit::by_track(packet.kind, &packet.payload)?.into_iter().next())
            .flatten();
        let (track, starts) = further.map_or((0, is_key), |(track, unit)| (track, unit.key_frame));
        if is_frame && !self.turn((packet.kind, track, packet.dts_ms, starts), track_set, disk, ended) {
            return;
        }
        let time = self.time(packet.dts_ms, self.base_ms.unwrap_or(packet.dts_ms));
        let Some(current) = &mut self.current else { return };
        match &mut current.container {
            Container::Flv(flv) => {
                flv.tag(&mut current.pending, packet.kind, time, &packet.payload, is_key);
            }
            Container::Continued { pieces, .. } => {
                let Packet { kind, dts_ms, flags, payload } = packet.clone();
                pieces.push(Piece::Tag { kind, dts_ms, flags, body: payload });
                current.bytes += packet.payload.len() as u64;
            }
            Container::Mp4 { .. } => return,
        }
        current.written(packet.dts_ms, disk);
    }

    fn mp4_packet(
        &mut self,
        dts_ms: i64,
        coded: &AccessUnit,
        track_set: &TrackSet,
        disk: &mut Disk,
        ended: &mut Vec<(u64, Finished)>,
    ) {
        if !self.turn((coded.kind, coded.track, dts_ms, coded.is_key), track_set, disk, ended) {
            return;
        }
        let Some(current) = &mut self.current else { return };
        match &mut current.container {
            Container::Mp4 { packager, file } => {
                if let Some(fragment) = packager.push(dts_ms, coded.clone()) {
                    file.fragment(&fragment.bytes);
                    current.pending.extend_from_slice(&fragment.bytes);
                }
            }
            Container::Continued { pieces, .. } => {
                pieces.push(Piece::Sample(dts_ms, coded.clone()));
                current.bytes += coded.data.len() as u64;
            }
            Container::Flv(_) => return,
        }
        current.written(dts_ms, disk);
    }

    /// The file that is open ends. Returns what is to be known of it when it has its name.
    pub(crate) fn close(&mut self, disk: &mut Disk) -> Option<(u64, Finished)> {
        let mut current = self.current.take()?;
        let (patch, bytes) = match &mut current.container {
            Container::Flv(flv) => (Some(flv.finish()), flv.len()),
            Container::Continued { .. } => (None, 0),
            Container::Mp4 { packager, file } => {
                if let Some(fragment) = packager.flush() {
                    file.fragment(&fragment.bytes);
                    current.pending.extend_from_slice(&fragment.bytes);
                }
                let (index, patch) = file.finish();
                current.pending.extend_from_slice(&index);
                (Some(patch), file.len() + index.len() as u64)
            }
        };
        current.flush(disk);
        disk.push(Job::Finish(current.id, patch));
        let duration_ms = u64::try_from(current.newest_ms - current.began_ms).unwrap_or(0);
        let finished = Finished { key: self.key.clone(), path: PathBuf::new(), duration_ms, bytes };
        Some((current.id, finished))
    }

    /// The disk has failed: what it has is finished, and it is tried again later.
    pub(crate) fn give_up(&mut self, now_ms: u64, disk: &mut Disk) -> Option<(u64, Finished)> {
        self.rests_until_ms = now_ms + REST_MS;
        self.keys = 0;
        if let Some(current) = &mut self.current {
            current.pending.clear();
            if let Container::Continued { pieces, .. } = &mut current.container {
                pieces.clear();
            }
        }
        self.close(disk)
    }
}

impl Current {
    /// Something is pending; it is given to the disk where it is enough.
    fn written(&mut self, dts_ms: i64, disk: &Disk) {
        self.newest_ms = self.newest_ms.max(dts_ms);
        let bytes = match &self.container {
            Container::Continued { pieces, .. } => pieces.iter().map(Piece::len).sum(),
            _ => self.pending.len(),
        };
        if bytes >= BATCH_BYTES || dts_ms - self.pending_ms >= BATCH_MS {
            self.flush(disk);
            self.pending_ms = dts_ms;
        }
    }

    fn flush(&mut self, disk: &Disk) {
        if let Container::Continued { pieces, .. } = &mut self.container
            && !pieces.is_empty()
        {
            disk.take(self.id, std::mem::take(pieces));
        }
        let bytes = std::mem::take(&mut self.pending);
        if !bytes.is_empty() {
            // What does not fit into the queue makes the file fail like a full disk.
            disk.append(self.id, bytes.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_directories_or_templates() {
        let split = |path: &str| {
            let (root, below) = split(path);
            (root.to_string_lossy().into_owned(), below)
        };
        let is = |root: &str, below: &str| (root.to_owned(), below.to_owned());
        assert_eq!(split("./objs/html"), is("./objs/html", "[app]/[stream].[timestamp].flv"));
        assert_eq!(
            split("/data/[app]/[2006]/x.[timestamp].mp4"),
            is("/data", "[app]/[2006]/x.[timestamp].mp4")
        );
        assert_eq!(split("[app].flv"), is(".", "[app].flv"));
        assert_eq!(split("/r-[app].flv"), is("/", "r-[app].flv"));
        assert_eq!(split("/data/one.flv"), is("/data", "one.flv"));
    }
}
