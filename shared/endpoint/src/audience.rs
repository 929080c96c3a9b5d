//! The viewers of one stream, with the stream's ring: the path from shared memory to sockets.

use std::collections::VecDeque;

use conf::vhost::MwLatency;
use media::{Kind, StreamKey};
use mediaring::{Flags, HeaderKind, Lapped, Record, RingReader, Sent, Tally};
use slab::Slab;

use crate::connection::Connection;
use crate::end::End;
use crate::viewer::{
    BLOCKED, FROM_KEY, GATED, NO_AUDIO, NO_VIDEO, PARTIAL, PAUSED, PRIMED_AUDIO, PRIMED_VIDEO, PRIVATE,
    QUEUED, Viewer, WAITING, WANTS_AUDIO_HEADER, WANTS_HEADERS, WANTS_METADATA, WANTS_VIDEO_HEADER,
};
use crate::{NOTE_ABSOLUTE_TIME, NOTE_BEGAN_NS, NOTE_BORN_NS, NOTE_FIRST_SEQ, wire};

/// Key of an audience in its hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AudienceId(pub(crate) usize);

impl AudienceId {
    /// For processes that keep their viewers otherwise than a hub.
    #[must_use]
    pub fn new(key: usize) -> Self {
        Self(key)
    }

    /// The reverse.
    #[must_use]
    pub fn key(self) -> usize {
        self.0
    }
}

/// How far apart audio and video may lie when a viewer's base is chosen, in packets looked at.
const BASE_SEARCH: u64 = 128;
/// How much of a new publish may pass until its other track shows itself, ms.
const OTHER_TRACK_MS: i64 = 500;
/// Packets with headers of a viewer's own that are made before the socket is tried.
const PRIVATE_BATCH_BYTES: usize = 128 << 10;
/// Where a viewer without key frames begins after a jump: this much behind the live edge, ms.
const AUDIO_JUMP_MS: i64 = 1000;

/// What serving a viewer came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Served {
    /// It has everything there is, or waits for its socket.
    Done,
    /// What it waits for has not come yet.
    NotYet,
    /// The time it asked for is over.
    Finished,
}

/// The viewers of a stream.
#[derive(Debug)]
pub(crate) struct Audience {
    pub(crate) key: StreamKey,
    pub(crate) viewers: Slab<Viewer>,
    pub(crate) ring: Option<RingReader>,
    /// Where what is sent is counted for the stream.
    pub(crate) tally: Option<Tally>,
    pub(crate) gop_cache: bool,
    pub(crate) queue_ms: i64,
    /// Longest queue of one viewer in bytes.
    pub(crate) queue_bytes: u64,
    /// How long packets are gathered.
    pub(crate) latency: MwLatency,
    /// When the gathered packets are due, ms.
    pub(crate) due_ms: Option<u64>,
    /// The pace at which wake-ups come, where their sender gathers, ms.
    pub(crate) pace_ms: Option<u64>,
    /// Position at which the last gathered packets were sent.
    pub(crate) flushed: u64,
    /// Next packet to look at, and the position behind the last one looked at.
    scanned: u64,
    pub(crate) head_position: u64,
    head_dts: i64,
    /// Positions of packets that every viewer needs with a header of its own.
    specials: VecDeque<u64>,
    last_audio: Option<u64>,
    last_video: Option<u64>,
    /// The stream has shown a key frame.
    pub(crate) has_keys: bool,
    /// A viewer waits for the other track of a new publish.
    pub(crate) expectant: bool,
    /// Nobody publishes: nothing more comes for now.
    pub(crate) resting: bool,
    /// When that began, monotonic ms.
    pub(crate) rests_since_ms: u64,
    /// When the ring was last asked to hold more, ms.
    pub(crate) hold_asked_ms: u64,
}

impl Audience {
    pub(crate) fn new(key: StreamKey) -> Self {
        Self {
            key,
            viewers: Slab::new(),
            ring: None,
            tally: None,
            gop_cache: true,
            queue_ms: 30_000,
            queue_bytes: u64::MAX,
            latency: MwLatency::Fixed(0),
            due_ms: None,
            pace_ms: None,
            flushed: 0,
            scanned: 0,
            head_position: 0,
            head_dts: 0,
            specials: VecDeque::new(),
            last_audio: None,
            last_video: None,
            has_keys: false,
            expectant: false,
            resting: false,
            rests_since_ms: 0,
            hold_asked_ms: 0,
        }
    }

