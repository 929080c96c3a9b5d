//! One stream: its timeline, its headers, who publishes it, who reads it; its packets go into its ring.

use bytes::Bytes;
use flv::PacketInfo;
use ipc::StreamInfo;
use media::timeline::{Jitter, Timeline};
use media::{Kind, StreamKey};
use mediaring::{Flags, HeaderKind, RingError, RingWriter};

use crate::figures::Figures;
use crate::metadata::{self, DataMessage};
use crate::publisher::Publish;
use crate::stream_ring::{Bounds, Need, Put, StreamRing};
use crate::subscribers::{Subscribers, Wakes};
use crate::tracks::Tracks;

/// What the vhost says of its streams.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    pub(crate) jitter: Jitter,
    pub(crate) absolute: bool,
    pub(crate) auto_absolute: bool,
    pub(crate) gop_cache: bool,
    pub(crate) max_gop_frames: u64,
    pub(crate) queue_ms: u64,
    pub(crate) chunk_size: u32,
    /// The server's version.
    pub(crate) version: &'static str,
}

impl Rules {
    fn jitter(self) -> Jitter {
        if self.absolute { Jitter::Off } else { self.jitter }
    }

    fn need(self) -> Need {
        Need { gop_frames: self.gop_cache.then_some(self.max_gop_frames), queue_ms: self.queue_ms }
    }
}

/// A packet as a publisher sends it, whatever it came over.
#[derive(Debug)]
pub(crate) struct Packet {
    kind: Kind,
    /// The publisher's time, ms; it goes on where a clock of fewer bits wraps.
    pub(crate) dts_ms: i64,
    info: PacketInfo,
    /// The body of an FLV tag.
    payload: Bytes,
}

impl Packet {
    pub(crate) fn new(kind: Kind, dts_ms: i64, payload: Bytes) -> Self {
        let info = flv::classify(kind, &payload);
        Self { kind, dts_ms, info, payload }
    }

    /// Whether it is a picture or a sound, not a header, metadata or nothing: its time is one of the publisher's clock.
    pub(crate) fn is_frame(&self) -> bool {
        let PacketInfo { sequence_header, beside, end_of_sequence, .. } = self.info;
        self.kind != Kind::Data && !self.payload.is_empty() && !(sequence_header || beside || end_of_sequence)
    }
}

/// A stream.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) id: u32,
    pub(crate) key: StreamKey,
    pub(crate) ring: StreamRing,
    pub(crate) publish: Option<Publish>,
    rules: Rules,
    pub(crate) readers: Subscribers,
    timeline: Timeline,
    absolute: bool,
    /// When nobody published and nobody read any more, ms.
    pub(crate) idle_since_ms: Option<u64>,
    pub(crate) tracks: Tracks,
    pub(crate) figures: Figures,
    /// What is kept of pictures and of sounds for those who join later.
    kept: [Option<Bytes>; 2],
    /// How its pictures are laid out, and how many were laid out as no picture should be.
    framing: flv::nal::Framing,
    mended: u64,
    /// Whether it was said in this publish that data messages are left out or shortened.
    data_told: bool,
}

impl Source {
    /// A new stream.
    ///
    /// # Errors
    /// When there is no memory for its ring.
    pub(crate) fn create(id: u32, key: StreamKey, rules: Rules, bounds: Bounds) -> Result<Self, RingError> {
        let ring = StreamRing::create(id, bounds.initial, rules.chunk_size, rules.need())?;
        Ok(Self::with(id, key, ring, Timeline::new(rules.jitter()), rules))
    }

    /// Takes over the ring of a back-source that is gone.
    pub(crate) fn adopt(id: u32, key: StreamKey, ring: RingWriter, rules: Rules) -> Self {
        let ring = StreamRing::adopt(id, ring, rules.need());
        let (audio, video) = ring.last();
        Self::with(id, key, ring, Timeline::resume(rules.jitter(), audio, video), rules)
    }

