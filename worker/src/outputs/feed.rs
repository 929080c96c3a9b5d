//! One stream as this process reads it: from the ring, packet by packet, once for all who want it.
//!
//! A feed begins when its tracks are known (or have had time to show themselves), so that whoever packs the stream can say
//! at its beginning what is in it.

use bytes::Bytes;
use endpoint::{NOTE_ABSOLUTE_TIME, NOTE_BEGAN_NS, NOTE_BORN_NS, NOTE_FIRST_SEQ};
use media::{Kind, StreamKey};
use mediaring::{Flags, HeaderKind, Lapped, Record, RingReader, Tally};
use remux::{Coded, Lineup, Refused, Seen};

use super::left_out::{LeftOut, NO_FIRST_PICTURES};
use super::live::muxer::Muxer;
use super::live::packet_queue::{Format, StreamHeaders};
use super::live::rules::Rules;

/// How long a new publish may take until both tracks have shown themselves, ms.
const SETTLE_MS: u64 = 600;
/// How long a track may take that the publisher's metadata announce, ms.
const ANNOUNCED_MS: u64 = 3_000;
/// When nothing has come for so long, what is held back until more comes goes out, ms.
const QUIET_MS: u64 = 500;
/// Outputs that lack what nothing but FLV can carry.
const BUT_FLV: &str = "every output but RTMP and FLV";
/// Packets that are looked through for tracks without a sequence header.
const LOOK_AHEAD: u64 = 200;

/// What happens in a stream, in the order of its ring.
#[derive(Debug, Clone)]
pub(crate) enum FeedEvent {
    /// Something has ended, or was missed: what follows stands for itself. The tracks are those of the lineup, and nothing of them
    /// is earlier than that DTS, where it is known.
    Break(Publish, Option<i64>),
    /// The decoder configuration of a track is another.
    Changed,
    /// Something to pack.
    Coded(i64, Coded),
    /// Something that can't be packed: a configuration that makes no sense, or a codec without a place in any container. What it
    /// is, in words.
    Unfit(String),
    /// A packet of the track of this number, which is too high for what is no FLV.
    Beyond(Kind, u8),
    /// A packet as it came, behind what it was found to be.
    Raw(Packet),
}

/// Which publish of all that there ever were: the birth of its stream, and its first packet there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Publish {
    pub(crate) born_ns: u64,
    pub(crate) first_seq: u64,
}

/// A packet as it lay in the ring.
#[derive(Debug, Clone)]
pub(crate) struct Packet {
    pub(crate) kind: Kind,
    pub(crate) dts_ms: i64,
    pub(crate) flags: Flags,
    pub(crate) payload: Bytes,
}

/// Who is told what happens, beside those who watch.
pub(crate) type Sink<'a> = dyn FnMut(&FeedEvent, &Lineup) + 'a;

/// A stream that is read here.
#[derive(Debug)]
pub(crate) struct Feed {
    pub(crate) key: StreamKey,
    ring: Option<RingReader>,
    /// Which stream was read last, also when its ring was given back since.
    born_ns: Option<u64>,
    next: u64,
    /// The tracks are known; the ring is read.
    settled: bool,
    /// Since when somebody has waited for it, monotonic ns.
    since_ns: u64,
    /// It is read from the first packet of the publish.
    whole: bool,
    /// What is read is of this publish.
    publish: Publish,
    pub(crate) lineup: Lineup,
    /// Whether there were pictures, and sounds, of whatever codec.
    kinds: [bool; 2],
    metadata: Option<Bytes>,
    video_header: Option<Bytes>,
    audio_header: Option<Bytes>,
    muxers: [Option<Muxer>; 4],
    pub(crate) rules: Rules,
    /// Sound is packed though nobody listens.
    kept: bool,
    /// Viewers by format.
    pub(crate) viewers: [usize; 4],
    /// How often its writer was asked to wake us at most, ms; `None` when it has to be asked anew.
    pub(crate) pace_ms: Option<u32>,
    /// Somebody who is no viewer wants the stream (HLS, recording).
    pub(crate) pinned: bool,
    /// When something was read last, ms.
    read_ms: u64,
    /// DTS of the newest packet; `None` at the beginning of a publish.
    pub(crate) newest_ms: Option<i64>,
    /// Nobody publishes.
    pub(crate) resting: bool,
    /// Since when nobody has published, monotonic ms.
    pub(crate) rests_since_ms: Option<u64>,
    /// Packets that nothing could be made of.
    pub(crate) refused: u64,
    left_out: LeftOut,
    /// Where what is sent is counted for the stream.
    pub(crate) tally: Option<Tally>,
}