    /// Reads from another ring from now on. A next generation, or the same ring from a successor of its writer, has the
    /// same positions, so viewers go on; a ring that knows less than what was already read is another stream: everybody
    /// begins anew.
    pub(crate) fn set_ring(&mut self, ring: RingReader) {
        let same =
            self.ring.as_ref().is_some_and(|known| known.note(NOTE_BORN_NS) == ring.note(NOTE_BORN_NS));
        let goes_on = same && ring.head() >= self.scanned && ring.tail() <= self.scanned;
        if !goes_on {
            // Specials of all that a viewer may be placed at have to be known.
            self.scanned = ring.tail();
            self.head_position = match ring.record(self.scanned) {
                Ok(record) => record.position,
                Err(Lapped) => ring
                    .record(self.scanned.wrapping_sub(1))
                    .map_or_else(|_| ring.tail_position(), |last| last.end()),
            };
            self.specials.clear();
            (self.last_audio, self.last_video) = (None, None);
            self.has_keys = ring.key().is_some();
            let first = self.ring.is_none();
            for (_, viewer) in &mut self.viewers {
                if first && !viewer.has(WAITING) && ring.find(viewer.position).is_ok() {
                    // It came from another process and goes on in the same ring.
                    continue;
                }
                viewer.flags |= WAITING | WANTS_HEADERS;
                if let Some(base) = viewer.base_ms.take() {
                    viewer.resume_ms = (self.head_dts - base + 40).max(0);
                }
                if viewer.has(PARTIAL) {
                    // In the middle of a packet of a ring that is gone: nothing can complete it, it will be closed.
                    viewer.position = u64::MAX;
                }
            }
            self.head_dts = 0;
        }
        self.ring = Some(ring);
        self.refresh();
    }

    /// Looks at what the writer has added. Returns whether there is something.
    pub(crate) fn refresh(&mut self) -> bool {
        let Some(ring) = &self.ring else { return false };
        let head = ring.head();
        if head == self.scanned {
            return false;
        }
        self.resting = false;
        if ring.tail() > self.scanned {
            self.scanned = ring.tail();
        }
        while self.scanned < head {
            let Ok(record) = ring.record(self.scanned) else {
                self.scanned = ring.tail().max(self.scanned + 1);
                continue;
            };
            self.scanned += 1;
            self.head_position = record.end();
            match record.kind {
                Kind::Audio => self.last_audio = Some(record.position),
                Kind::Video => self.last_video = Some(record.position),
                Kind::Data => {}
            }
            if record.kind == Kind::Data || record.flags.contains(Flags::ABSOLUTE) {
                self.specials.push_back(record.position);
            }
            if record.kind != Kind::Data {
                self.head_dts = record.dts_ms;
            }
            self.has_keys |= record.flags.contains(Flags::KEY);
        }
        let tail = ring.tail_position();
        while self.specials.front().is_some_and(|position| *position < tail) {
            self.specials.pop_front();
        }
        true
    }

    /// How far behind the newest packet what a viewer gets next is, ms.
    pub(crate) fn lag_ms(&self, viewer: &Viewer) -> u64 {
        if viewer.has(WAITING) || viewer.position >= self.head_position {
            return 0;
        }
        let next = self.ring.as_ref().and_then(|ring| ring.find(viewer.position).ok());
        next.map_or(0, |record| u64::try_from(self.head_dts - record.dts_ms).unwrap_or(0))
    }

    /// Where a run of packets that go as they are, from `position`, ends.
    fn run_end(&self, position: u64) -> u64 {
        // Specials are few; the newest matter most, since viewers are near the head.
        let mut end = self.head_position;
        for special in self.specials.iter().rev() {
            if *special < position {
                break;
            }
            end = *special;
        }
        end
    }

    /// Whether each packet from `position` on follows one of its track that this viewer got.
    fn is_primed(&self, viewer: &Viewer) -> bool {
        let ahead = |last: Option<u64>| last.is_some_and(|last| last >= viewer.position);
        (viewer.has(PRIMED_AUDIO) || !ahead(self.last_audio))
            && (viewer.has(PRIMED_VIDEO) || !ahead(self.last_video))
    }

    /// Sends a viewer what its socket takes.
    pub(crate) fn serve(
        &mut self,
        key: usize,
        connection: &mut Connection,
        now_ms: u64,
    ) -> Result<Served, End> {
        let Some(mut viewer) = self.viewers.get(key).cloned() else {
            return Ok(Served::Done);
        };
        if viewer.has(WAITING) {
            self.refresh();
        }
        let served = self.serve_viewer(&mut viewer, connection, now_ms);
        self.expectant |= matches!(served, Ok(Served::NotYet));
        if let Some(place) = self.viewers.get_mut(key) {
            *place = viewer;
        }
        served
    }

