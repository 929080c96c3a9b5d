//! One stream as this process reads it: from the ring, packet by packet, once for all who want it.
//!
//! A feed begins when its tracks are known (or have had time to show themselves), so that whoever packs the stream can say
//! at its beginning what is in it.

use media::{Kind, StreamKey};
use mediaring::{Flags, Lapped, RingReader, Tally};

use super::event::{FeedEvent, Sink, StreamInfo};
use crate::reading::{Packet, Publish, RingNotes, first_dts};

/// How long a new publish may take until both tracks have shown themselves, ms.
const SETTLE_MS: u64 = 600;
/// How long a track may take that the publisher's metadata announce, ms.
const ANNOUNCED_MS: u64 = 3_000;

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
    /// What is known behind the last packet that was read.
    pub(crate) info: StreamInfo,
    /// How often its writer was asked to wake us at most, ms; `None` when it has to be asked anew.
    pub(crate) pace_ms: Option<u32>,
    /// When something was read last, ms.
    read_ms: u64,
    /// DTS of the newest packet; `None` at the beginning of a publish.
    pub(crate) newest_ms: Option<i64>,
    /// Nobody publishes.
    resting: bool,
    /// Since when nobody has published, monotonic ms.
    pub(crate) rests_since_ms: Option<u64>,
    /// Packets that nothing could be made of.
    pub(crate) refused: u64,
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
            info: StreamInfo::default(),
            pace_ms: None,
            read_ms: 0,
            newest_ms: None,
            resting: false,
            rests_since_ms: None,
            refused: 0,
            tally: None,
        }
    }

    /// Whether nobody publishes it, and all that was published is read.
    pub(crate) fn has_ended(&self) -> bool {
        let is_read =
            self.ring.as_ref().map_or_else(|| self.born_ns.is_some(), |ring| self.next >= ring.head());
        self.resting && is_read
    }

    /// Whether nobody publishes it, and all that its ring has is read.
    pub(crate) fn is_drained(&self) -> bool {
        self.resting && self.ring.as_ref().is_some_and(|ring| self.next >= ring.head())
    }

    /// Gives the ring back when all of it is read and nobody publishes: a list of segments needs none. Returns whether it was
    /// there.
    pub(crate) fn give_ring_back(&mut self) -> bool {
        self.has_ended() && self.ring.take().is_some()
    }

    /// Whether everything since the publish began was read.
    pub(crate) fn is_whole(&self) -> bool {
        self.whole
    }

    /// Whether anything was read since the publish began, or this began.
    pub(crate) fn is_settled(&self) -> bool {
        self.settled
    }

    /// Whether its times are the publisher's own.
    pub(crate) fn is_absolute(&self) -> bool {
        self.ring.as_ref().is_some_and(|ring| RingNotes::of(ring).is_absolute)
    }

    /// When something was read last, monotonic ms.
    pub(crate) fn read_ms(&self) -> u64 {
        self.read_ms
    }

    /// Reads from another ring from now on. A next generation, or the same ring from a successor of its writer, goes on where
    /// it was.
    pub(crate) fn set_ring(&mut self, ring: RingReader) {
        let notes = RingNotes::of(&ring);
        let same = self.born_ns.replace(notes.born_ns) == Some(notes.born_ns);
        let goes_on = same && ring.head() >= self.next && ring.tail() <= self.next;
        if !goes_on {
            // The first packet of a publish that was waited for, else the newest key frame, else what comes from now on.
            let waited = self.since_ns <= notes.began_ns;
            let first = notes.first_seq.filter(|first| waited && *first >= ring.tail());
            self.whole = first.is_some();
            self.next = first.or_else(|| ring.key()).unwrap_or_else(|| ring.head());
            self.publish = notes.publish();
            self.settled = false;
            self.newest_ms = None;
        }
        self.ring = Some(ring);
        self.pace_ms = None;
    }

    /// Tells what was read since the newest key frame, or, where `all` is true, since the publish began as far as it is still there: as
    /// if it were read now.
    pub(crate) fn replay(&self, all: bool, tell: &mut Sink<'_>) {
        let Some(ring) = self.ring.as_ref().filter(|_| self.settled) else { return };
        let from = if all {
            ring.tail().max(self.publish.first_seq).min(self.next)
        } else {
            ring.key().filter(|key| *key < self.next).unwrap_or(self.next)
        };
        let mut info = StreamInfo::at(ring, from, self.info.track_set.firsts());
        // Of MP3 nothing but its packets tells that it is there.
        info.track_set.take_sounds_of(&self.info.track_set);
        tell(&FeedEvent::Break(self.publish, first_dts(ring, from)), &info);
        tell_headers(&info, tell);
        for seq in from..self.next {
            let Ok(packet) = ring.record(seq).and_then(|record| Packet::read(ring, &record)) else {
                continue;
            };
            let (events, _) = info.take(packet);
            for event in events {
                tell(&event, &info);
            }
        }
    }

    /// Reads what has come, and tells what happens. Returns when to call again though nothing has come, ms.
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
                sink(&FeedEvent::Break(self.publish, first_dts(&ring, self.next)), &self.info);
                // Whoever keeps packets as they come has to know what came before.
                tell_headers(&self.info, sink);
            }
            if let Err(Lapped) = self.read_one(&ring, sink) {
                self.next = ring.key().filter(|key| *key > self.next).unwrap_or_else(|| ring.head());
                self.whole = false;
                let newest = RingNotes::of(&ring).publish();
                if self.publish.first_seq <= newest.first_seq.min(self.next) {
                    self.publish = newest;
                }
                sink(&FeedEvent::Break(self.publish, first_dts(&ring, self.next)), &self.info);
            }
        }
        self.ring = Some(ring);
        if self.next != from {
            self.read_ms = now_ms;
        }
        again
    }

    /// Finds out which tracks there are, or when to look again.
    fn settle(&mut self, ring: &RingReader, now_ms: u64) -> Option<u64> {
        let mut ahead = StreamInfo::ahead(ring, self.next, [0; 2]);
        let has = [ahead.track_set.has_pictures(), ahead.track_set.audio.is_some()];
        let complete = has == [true; 2];
        let announced = if ahead.metadata.is_some() { ahead.announced() } else { self.info.announced() };
        let is_awaited = announced.into_iter().zip(has).any(|(announced, has)| announced && !has);
        let patience_ms = if is_awaited { ANNOUNCED_MS } else { SETTLE_MS };
        let until = RingNotes::of(ring).began_ns / 1_000_000 + patience_ms;
        if !complete && now_ms < until && !self.resting {
            return Some(until);
        }
        let firsts = ahead.track_set.lowest();
        if firsts != ahead.track_set.firsts() {
            ahead = StreamInfo::ahead(ring, self.next, firsts);
        }
        ahead.metadata = ahead.metadata.or_else(|| self.info.metadata.take());
        self.info = ahead;
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
        let packet = Packet::read(ring, &record)?;
        self.next += 1;
        if packet.kind != Kind::Data {
            self.newest_ms = Some(packet.dts_ms);
        }
        let (events, refused) = self.info.take(packet);
        self.refused += u64::from(refused);
        for event in events {
            sink(&event, &self.info);
        }
        Ok(())
    }

    /// Somebody publishes it, or nobody any more: then what was gathered goes out with the next look.
    pub(crate) fn set_live(&mut self, live: bool, now_ms: u64) {
        self.resting = !live;
        self.rests_since_ms = if live { None } else { self.rests_since_ms.or(Some(now_ms)) };
    }
}

fn tell_headers(info: &StreamInfo, tell: &mut Sink<'_>) {
    for packet in info.header_packets() {
        tell(&FeedEvent::Header(packet), info);
    }
}
