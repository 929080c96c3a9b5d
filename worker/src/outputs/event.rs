//! What happens in a stream, and what is known of the stream then: this is what outputs are told.

use bytes::Bytes;
use media::Kind;
use mediaring::{Flags, HeaderKind, RingReader};
use remux::{AccessUnit, Probe, RemuxError, TrackSet};

use crate::reading::{LOOK_AHEAD, Packet, Publish};

/// What happens in a stream, in the order of its ring.
#[derive(Debug, Clone)]
pub(crate) enum FeedEvent {
    /// Something has ended, or was missed: what follows stands for itself. The tracks are those of the set of tracks, and nothing of them
    /// is earlier than that DTS, where it is known.
    Break(Publish, Option<i64>),
    /// The decoder configuration of a track is another.
    Changed,
    /// Something to pack.
    AccessUnit(i64, AccessUnit),
    /// Something that can't be packed: a configuration that makes no sense, or a codec without a place in any container. What it
    /// is, in words.
    Unfit(String),
    /// A packet of the track of this number, which is too high for what is no FLV.
    Beyond(Kind, u8),
    /// A header or metadata that hold already where one begins to be told: behind a break, where it is the first.
    Header(Packet),
    /// A packet as it came, behind what it was found to be.
    Raw(Packet),
}

/// Who is told what happens, and what holds behind that.
pub(crate) type Sink<'a> = dyn FnMut(&FeedEvent, &StreamInfo) + 'a;

/// What is known of a stream at a place in it.
#[derive(Debug, Default)]
pub(crate) struct StreamInfo {
    pub(crate) track_set: TrackSet,
    /// Whether there were pictures, and sounds, of whatever codec.
    pub(crate) kinds: [bool; 2],
    pub(crate) metadata: Option<Bytes>,
    pub(crate) video_header: Option<Bytes>,
    pub(crate) audio_header: Option<Bytes>,
}

impl StreamInfo {
    /// What those who begin at `seq` will soon know.
    pub(crate) fn ahead(ring: &RingReader, seq: u64, firsts: [u8; 2]) -> Self {
        let mut info = Self::at(ring, seq, firsts);
        for seq in seq..ring.head().min(seq + LOOK_AHEAD) {
            let Ok(packet) = ring.record(seq).and_then(|record| Packet::read(ring, &record)) else {
                continue;
            };
            info.take(packet);
        }
        info
    }

    /// What holds for somebody who begins at `seq`, where tracks of these numbers are the first of their kinds.
    pub(crate) fn at(ring: &RingReader, seq: u64, firsts: [u8; 2]) -> Self {
        let stored = |kind| ring.header(kind, seq).map(|header| Bytes::from(header.bytes));
        let info = Self {
            track_set: TrackSet::default(),
            kinds: [false; 2],
            metadata: stored(HeaderKind::Metadata),
            video_header: stored(HeaderKind::Video),
            audio_header: stored(HeaderKind::Audio),
        };
        let mut track_set = TrackSet::with_firsts(firsts);
        for (kind, header) in [(Kind::Video, &info.video_header), (Kind::Audio, &info.audio_header)] {
            // A header that can't be read is none.
            for header in header.as_ref().map(flv::kept::split).unwrap_or_default() {
                let _ = track_set.see_all(kind, &header);
            }
        }
        Self { track_set, ..info }
    }

    /// Metadata and all that is kept of pictures and of sounds, one after the other.
    pub(crate) fn headers(&self) -> impl Iterator<Item = (Kind, Bytes)> {
        let of = |kind, kept: &Option<Bytes>| {
            let all = kept.as_ref().map(flv::kept::split).unwrap_or_default();
            all.into_iter().map(move |payload| (kind, payload))
        };
        let metadata = self.metadata.clone().map(|payload| (Kind::Data, payload));
        let video = of(Kind::Video, &self.video_header);
        metadata.into_iter().chain(video).chain(of(Kind::Audio, &self.audio_header))
    }

    /// The same as packets.
    pub(crate) fn header_packets(&self) -> impl Iterator<Item = Packet> {
        self.headers().map(|(kind, payload)| {
            let info = flv::classify(kind, &payload);
            let flags = match kind {
                Kind::Data => Flags::METADATA,
                _ if info.track != 0 || info.beside => Flags::SEQUENCE_HEADER.with(Flags::FURTHER),
                _ => Flags::SEQUENCE_HEADER,
            };
            Packet { kind, dts_ms: 0, flags, payload }
        })
    }

    /// Whether the metadata announce pictures, and sounds.
    pub(crate) fn announced(&self) -> [bool; 2] {
        let Some(metadata) = &self.metadata else { return [false; 2] };
        let values = amf0::decode_all(metadata, &amf0::Limits::default()).unwrap_or_default();
        let Some(properties) = values.get(1) else { return [false; 2] };
        let says = |flag: &str, codec: &str| {
            let is_set = matches!(properties.get(flag), Some(amf0::Value::Boolean(true)));
            let has_codec = properties.get(codec).is_some_and(|codec| {
                codec.as_f64().is_some_and(|id| id > 0.0)
                    || codec.as_str().is_some_and(|name| !name.is_empty())
            });
            is_set || has_codec
        };
        [says("hasVideo", "videocodecid"), says("hasAudio", "audiocodecid")]
    }

    /// Follows a packet. Returns what happened, and whether nothing could be made of it.
    pub(crate) fn take(&mut self, packet: Packet) -> (Vec<FeedEvent>, bool) {
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
        let all =
            self.track_set.see_all(packet.kind, &packet.payload).unwrap_or_else(|error| vec![Err(error)]);
        for seen in all {
            match seen {
                Ok(Probe::Config { changed: true }) => events.push(FeedEvent::Changed),
                Ok(Probe::AccessUnit(coded)) => events.push(FeedEvent::AccessUnit(packet.dts_ms, coded)),
                Ok(Probe::Began(coded)) => {
                    events.extend([FeedEvent::Changed, FeedEvent::AccessUnit(packet.dts_ms, coded)]);
                }
                Ok(_) => {}
                Err(error) => {
                    refused = true;
                    tracing::debug!("a packet is not packed: {error}");
                    let what = if packet.kind == Kind::Video { "pictures" } else { "sound" };
                    let what = format!("its {what}: {error}");
                    match error {
                        RemuxError::Config(_) | RemuxError::Codec(_) => events.push(FeedEvent::Unfit(what)),
                        RemuxError::Track(track) => events.push(FeedEvent::Beyond(packet.kind, track)),
                        _ => {}
                    }
                }
            }
        }
        events.push(FeedEvent::Raw(packet));
        (events, refused)
    }
}