    /// The common case, without touching the connection: everything that waits goes out as it lies in the ring. `false`
    /// when [`Self::serve`] has to be called.
    pub(crate) fn serve_fast(&mut self, key: usize, now_ms: u64) -> Result<bool, End> {
        let Some(ring) = &self.ring else { return Ok(false) };
        let Some(viewer) = self.viewers.get(key) else { return Ok(true) };
        if viewer.has(BLOCKED) || viewer.position == self.head_position && !viewer.is_slow() {
            return Ok(true);
        }
        if viewer.is_slow() || !self.is_primed(viewer) {
            return Ok(false);
        }
        let end = self.run_end(viewer.position);
        let (socket, position) = (viewer.socket, viewer.position);
        reactor::crash_point("before-send");
        let sent = ring.send(socket, &[], position, end).map_err(End::Socket)?;
        reactor::crash_point("after-send");
        let head = self.head_position;
        let Some(viewer) = self.viewers.get_mut(key) else { return Ok(true) };
        Self::account(viewer, sent, end, now_ms)?;
        Ok(viewer.has(BLOCKED) || viewer.position == head)
    }

    fn account(viewer: &mut Viewer, sent: Sent, end: u64, now_ms: u64) -> Result<(), End> {
        match sent {
            Sent::Lapped => Err(End::Lapped),
            Sent::WouldBlock => {
                viewer.set(BLOCKED, true);
                reactor::crash_point("blocked");
                Ok(())
            }
            Sent::Bytes(count) => {
                viewer.position += count as u64;
                viewer.sent += count as u64;
                viewer.progress_ms = now_ms;
                viewer.set(PARTIAL | BLOCKED, viewer.position < end);
                if viewer.has(PARTIAL) {
                    reactor::crash_point("blocked");
                }
                Ok(())
            }
        }
    }

    fn serve_viewer(
        &self,
        viewer: &mut Viewer,
        connection: &mut Connection,
        now_ms: u64,
    ) -> Result<Served, End> {
        viewer.set(BLOCKED, false);
        let Some(ring) = &self.ring else {
            return self.flush(viewer, connection, now_ms);
        };
        if viewer.has(WAITING) && !viewer.has(PARTIAL) {
            self.place(ring, viewer);
        }
        loop {
            if !viewer.is_slow() && self.is_primed(viewer) {
                let end = self.run_end(viewer.position);
                if viewer.position < end {
                    let sent = ring.send(viewer.socket, &[], viewer.position, end).map_err(End::Socket)?;
                    Self::account(viewer, sent, end, now_ms)?;
                    if viewer.has(BLOCKED) {
                        return Ok(Served::Done);
                    }
                    continue;
                }
            }
            if viewer.has(PARTIAL) && !self.finish_packet(ring, viewer, now_ms)? {
                return Ok(Served::Done);
            }
            if connection.outbox.is_empty() {
                viewer.set(QUEUED, false);
            } else if connection.outbox.len() >= PRIVATE_BATCH_BYTES || !self.can_add(viewer) {
                self.flush(viewer, connection, now_ms)?;
                if viewer.has(BLOCKED) || viewer.has(QUEUED) {
                    return Ok(Served::Done);
                }
                continue;
            }
            if !self.can_add(viewer) {
                return Ok(Served::Done);
            }
            match ring.find(viewer.position) {
                Ok(record) => {
                    let served = self.add_private(ring, &record, viewer, connection, now_ms);
                    if served != Served::Done {
                        self.flush(viewer, connection, now_ms)?;
                        return Ok(served);
                    }
                }
                Err(Lapped) => self.jump(ring, viewer),
            }
        }
    }

    /// Whether there is a packet that this viewer may get now.
    fn can_add(&self, viewer: &Viewer) -> bool {
        viewer.position < self.head_position && !viewer.has(PAUSED) && !viewer.has(WAITING)
    }

    fn flush(&self, viewer: &mut Viewer, connection: &mut Connection, now_ms: u64) -> Result<Served, End> {
        let blocked = viewer.flush(connection, now_ms)?;
        viewer.set(BLOCKED, blocked);
        viewer.set(QUEUED, !connection.outbox.is_empty());
        Ok(Served::Done)
    }