    fn with(id: u32, key: StreamKey, ring: StreamRing, timeline: Timeline, rules: Rules) -> Self {
        Self {
            id,
            key,
            ring,
            publish: None,
            rules,
            readers: Subscribers::default(),
            timeline,
            absolute: rules.absolute,
            idle_since_ms: None,
            tracks: Tracks::default(),
            figures: Figures::default(),
            kept: [None, None],
            framing: flv::nal::Framing::default(),
            mended: 0,
            data_told: false,
        }
    }

    pub(crate) fn time_jumps(&self) -> u64 {
        self.timeline.jumps()
    }

    /// A publisher begins.
    pub(crate) fn begin(&mut self, publish: Publish, rules: Rules) {
        self.publish = Some(publish);
        self.rules = rules;
        self.absolute = rules.absolute;
        self.timeline.set_jitter(rules.jitter());
        self.timeline.begin_publish();
        self.idle_since_ms = None;
        self.ring.need = rules.need();
        self.ring.begin();
        self.note_absolute();
        self.tracks = Tracks::default();
        self.figures.begin_publish();
        (self.framing, self.mended) = (flv::nal::Framing::default(), 0);
        self.data_told = false;
        self.kept = [None, None];
    }

    /// Other rules hold from now on. How times are read stays as it is until the next publish: a change in mid-stream would
    /// be a jump.
    pub(crate) fn set_rules(&mut self, rules: Rules) {
        self.ring.set_need(rules.need());
        self.rules = Rules { jitter: self.rules.jitter, absolute: self.rules.absolute, ..rules };
    }

    /// Packets are cut as the rules say from now on. Returns whether the ring is a new generation.
    pub(crate) fn follow_chunk_size(&mut self) -> bool {
        self.ring.follow_chunk_size(self.rules.chunk_size).unwrap_or_else(|error| {
            tracing::error!("the chunk size of {} stays: {error}", self.key);
            false
        })
    }

    /// The publisher has gone: what it left is not for newcomers.
    pub(crate) fn end(&mut self) {
        self.publish = None;
        self.ring.rest();
    }

    /// As readers are told of it.
    pub(crate) fn info(&self) -> StreamInfo {
        StreamInfo { stream_id: self.id, key: self.key.clone(), live: self.publish.is_some() }
    }

    /// Whom to wake of its readers; see [`Subscribers::wakes`].
    pub(crate) fn wakes(&mut self, now_ms: u64, is_new: bool, rests_ms: u64) -> Wakes {
        let writer = self.ring.writer();
        let progress = (writer.head_position(), writer.shape().data_bytes / 4);
        self.readers.wakes(now_ms, is_new, rests_ms, progress)
    }

    /// Id of the connection that publishes, for the log; 0 when there is none.
    pub(crate) fn cid(&self) -> u64 {
        self.publish.map_or(0, |publish| publish.cid)
    }

    fn note_absolute(&self) {
        self.ring.note_absolute(self.absolute || self.rules.jitter == Jitter::Off);
    }

    /// Puts a packet of the publisher into the ring.
    pub(crate) fn put(&mut self, packet: &Packet, bounds: Bounds, limits: &amf0::Limits) -> Put {
        let Packet { kind, dts_ms: at, info, ref payload } = *packet;
        self.figures.count(payload.len());
        if payload.is_empty() {
            return Put::Nothing;
        }
        if kind == Kind::Data {
            return self.put_data(at, payload, bounds, limits);
        }
        let mended = self.mend(kind, payload);
        let payload = mended.as_ref().unwrap_or(payload);
        self.tracks.describe(kind, info, payload);
        let arrival_ms = i64::try_from(reactor::now_ms()).unwrap_or(i64::MAX);
        let dts_ms = if packet.is_frame() {
            self.timeline.frame_at(kind, at, arrival_ms)
        } else {
            self.timeline.aside(kind, at)
        };
        let flags = Self::flags(info);
        if info.sequence_header || info.beside {
            self.keep(kind, dts_ms, payload);
        }
        self.ring.append(kind, flags, dts_ms, payload, bounds)
    }