impl Feed {
    pub(crate) fn new(key: StreamKey, since_ns: u64) -> Self {
        Self {
            key,
            since_ns,
            whole: false,
            publish: Publish::default(),
            ring: None,
            born_ns: None,
            next: 0,
            settled: false,
            lineup: Lineup::default(),
            kinds: [false; 2],
            metadata: None,
            video_header: None,
            audio_header: None,
            muxers: Default::default(),
            rules: Rules::default(),
            kept: false,
            viewers: [0; 4],
            pace_ms: None,
            pinned: false,
            read_ms: 0,
            newest_ms: None,
            resting: false,
            rests_since_ms: None,
            refused: 0,
            left_out: LeftOut::default(),
            tally: None,
        }
    }

    /// Whether nobody publishes it, and all that was published is read.
    pub(crate) fn has_ended(&self) -> bool {
        let is_read =
            self.ring.as_ref().map_or_else(|| self.born_ns.is_some(), |ring| self.next >= ring.head());
        self.resting && is_read
    }

    /// Gives the ring back when all of it is read and nobody publishes: a list of segments needs none. Returns whether it was
    /// there.
    pub(crate) fn give_ring_back(&mut self) -> bool {
        self.has_ended() && !self.is_watched() && self.ring.take().is_some()
    }

    /// What those who watch it over HTTP do not get.
    pub(crate) fn left_out(&self) -> &[String] {
        self.left_out.with_outputs()
    }

    /// Whether anybody wants it.
    pub(crate) fn is_wanted(&self) -> bool {
        self.pinned || self.is_watched()
    }

    /// Whether the header of an FLV file says that there are pictures, and sounds.
    pub(crate) fn announced(&self) -> [bool; 2] {
        let [video, audio] = self.kinds;
        self.rules.announced([video || self.lineup.video.is_some(), audio || self.lineup.audio.is_some()])
    }

    /// Other rules may hold.
    pub(crate) fn set_rules(&mut self, rules: Rules) {
        if rules == self.rules {
            return;
        }
        self.rules = rules;
        let headers = stream_headers([&self.metadata, &self.video_header, &self.audio_header]);
        let dts_ms = self.newest_ms.unwrap_or(0);
        for muxer in self.muxers.iter_mut().flatten() {
            muxer.set_rules(rules, &self.lineup, &headers, dts_ms);
        }
    }

    /// Sound is to be packed though nobody listens, or no longer.
    pub(crate) fn keep(&mut self, kept: bool) {
        self.kept = kept;
        if kept {
            self.open(Format::RawAudio);
        } else {
            self.close(Format::RawAudio);
        }
    }

    /// Whether it is.
    pub(crate) fn is_kept(&self) -> bool {
        self.kept
    }

    /// Whether everything since the publish began was read.
    pub(crate) fn is_whole(&self) -> bool {
        self.whole
    }

    /// Whether anything was read since the publish began, or this began.
    pub(crate) fn is_settled(&self) -> bool {
        self.settled
    }

    /// Whether there is, or may be, anything in this format. Of sounds alone it matters which they are.
    pub(crate) fn can_be(&self, format: Format, is_mp3: bool) -> bool {
        if !self.settled {
            return true;
        }
        let own = self.rules.lineup(&self.lineup, format);
        let lineup = own.as_ref().unwrap_or(&self.lineup);
        match format {
            Format::Flv => true,
            Format::Ts => !lineup.ts_tracks().is_empty(),
            Format::Mp4 => !lineup.mp4_tracks().is_empty(),
            Format::RawAudio => lineup.bare_is_mp3() == Some(is_mp3),
        }
    }