    /// Sends the rest of a packet that went out in part; `true` when the viewer stands at a packet's beginning.
    fn finish_packet(&self, ring: &RingReader, viewer: &mut Viewer, now_ms: u64) -> Result<bool, End> {
        if viewer.position == self.head_position {
            viewer.set(PARTIAL, false);
            return Ok(true);
        }
        let Ok(record) = ring.find(viewer.position) else {
            return Err(End::Lapped);
        };
        if record.position < viewer.position {
            let sent = ring.send(viewer.socket, &[], viewer.position, record.end()).map_err(End::Socket)?;
            Self::account(viewer, sent, record.end(), now_ms)?;
            if viewer.has(BLOCKED) {
                return Ok(false);
            }
        }
        viewer.set(PARTIAL, false);
        Ok(true)
    }

    /// Gives a new viewer its place: the first packet of a publish that it waited for, else the newest key frame, else the
    /// live edge.
    fn place(&self, ring: &RingReader, viewer: &mut Viewer) {
        let waited = viewer.joined_ns <= ring.note(NOTE_BEGAN_NS);
        let first = ring.note(NOTE_FIRST_SEQ).checked_sub(1).filter(|_| waited);
        let key = if self.gop_cache && viewer.has(FROM_KEY) { ring.key() } else { None };
        let place = [first, key].into_iter().flatten().find_map(|seq| ring.record(seq).ok());
        match place {
            // It may lie beyond what was looked at so far: then the viewer gets it with the next look.
            Some(record) => {
                viewer.position = record.position;
                viewer.first_seq = record.seq;
            }
            None => {
                viewer.position = self.head_position;
                viewer.first_seq = self.scanned;
            }
        }
        viewer.set(WAITING | PRIMED_AUDIO | PRIMED_VIDEO, false);
    }

    /// The base of a viewer whose first packet is `record`: its time, or that of the other track where that lies behind, so
    /// that nothing has to be sent before 0. `None` when the other track has not shown itself in a publish that has just
    /// begun: then it is waited for, up to half a second.
    fn base_for(&self, ring: &RingReader, record: &Record, now_ms: u64) -> Option<i64> {
        if ring.note(NOTE_ABSOLUTE_TIME) != 0 {
            return Some(0);
        }
        let is_other = |other: &Record| {
            other.kind != record.kind
                && other.kind != Kind::Data
                && !other.flags.contains(Flags::SEQUENCE_HEADER)
        };
        let near = |other: &i64| (record.dts_ms - other).abs() <= 10_000;
        let before = (1..=BASE_SEARCH.min(record.seq)).map(|back| record.seq - back);
        let after = record.seq + 1..self.scanned.min(record.seq + BASE_SEARCH);
        let find = |seqs: &mut dyn Iterator<Item = u64>| {
            seqs.filter_map(|seq| ring.record(seq).ok()).find(is_other).map(|other| other.dts_ms).filter(near)
        };
        if let Some(other) = find(&mut before.into_iter()).or_else(|| find(&mut after.into_iter())) {
            return Some(record.dts_ms.min(other));
        }
        let first = ring.note(NOTE_FIRST_SEQ).checked_sub(1).and_then(|seq| ring.record(seq).ok());
        let is_new = first.is_some_and(|first| self.head_dts - first.dts_ms < OTHER_TRACK_MS);
        let age_ms = now_ms.saturating_sub(ring.note(NOTE_BEGAN_NS) / 1_000_000);
        let is_young = age_ms < OTHER_TRACK_MS.unsigned_abs();
        (!is_new || !is_young || self.resting).then_some(record.dts_ms)
    }

