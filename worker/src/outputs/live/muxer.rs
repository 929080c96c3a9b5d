//! A stream in one of the live formats: packed as it comes, kept for those who watch.

use std::cell::{RefCell, RefMut};
use std::collections::VecDeque;

use bytes::Bytes;
use media::Kind;
use mediaring::Flags;
use remux::{Fragment, Mp4Packager, TrackSet, TsPackager};

use super::batch::BatchCache;
use super::packet_queue::{Format, Item, PacketQueue, StreamHeaders};
use super::rules::Rules;
use crate::outputs::event::{FeedEvent, StreamInfo};

/// How long a fragment of live MP4 is, ms.
const FRAGMENT_MS: i64 = 100;
/// How often a transport stream repeats what it consists of, ms.
const TABLES_EVERY_MS: i64 = 400;
/// Changes of the tracks that viewers may have between what they have got and what is newest.
const MAX_TURNS: usize = 8;

/// One format of one stream.
#[derive(Debug)]
pub(crate) struct Muxer {
    format: Format,
    rules: Rules,
    packets: PacketQueue,
    batches: RefCell<BatchCache>,
    ts: TsPackager,
    /// When the tables were written last; `None`: they are owed.
    tables_ms: Option<i64>,
    mp4: Mp4Packager,
    /// What an MP4 viewer gets first. Another one makes another epoch, which a player can't follow.
    init: Option<Bytes>,
    epoch: u64,
    /// The first item of each of the newest epochs.
    turns: VecDeque<u64>,
}

impl Muxer {
    pub(crate) fn new(format: Format, rules: Rules) -> Self {
        Self {
            format,
            rules,
            packets: PacketQueue::default(),
            batches: RefCell::default(),
            ts: TsPackager::new(0),
            tables_ms: None,
            mp4: Mp4Packager::new(FRAGMENT_MS),
            init: None,
            epoch: 0,
            turns: VecDeque::new(),
        }
    }

    pub(crate) fn packets(&self) -> &PacketQueue {
        &self.packets
    }