    /// Whether its times are the publisher's own.
    pub(crate) fn is_absolute(&self) -> bool {
        self.ring.as_ref().is_some_and(|ring| ring.note(NOTE_ABSOLUTE_TIME) != 0)
    }

    pub(crate) fn muxer(&self, format: Format) -> Option<&Muxer> {
        self.muxers.get(format.index())?.as_ref()
    }

    /// Reads from another ring from now on. A next generation, or the same ring from a successor of its writer, goes on where
    /// it was.
    pub(crate) fn set_ring(&mut self, ring: RingReader) {
        let born_ns = ring.note(NOTE_BORN_NS);
        let same = self.born_ns.replace(born_ns) == Some(born_ns);
        let goes_on = same && ring.head() >= self.next && ring.tail() <= self.next;
        if !goes_on {
            // The first packet of a publish that was waited for, else the newest key frame, else what comes from now on.
            let waited = self.since_ns <= ring.note(NOTE_BEGAN_NS);
            let first =
                ring.note(NOTE_FIRST_SEQ).checked_sub(1).filter(|first| waited && *first >= ring.tail());
            self.whole = first.is_some();
            self.next = first.or_else(|| ring.key()).unwrap_or_else(|| ring.head());
            self.publish = newest_publish(&ring);
            self.settled = false;
            self.newest_ms = None;
        }
        self.ring = Some(ring);
        self.pace_ms = None;
    }

    /// Whether it has viewers.
    pub(crate) fn is_watched(&self) -> bool {
        self.viewers.iter().any(|count| *count > 0)
    }

    /// Somebody begins to watch in this format: what was read since the newest key frame is packed for it.
    fn open(&mut self, format: Format) {
        if self.muxers.get(format.index()).is_none_or(Option::is_some) {
            return;
        }
        let mut muxer = Muxer::new(format, self.rules);
        if let Some(ring) = self.ring.as_ref().filter(|_| self.settled) {
            let from = if self.rules.kept_ms(format) > 0 {
                ring.tail().max(self.publish.first_seq).min(self.next)
            } else {
                ring.key().filter(|key| *key < self.next).unwrap_or(self.next)
            };
            self.tell_again(ring, from, &mut |event, past| {
                muxer.take(event, &past.lineup, || past.stream_headers());
            });
        }
        if let Some(place) = self.muxers.get_mut(format.index()) {
            *place = Some(muxer);
        }
    }

    /// Tells what was read from a packet on, as if it were read now.
    fn tell_again(&self, ring: &RingReader, from: u64, tell: &mut dyn FnMut(&FeedEvent, &Past)) {
        let mut past = Past::at(ring, from, self.lineup.firsts());
        // Of MP3 nothing but its packets tells that it is there.
        past.lineup.take_sounds_of(&self.lineup);
        tell(&FeedEvent::Break(self.publish, begin_ms(ring, from)), &past);
        for seq in from..self.next {
            let Ok(packet) = ring.record(seq).and_then(|record| read(ring, &record)) else { continue };
            let (events, _) = past.take(packet);
            for event in events {
                tell(&event, &past);
            }
        }
    }

    /// Somebody wants a stream that is being read: it is told what came since the newest key frame.
    pub(crate) fn catch_up(&self, sink: &mut Sink<'_>) {
        let Some(ring) = self.ring.as_ref().filter(|_| self.settled) else { return };
        let from = ring.key().filter(|key| *key < self.next).unwrap_or(self.next);
        self.tell_again(ring, from, &mut |event, past| {
            sink(event, &past.lineup);
            if matches!(event, FeedEvent::Break(..)) {
                for packet in headers([&past.metadata, &past.video_header, &past.audio_header]) {
                    sink(&FeedEvent::Raw(packet), &past.lineup);
                }
            }
        });
    }