    /// Puts one packet into the outbox with a header of the viewer's own (or passes over it), and moves on.
    fn add_private(
        &self,
        ring: &RingReader,
        record: &Record,
        viewer: &mut Viewer,
        connection: &mut Connection,
        now_ms: u64,
    ) -> Served {
        let is_frame = record.kind != Kind::Data;
        let unwanted = match record.kind {
            Kind::Audio => viewer.has(NO_AUDIO),
            Kind::Video => viewer.has(NO_VIDEO) || viewer.has(GATED) && !record.flags.contains(Flags::KEY),
            Kind::Data => false,
        } && !record.flags.contains(Flags::SEQUENCE_HEADER);
        if unwanted {
            viewer.position = record.end();
            viewer.set(Viewer::primed(record.kind), false);
            viewer.dropped += u64::from(viewer.has(GATED));
            return Served::Done;
        }
        if is_frame && viewer.base_ms.is_none() {
            match self.base_for(ring, record, now_ms) {
                Some(base) => viewer.base_ms = Some(base - viewer.resume_ms),
                None => return Served::NotYet,
            }
        }
        if let (Some(duration), None, true) = (viewer.duration_ms, viewer.until_ms, is_frame) {
            viewer.until_ms = Some(record.dts_ms.saturating_add(i64::try_from(duration).unwrap_or(i64::MAX)));
        }
        if is_frame && viewer.until_ms.is_some_and(|until| record.dts_ms >= until) {
            return Served::Finished;
        }
        let chunk_size = ring.chunk_size_at(record.seq);
        let mut payload = Vec::new();
        let mut bytes = Vec::new();
        if ring.copy(record.position, record.wire_len, &mut bytes).is_err()
            || !wire::unpack(&bytes, record.payload_len as usize, chunk_size, &mut payload)
        {
            // Lapped between finding and copying.
            self.jump(ring, viewer);
            return Served::Done;
        }
        if !viewer.has(PRIVATE)
            && connection.playing.len() == 1
            && connection.session.out_chunk_size() != chunk_size
        {
            // What follows goes as it lies in the ring, cut like this packet.
            connection.announce_chunk_size(chunk_size);
            viewer.set(QUEUED, true);
        }
        self.add_headers(ring, record, viewer, connection);
        let absolute = ring.note(NOTE_ABSOLUTE_TIME) != 0;
        let is_metadata = record.flags.contains(Flags::METADATA);
        let time = if is_metadata && !absolute { 0 } else { viewer.time(record.dts_ms) };
        write(viewer, connection, record.kind, time, &payload);
        if viewer.has(GATED) && record.flags.contains(Flags::KEY) {
            viewer.set(GATED, false);
        }
        viewer.position = record.end();
        let shared = !viewer.has(PRIVATE) && connection.session.out_chunk_size() == chunk_size;
        if !shared {
            viewer.set(PRIVATE, true);
        }
        viewer.set(Viewer::primed(record.kind), shared && is_frame);
        Served::Done
    }

    /// The kept headers that hold for `record`, for a viewer that has not got them.
    fn add_headers(
        &self,
        ring: &RingReader,
        record: &Record,
        viewer: &mut Viewer,
        connection: &mut Connection,
    ) {
        let is_header =
            record.flags.contains(Flags::SEQUENCE_HEADER) && !record.flags.contains(Flags::FURTHER);
        let itself = match (record.kind, is_header) {
            (Kind::Video, true) => WANTS_VIDEO_HEADER,
            (Kind::Audio, true) => WANTS_AUDIO_HEADER,
            (Kind::Data, _) if record.flags.contains(Flags::METADATA) => WANTS_METADATA,
            _ => 0,
        };
        viewer.set(itself, false);
        if record.kind == Kind::Data || !viewer.has(WANTS_HEADERS) {
            return;
        }
        let absolute = ring.note(NOTE_ABSOLUTE_TIME) != 0;
        for (flag, header, kind) in [
            (WANTS_METADATA, HeaderKind::Metadata, Kind::Data),
            (WANTS_VIDEO_HEADER, HeaderKind::Video, Kind::Video),
            (WANTS_AUDIO_HEADER, HeaderKind::Audio, Kind::Audio),
        ] {
            if !viewer.has(flag) {
                continue;
            }
            // A header that comes only behind this packet is still ahead in the ring.
            if let Some(stored) = ring.header(header, record.seq).filter(|stored| stored.seq <= record.seq) {
                let time = if kind == Kind::Data && !absolute { 0 } else { viewer.time(record.dts_ms) };
                let bytes = bytes::Bytes::from(stored.bytes);
                let all = if kind == Kind::Data { vec![bytes] } else { flv::kept::split(&bytes) };
                all.iter().for_each(|packet| write(viewer, connection, kind, time, packet));
            }
            viewer.set(flag, false);
        }
    }