    /// What was put together for viewers.
    pub(crate) fn batches(&self) -> RefMut<'_, BatchCache> {
        self.batches.borrow_mut()
    }

    pub(crate) fn packets_mut(&mut self) -> &mut PacketQueue {
        &mut self.packets
    }

    /// What stands in front of all fragments, and which of its kind it is.
    pub(crate) fn init(&self) -> (Option<Bytes>, u64) {
        (self.init.clone(), self.epoch)
    }

    /// The item with which an epoch that is over has ended; `None` when that is too long ago, or it goes on.
    pub(crate) fn end_of(&self, epoch: u64) -> Option<u64> {
        let behind = usize::try_from(self.epoch.checked_sub(epoch)?).ok()?;
        self.turns.get(self.turns.len().checked_sub(behind)?).copied()
    }

    /// Other rules hold: what was left out so far begins with its header, which is in `headers`.
    pub(crate) fn set_rules(
        &mut self,
        rules: Rules,
        track_set: &TrackSet,
        headers: &StreamHeaders,
        dts_ms: i64,
    ) {
        let former = std::mem::replace(&mut self.rules, rules);
        let is_new = |kind| former.leaves_out(kind, self.format) && !rules.leaves_out(kind, self.format);
        for (kind, bytes) in headers.iter().filter(|(kind, _)| self.format == Format::Flv && is_new(*kind)) {
            let (kind, bytes) = (*kind, bytes.clone());
            let item = Item { kind, is_header: true, is_start: false, dts_ms, bytes };
            self.packets.push(item, StreamHeaders::default);
        }
        let own = rules.track_set(track_set, self.format);
        self.begin_anew(&FeedEvent::Changed, own.as_ref().unwrap_or(track_set));
    }

    /// Packs what happened; `info` is what is known of the stream then.
    pub(crate) fn take(&mut self, event: &FeedEvent, info: &StreamInfo) {
        let (rules, format) = (self.rules, self.format);
        let kind = match event {
            FeedEvent::AccessUnit(_, coded) => Some(coded.kind),
            FeedEvent::Raw(packet) => Some(packet.kind),
            _ => None,
        };
        if kind.is_some_and(|kind| rules.leaves_out(kind, format)) {
            return;
        }
        let own = rules.track_set(&info.track_set, format);
        let headers = || rules.stream_headers(info.headers().collect::<Vec<_>>().into(), format);
        self.pack(event, own.as_ref().unwrap_or(&info.track_set), headers);
    }

    fn pack(
        &mut self,
        event: &FeedEvent,
        track_set: &TrackSet,
        stream_headers: impl FnOnce() -> StreamHeaders,
    ) {
        match (self.format, event) {
            (_, FeedEvent::Break(..) | FeedEvent::Changed) => self.begin_anew(event, track_set),
            (Format::Flv, FeedEvent::Raw(packet)) => {
                let is_header = packet.kind == Kind::Data || packet.flags.contains(Flags::SEQUENCE_HEADER);
                let is_start = match packet.kind {
                    Kind::Video => packet.flags.contains(Flags::KEY),
                    Kind::Audio => track_set.video.is_none() && !is_header,
                    Kind::Data => false,
                };
                let bytes = packet.payload.clone();
                let item = Item { kind: packet.kind, is_header, is_start, dts_ms: packet.dts_ms, bytes };
                self.packets.push(item, stream_headers);
            }
            (Format::Ts, FeedEvent::AccessUnit(dts_ms, coded)) => {
                let mut out = Vec::new();
                let apart = self.tables_ms.map(|tables_ms| dts_ms.saturating_sub(tables_ms));
                let due = apart.is_none_or(|apart| !(0..TABLES_EVERY_MS).contains(&apart));
                let has_tables = coded.starts() || due;
                if has_tables {
                    self.ts.begin(track_set, &mut out);
                    self.tables_ms = Some(*dts_ms);
                }
                if let Err(error) = self.ts.push(track_set, *dts_ms, coded, &mut out) {
                    tracing::debug!("a packet is not in the transport stream: {error}");
                }
                let is_start = coded.starts() || has_tables && !track_set.ts_tracks().has_video();
                self.push(coded.kind, is_start, *dts_ms, out);
            }
            (Format::Mp4, FeedEvent::AccessUnit(dts_ms, coded)) => {
                let fragment = self.mp4.push(*dts_ms, coded.clone());
                self.push_fragment(fragment);
            }
            (Format::RawAudio, FeedEvent::AccessUnit(dts_ms, coded)) if coded.is_first(Kind::Audio) => {
                let mut out = Vec::new();
                if track_set.write_bare(coded, &mut out).is_ok() {
                    self.push(coded.kind, true, *dts_ms, out);
                }
            }
            _ => {}
        }
    }

    fn begin_anew(&mut self, event: &FeedEvent, track_set: &TrackSet) {
        if matches!(event, FeedEvent::Break(..)) {
            self.packets.forget_start();
        }
        self.tables_ms = None;
        if self.format == Format::Mp4 {
            let init = Mp4Packager::init(track_set).map(Bytes::from);
            if init != self.init {
                let fragment = self.mp4.flush();
                self.push_fragment(fragment);
                self.packets.forget_start();
                self.init = init;
                self.epoch += 1;
                self.turns.push_back(self.packets.end());
                if self.turns.len() > MAX_TURNS {
                    self.turns.pop_front();
                }
                self.mp4 = Mp4Packager::new(FRAGMENT_MS);
            }
        }
    }

    fn push(&mut self, kind: Kind, is_start: bool, dts_ms: i64, bytes: Vec<u8>) {
        if !bytes.is_empty() {
            let item = Item { kind, is_header: false, is_start, dts_ms, bytes: bytes.into() };
            self.packets.push(item, StreamHeaders::default);
        }
    }

    fn push_fragment(&mut self, fragment: Option<Fragment>) {
        if let Some(Fragment { bytes, is_key, dts_ms }) = fragment {
            self.push(Kind::Video, is_key, dts_ms, bytes);
        }
    }

    /// Whether something is held back until more comes.
    pub(crate) fn holds(&self) -> bool {
        self.format == Format::Mp4 && self.mp4.holds()
    }

    /// Nothing follows for now: what was gathered goes out.
    pub(crate) fn flush(&mut self) {
        let fragment = self.mp4.flush();
        self.push_fragment(fragment);
    }
}