    /// Reads what has come. What happened is packed for the formats that are open, and told to `sink`. Returns when to call
    /// again though nothing has come, ms.
    pub(crate) fn pump(&mut self, now_ms: u64, sink: &mut Sink<'_>) -> Option<u64> {
        let ring = self.ring.take()?;
        let (mut again, from) = (None, self.next);
        while self.next < ring.head() {
            if !self.settled {
                again = self.settle(&ring, now_ms);
                if again.is_some() {
                    break;
                }
                if ring.record(self.next).is_ok_and(|record| record.flags.contains(Flags::DISCONTINUITY)) {
                    self.publish.first_seq = self.next;
                }
                self.pass_on(&FeedEvent::Break(self.publish, begin_ms(&ring, self.next)), sink);
                self.tell_headers(sink);
            }
            if let Err(Lapped) = self.read_one(&ring, sink) {
                self.next = ring.key().filter(|key| *key > self.next).unwrap_or_else(|| ring.head());
                self.whole = false;
                if self.publish.first_seq <= newest_publish(&ring).first_seq.min(self.next) {
                    self.publish = newest_publish(&ring);
                }
                self.pass_on(&FeedEvent::Break(self.publish, begin_ms(&ring, self.next)), sink);
            }
        }
        if self.resting && self.next >= ring.head() {
            self.muxers.iter_mut().flatten().for_each(Muxer::flush);
        }
        self.ring = Some(ring);
        if self.next != from {
            self.read_ms = now_ms;
        }
        [again, self.let_out(now_ms)].into_iter().flatten().min()
    }

    /// A picture that nothing follows is seen, too: how long it lasts is told when something does. Returns when to look again.
    fn let_out(&mut self, now_ms: u64) -> Option<u64> {
        let until_ms = self.read_ms + QUIET_MS;
        let mut again = None;
        for muxer in self.muxers.iter_mut().flatten().filter(|muxer| muxer.holds()) {
            if now_ms >= until_ms {
                muxer.flush();
            } else {
                again = Some(until_ms);
            }
        }
        again
    }

    /// Whoever keeps packets as they come has to know what came before.
    fn tell_headers(&self, sink: &mut Sink<'_>) {
        for packet in headers([&self.metadata, &self.video_header, &self.audio_header]) {
            sink(&FeedEvent::Raw(packet), &self.lineup);
        }
    }

    /// Finds out which tracks there are, or when to look again.
    fn settle(&mut self, ring: &RingReader, now_ms: u64) -> Option<u64> {
        let mut past = Past::ahead(ring, self.next, [0; 2]);
        let has = [past.lineup.has_pictures(), past.lineup.audio.is_some()];
        let complete = has == [true; 2];
        let metadata = past.metadata.as_ref().or(self.metadata.as_ref());
        let announced = metadata.map(|metadata| announced_by(metadata)).unwrap_or_default();
        let is_awaited = announced.into_iter().zip(has).any(|(announced, has)| announced && !has);
        let patience_ms = if is_awaited { ANNOUNCED_MS } else { SETTLE_MS };
        let until = ring.note(NOTE_BEGAN_NS) / 1_000_000 + patience_ms;
        if !complete && now_ms < until && !self.resting {
            return Some(until);
        }
        let firsts = past.lineup.lowest();
        if firsts != past.lineup.firsts() {
            past = Past::ahead(ring, self.next, firsts);
        }
        self.kinds = past.kinds;
        self.lineup = past.lineup;
        self.metadata = past.metadata.or_else(|| self.metadata.take());
        (self.video_header, self.audio_header) = (past.video_header, past.audio_header);
        self.settled = true;
        None
    }