    /// Moves a viewer that lags, or was lapped, to the newest key frame (it stands at a packet's beginning).
    fn jump(&self, ring: &RingReader, viewer: &mut Viewer) {
        let from = ring.find(viewer.position).map(|record| record.seq).ok();
        let target = match ring.key().and_then(|key| ring.record(key).ok()) {
            Some(key) if key.position > viewer.position && key.position < self.head_position => Some(key),
            _ if self.last_video.is_none() => (ring.tail()..self.scanned).rev().find_map(|seq| {
                let record = ring.record(seq).ok()?;
                (record.dts_ms <= self.head_dts - AUDIO_JUMP_MS).then_some(record)
            }),
            _ => None,
        };
        let target = target.filter(|target| target.position > viewer.position);
        let to = target.map_or(self.scanned, |target| target.seq);
        viewer.position = target.map_or(self.head_position, |target| target.position);
        if target.is_none() && self.has_keys && self.last_video.is_some() {
            viewer.set(GATED, true);
        }
        // Without a record of where it stood, what lies below the ring's tail is all that can be counted.
        let from = from.unwrap_or_else(|| ring.tail());
        viewer.dropped += to.saturating_sub(from);
        viewer.jumps += 1;
        viewer.set(PRIMED_AUDIO | PRIMED_VIDEO, false);
        viewer.set(WANTS_VIDEO_HEADER | WANTS_AUDIO_HEADER, true);
    }

    /// Looks after a viewer that can't take its packets (blocked or paused): moves it on before the ring laps it, or when
    /// it lags more than the queue length. Returns how far it lags in ms when the ring should hold more.
    pub(crate) fn watch(
        &mut self,
        key: usize,
        connection: &mut Connection,
        look_at_time: bool,
    ) -> Option<u64> {
        let ring = self.ring.as_ref()?;
        let mut viewer = self.viewers.get(key)?.clone();
        if viewer.has(WAITING) || viewer.position >= self.head_position {
            return None;
        }
        let capacity = ring.shape().data_bytes;
        let behind = self.head_position - viewer.position;
        let about_to_be_lapped = behind > capacity - capacity / 8 || viewer.position < ring.tail_position();
        let mut lag_ms = 0;
        let mut too_late = behind > self.queue_bytes;
        if look_at_time || about_to_be_lapped {
            match ring.find(viewer.position) {
                Ok(record) => {
                    lag_ms = self.head_dts - record.dts_ms;
                    too_late |= lag_ms > self.queue_ms;
                }
                Err(Lapped) => too_late = true,
            }
        }
        if about_to_be_lapped || too_late {
            if viewer.has(PARTIAL) && !Self::keep_rest(ring, &mut viewer, connection) {
                // The rest of its packet is gone: served, it will be closed.
                return None;
            }
            let was = viewer.position;
            self.jump(ring, &mut viewer);
            if viewer.position == was {
                viewer.jumps -= 1;
            }
        }
        let hold =
            (behind > capacity / 2 && !too_late).then(|| u64::try_from(lag_ms.max(500)).unwrap_or(500));
        if let Some(place) = self.viewers.get_mut(key) {
            *place = viewer;
        }
        hold
    }

    /// Copies the rest of a packet that went out in part into the outbox, before all else: the viewer can leave its place.
    fn keep_rest(ring: &RingReader, viewer: &mut Viewer, connection: &mut Connection) -> bool {
        let Ok(record) = ring.find(viewer.position) else { return false };
        if record.position < viewer.position {
            let Ok(left) = u32::try_from(record.end() - viewer.position) else { return false };
            let mut rest = Vec::new();
            if ring.copy(viewer.position, left, &mut rest).is_err() {
                return false;
            }
            connection.outbox.prepend(&rest);
            viewer.set(QUEUED, true);
            viewer.position = record.end();
        }
        viewer.set(PARTIAL, false);
        true
    }

    /// Brings a viewer to a packet's beginning, so that its connection can get other bytes or another owner.
    pub(crate) fn settle(&mut self, key: usize, connection: &mut Connection) -> bool {
        let (Some(ring), Some(viewer)) = (&self.ring, self.viewers.get_mut(key)) else {
            return true;
        };
        !viewer.has(PARTIAL) || Self::keep_rest(ring, viewer, connection)
    }

    /// How many packets a viewer got.
    pub(crate) fn frames(&self, viewer: &Viewer) -> u64 {
        let Some(ring) = &self.ring else { return 0 };
        if viewer.has(WAITING) {
            return 0;
        }
        let at = ring.find(viewer.position).map_or(self.scanned, |record| record.seq);
        at.saturating_sub(viewer.first_seq).saturating_sub(viewer.dropped)
    }
}

/// One message into the outbox.
fn write(viewer: &mut Viewer, connection: &mut Connection, kind: Kind, time: u32, payload: &[u8]) {
    let chunk_size = connection.session.out_chunk_size();
    let out = connection.outbox.tail();
    let csid = viewer.csid(kind);
    rtmp::chunk::writer::write_message(out, csid, time, kind.type_id(), viewer.msid, payload, chunk_size);
    viewer.set(QUEUED, true);
}