    /// A picture as it should have been, where it has start codes or empty units: no container takes those, and no player of FLV.
    fn mend(&mut self, kind: Kind, payload: &Bytes) -> Option<Bytes> {
        let mended = if kind == Kind::Video { self.framing.mend(payload)? } else { return None };
        if self.mended == 0 {
            tracing::warn!(
                "pictures of {} come with start codes or empty units: they are laid out anew",
                self.key
            );
        }
        self.mended += 1;
        Some(mended)
    }

    /// Keeps a header, beside those of other tracks, for those who join later.
    fn keep(&mut self, kind: Kind, dts_ms: i64, payload: &Bytes) {
        let header = if kind == Kind::Video { HeaderKind::Video } else { HeaderKind::Audio };
        let Some(known) = self.kept.get_mut(usize::from(kind == Kind::Audio)) else { return };
        let all = flv::kept::with(kind, known.as_ref(), payload);
        let stored = self.ring.store_header(header, dts_ms, &all);
        if !stored && let Some(main) = flv::kept::main(&all) {
            // Too much together: the first track's goes alone.
            self.ring.store_header(header, dts_ms, &main);
        }
        *known = Some(all);
    }

    fn flags(info: PacketInfo) -> Flags {
        let mut flags = Flags::default();
        if info.key_frame {
            flags = flags.with(Flags::KEY);
        }
        if info.sequence_header || info.beside {
            flags = flags.with(Flags::SEQUENCE_HEADER);
        }
        if info.beside || info.track != 0 {
            flags = flags.with(Flags::FURTHER);
        }
        flags
    }

    fn put_data(&mut self, at: i64, payload: &[u8], bounds: Bounds, limits: &amf0::Limits) -> Put {
        match metadata::read(payload, limits, self.rules.version) {
            DataMessage::Metadata { bytes, facts } => {
                self.timeline.set_rates(facts.sample_rate, facts.frame_rate);
                if facts.absolute_time && self.rules.auto_absolute && !self.absolute {
                    self.absolute = true;
                    self.timeline.set_jitter(Jitter::Off);
                    self.note_absolute();
                }
                let dts_ms = self.timeline.aside(Kind::Data, at);
                self.keep_metadata(dts_ms, &bytes, limits);
                self.ring.append(Kind::Data, Flags::METADATA, dts_ms, &bytes, bounds)
            }
            DataMessage::Event(bytes) => {
                let dts_ms = self.timeline.aside(Kind::Data, at);
                self.ring.append(Kind::Data, Flags::default(), dts_ms, &bytes, bounds)
            }
            DataMessage::Ignored => Put::Nothing,
            DataMessage::Unreadable(error) => {
                self.tell_data(&format!("a data message of {} bytes is left out: {error}", payload.len()));
                Put::Nothing
            }
        }
    }

    /// Keeps metadata for those who join later.
    fn keep_metadata(&mut self, dts_ms: i64, bytes: &[u8], limits: &amf0::Limits) {
        let max = HeaderKind::Metadata.max_bytes();
        if bytes.len() <= max {
            self.ring.store_header(HeaderKind::Metadata, dts_ms, bytes);
            return;
        }
        let (short, left_out) = metadata::shortened(bytes, max, limits);
        let (length, left_out) = (bytes.len(), left_out.join(", "));
        self.tell_data(&format!("metadata of {length} bytes: who joins later gets it without {left_out}"));
        self.ring.store_header(HeaderKind::Metadata, dts_ms, &short);
    }

    /// Says once per publish what is the matter with the publisher's data messages.
    fn tell_data(&mut self, what: &str) {
        if !self.data_told {
            self.data_told = true;
            tracing::warn!(cid = self.cid(), "stream {}: {what}", self.key);
        }
    }
}