    fn read_one(&mut self, ring: &RingReader, sink: &mut Sink<'_>) -> Result<(), Lapped> {
        let record = ring.record(self.next)?;
        let begins = record.flags.contains(Flags::DISCONTINUITY);
        if begins && self.newest_ms.take().is_some() {
            // Another publisher: its tracks have to show themselves. It is looked at again when they have.
            self.settled = false;
            self.whole = true;
            return Ok(());
        }
        let packet = read(ring, &record)?;
        self.next += 1;
        if packet.kind != Kind::Data {
            self.newest_ms = Some(packet.dts_ms);
        }
        let mut past = Past {
            lineup: std::mem::take(&mut self.lineup),
            metadata: self.metadata.take(),
            video_header: self.video_header.take(),
            audio_header: self.audio_header.take(),
            kinds: self.kinds,
        };
        let (events, refused) = past.take(packet);
        self.refused += u64::from(refused);
        self.lineup = past.lineup;
        self.kinds = past.kinds;
        self.metadata = past.metadata;
        (self.video_header, self.audio_header) = (past.video_header, past.audio_header);
        for event in events {
            self.pass_on(&event, sink);
        }
        Ok(())
    }

    /// Somebody gets a picture. Without pictures of the first track, what it is made of begins anywhere.
    pub(crate) fn note_picture(&mut self) {
        if self.lineup.lacks_first_pictures() {
            self.left_out.note(&self.key, ".jpg", NO_FIRST_PICTURES);
        }
    }

    /// Says what viewers of a format do not get.
    fn note_left_out(&mut self, event: &FeedEvent) {
        let is_watched = |format: Format| self.viewers.get(format.index()).is_some_and(|count| *count > 0);
        match event {
            FeedEvent::Coded(_, coded) => {
                let is_sound = coded.kind == Kind::Audio;
                let name = || self.lineup.name(coded.kind, coded.track);
                if is_watched(Format::Ts) && !self.lineup.fits_ts(coded.kind, coded.track) {
                    self.left_out.note(&self.key, "the transport stream", &name());
                } else if is_watched(Format::Ts)
                    && !self.rules.leaves_out(Kind::Video, Format::Ts)
                    && self.lineup.lacks_first_pictures()
                {
                    self.left_out.note(&self.key, "the transport stream", NO_FIRST_PICTURES);
                } else if is_sound && coded.track > 0 && is_watched(Format::RawAudio) {
                    self.left_out.note(&self.key, ".aac or .mp3", &name());
                }
            }
            FeedEvent::Unfit(what) => self.left_out.note(&self.key, BUT_FLV, what),
            FeedEvent::Beyond(kind, track) => {
                if let Some(what) = self.left_out.count_beyond(*kind, *track) {
                    self.left_out.note(&self.key, BUT_FLV, &what);
                }
            }
            _ => {}
        }
    }

    fn pass_on(&mut self, event: &FeedEvent, sink: &mut Sink<'_>) {
        self.note_left_out(event);
        let headers = [&self.metadata, &self.video_header, &self.audio_header];
        for muxer in self.muxers.iter_mut().flatten() {
            muxer.take(event, &self.lineup, || stream_headers(headers));
        }
        sink(event, &self.lineup);
    }

    /// Somebody publishes it, or nobody any more: then what was gathered goes out with the next look.
    pub(crate) fn set_live(&mut self, live: bool, now_ms: u64) {
        self.resting = !live;
        self.rests_since_ms = if live { None } else { self.rests_since_ms.or(Some(now_ms)) };
    }

    /// Somebody watches it in this format.
    pub(crate) fn join(&mut self, format: Format) {
        if let Some(count) = self.viewers.get_mut(format.index()) {
            *count += 1;
        }
        self.open(format);
    }

    /// Somebody does so no longer.
    pub(crate) fn leave(&mut self, format: Format) {
        let Some(count) = self.viewers.get_mut(format.index()) else { return };
        *count = count.saturating_sub(1);
        self.close(format);
    }

    /// What nobody wants is not packed.
    fn close(&mut self, format: Format) {
        let is_wanted = self.viewers.get(format.index()).is_some_and(|count| *count > 0)
            || self.kept && format == Format::RawAudio;
        if let Some(place) = self.muxers.get_mut(format.index()).filter(|_| !is_wanted) {
            *place = None;
        }
    }

    /// Lets go of what the viewers of a format do not need; `wanted` is what the last of them has yet to get.
    pub(crate) fn trim(&mut self, format: Format, wanted: u64, queue_ms: i64) {
        let oldest_ms = self.newest_ms.unwrap_or(0).saturating_sub(queue_ms);
        if let Some(Some(muxer)) = self.muxers.get_mut(format.index()) {
            let kept_ms = self.rules.kept_ms(format);
            muxer.packets_mut().trim(wanted, oldest_ms, kept_ms);
        }
    }
}

/// The earlier of the first picture and the first sound from a packet on, as far as they are there: the track that comes second
/// may lie before the first.
fn begin_ms(ring: &RingReader, from: u64) -> Option<i64> {
    let mut first: [Option<i64>; 2] = [None; 2];
    for record in (from..ring.head().min(from + LOOK_AHEAD)).map_while(|seq| ring.record(seq).ok()) {
        if record.kind != Kind::Data && !record.flags.contains(Flags::SEQUENCE_HEADER) {
            let place = first.get_mut(usize::from(record.kind == Kind::Audio))?;
            place.get_or_insert(record.dts_ms);
        }
        if first.iter().all(Option::is_some) {
            break;
        }
    }
    first.into_iter().flatten().min()
}

fn newest_publish(ring: &RingReader) -> Publish {
    let first_seq = ring.note(NOTE_FIRST_SEQ).saturating_sub(1);
    Publish { born_ns: ring.note(NOTE_BORN_NS), first_seq }
}

/// Whether metadata announce pictures, and sounds.
fn announced_by(metadata: &[u8]) -> [bool; 2] {
    let values = amf0::decode_all(metadata, &amf0::Limits::default()).unwrap_or_default();
    let Some(properties) = values.get(1) else { return [false; 2] };
    let says = |flag: &str, codec: &str| {
        let is_set = matches!(properties.get(flag), Some(amf0::Value::Boolean(true)));
        let has_codec = properties.get(codec).is_some_and(|codec| {
            codec.as_f64().is_some_and(|id| id > 0.0) || codec.as_str().is_some_and(|name| !name.is_empty())
        });
        is_set || has_codec
    };
    [says("hasVideo", "videocodecid"), says("hasAudio", "audiocodecid")]
}

/// Metadata and sequence headers as packets.
fn headers([metadata, video, audio]: [&Option<Bytes>; 3]) -> impl Iterator<Item = Packet> {
    each([metadata, video, audio]).map(|(kind, payload)| {
        let info = flv::classify(kind, &payload);
        let flags = match kind {
            Kind::Data => Flags::METADATA,
            _ if info.track != 0 || info.beside => Flags::SEQUENCE_HEADER.with(Flags::FURTHER),
            _ => Flags::SEQUENCE_HEADER,
        };
        Packet { kind, dts_ms: 0, flags, payload }
    })
}

/// Metadata and all that is kept of pictures and of sounds, packet by packet.
fn each([metadata, video, audio]: [&Option<Bytes>; 3]) -> impl Iterator<Item = (Kind, Bytes)> {
    let of = |kind, kept: &Option<Bytes>| {
        let all = kept.as_ref().map(flv::kept::split).unwrap_or_default();
        all.into_iter().map(move |payload| (kind, payload))
    };
    let metadata = metadata.clone().map(|payload| (Kind::Data, payload));
    metadata.into_iter().chain(of(Kind::Video, video)).chain(of(Kind::Audio, audio))
}

fn stream_headers([metadata, video, audio]: [&Option<Bytes>; 3]) -> StreamHeaders {
    each([metadata, video, audio]).collect::<Vec<_>>().into()
}

/// What holds at a place in the stream.
#[derive(Debug, Default)]
struct Past {
    lineup: Lineup,
    /// Whether there were pictures, and sounds.
    kinds: [bool; 2],
    metadata: Option<Bytes>,
    video_header: Option<Bytes>,
    audio_header: Option<Bytes>,
}

impl Past {
    /// What those who begin at `seq` will soon know.
    fn ahead(ring: &RingReader, seq: u64, firsts: [u8; 2]) -> Self {
        let mut past = Self::at(ring, seq, firsts);
        for seq in seq..ring.head().min(seq + LOOK_AHEAD) {
            let Ok(packet) = ring.record(seq).and_then(|record| read(ring, &record)) else { continue };
            past.take(packet);
        }
        past
    }

    /// What holds for somebody who begins at `seq`, where tracks of these numbers are the first of their kinds.
    fn at(ring: &RingReader, seq: u64, firsts: [u8; 2]) -> Self {
        let stored = |kind| ring.header(kind, seq).map(|header| Bytes::from(header.bytes));
        let past = Self {
            lineup: Lineup::default(),
            kinds: [false; 2],
            metadata: stored(HeaderKind::Metadata),
            video_header: stored(HeaderKind::Video),
            audio_header: stored(HeaderKind::Audio),
        };
        let mut lineup = Lineup::with_firsts(firsts);
        for (kind, header) in [(Kind::Video, &past.video_header), (Kind::Audio, &past.audio_header)] {
            // A header that can't be read is none.
            for header in header.as_ref().map(flv::kept::split).unwrap_or_default() {
                let _ = lineup.see_all(kind, &header);
            }
        }
        Self { lineup, ..past }
    }

    fn stream_headers(&self) -> StreamHeaders {
        stream_headers([&self.metadata, &self.video_header, &self.audio_header])
    }

    /// Follows a packet. Returns what happened, and whether nothing could be made of it.
    fn take(&mut self, packet: Packet) -> (Vec<FeedEvent>, bool) {
        if packet.flags.contains(Flags::METADATA) {
            self.metadata = Some(packet.payload.clone());
        }
        if packet.flags.contains(Flags::SEQUENCE_HEADER) {
            let place =
                if packet.kind == Kind::Video { &mut self.video_header } else { &mut self.audio_header };
            *place = Some(flv::kept::with(packet.kind, place.as_ref(), &packet.payload));
        }
        let [video, audio] = &mut self.kinds;
        *video |= packet.kind == Kind::Video;
        *audio |= packet.kind == Kind::Audio;
        let mut events = Vec::with_capacity(3);
        let mut refused = false;
        let all = self.lineup.see_all(packet.kind, &packet.payload).unwrap_or_else(|error| vec![Err(error)]);
        for seen in all {
            match seen {
                Ok(Seen::Config { changed: true }) => events.push(FeedEvent::Changed),
                Ok(Seen::Coded(coded)) => events.push(FeedEvent::Coded(packet.dts_ms, coded)),
                Ok(Seen::Began(coded)) => {
                    events.extend([FeedEvent::Changed, FeedEvent::Coded(packet.dts_ms, coded)]);
                }
                Ok(_) => {}
                Err(error) => {
                    refused = true;
                    tracing::debug!("a packet is not packed: {error}");
                    let what = if packet.kind == Kind::Video { "pictures" } else { "sound" };
                    let what = format!("its {what}: {error}");
                    match error {
                        Refused::Config(_) | Refused::Codec(_) => events.push(FeedEvent::Unfit(what)),
                        Refused::Track(track) => events.push(FeedEvent::Beyond(packet.kind, track)),
                        _ => {}
                    }
                }
            }
        }
        events.push(FeedEvent::Raw(packet));
        (events, refused)
    }
}

fn read(ring: &RingReader, record: &Record) -> Result<Packet, Lapped> {
    let mut wire = Vec::new();
    ring.copy(record.position, record.wire_len, &mut wire)?;
    let mut payload = Vec::new();
    if !endpoint::unpack(&wire, record.payload_len as usize, ring.chunk_size_at(record.seq), &mut payload) {
        return Err(Lapped);
    }
    let payload = Bytes::from(payload);
    Ok(Packet { kind: record.kind, dts_ms: record.dts_ms, flags: record.flags, payload })
}
