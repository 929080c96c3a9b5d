//! A viewer of a live stream: where it stands in the packets of its format, and what it gets next.

use bytes::Bytes;
use media::Kind;

use super::batch::{Batch, BatchKey, Framing, ReadyBatch};
use super::packet_queue::{Format, Item, PacketQueue};
use super::stream::LiveStream;
use crate::outbox::Outbox;
use crate::outputs::feed::Feed;

/// Bytes that are put into an outbox at once.
const BATCH_BYTES: usize = 128 << 10;
/// Most items of one batch.
const BATCH_ITEMS: usize = 256;
/// Items that are looked through for the other track when a viewer's time 0 is chosen.
const BASE_SEARCH: usize = 128;

/// What filling an outbox came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Filled {
    /// There is something to send.
    Some,
    /// Nothing is there yet.
    Nothing,
    /// What follows can't be put behind what was sent: the body ends here.
    End,
}

/// A viewer.
#[derive(Debug)]
pub(crate) struct Viewer {
    pub(crate) feed: usize,
    pub(crate) format: Format,
    pub(crate) framing: Framing,
    /// Next item; `None` until it has a place.
    next: Option<u64>,
    base_ms: Option<i64>,
    began: bool,
    wants_headers: bool,
    epoch: u64,
    /// It was there before the publisher, and gets all of it.
    waited: bool,
    /// It wants MP3 (or AAC), and nothing else.
    pub(crate) wants_mp3: bool,
    /// It wants the newest place to begin and no more.
    pub(crate) snapshot: bool,
    /// Of that, the picture.
    pub(crate) picture: bool,
    /// The head of the answer, until there is something to answer with.
    pub(crate) head: Option<String>,
    /// Something has to be there by then, ms.
    pub(crate) until_ms: u64,
    pub(crate) jumps: u64,
    pub(crate) dropped: u64,
}

impl Viewer {
    pub(crate) fn new(feed: usize, format: Format, framing: Framing, head: String, until_ms: u64) -> Self {
        Self {
            feed,
            format,
            framing,
            next: None,
            base_ms: None,
            began: false,
            wants_headers: true,
            epoch: 0,
            waited: false,
            wants_mp3: false,
            snapshot: false,
            picture: false,
            head: Some(head),
            until_ms,
            jumps: 0,
            dropped: 0,
        }
    }

    /// It was there before there was anything to read.
    pub(crate) fn waits_for_all(&mut self) {
        self.waited = true;
    }

    /// The item that it gets next; `None` while it waits for its first.
    pub(crate) fn next(&self) -> Option<u64> {
        self.next
    }

    /// How far behind the newest packet what it gets next is, ms.
    pub(crate) fn lag_ms(&self, feed: &Feed, live: &LiveStream) -> u64 {
        let next = self.next.zip(live.muxer(self.format));
        let item = next.and_then(|(next, muxer)| muxer.packets().from(next).next());
        item.zip(feed.newest_ms)
            .map_or(0, |(item, newest_ms)| u64::try_from(newest_ms - item.dts_ms).unwrap_or(0))
    }

    /// Whether it has got anything of the stream.
    pub(crate) fn has_begun(&self) -> bool {
        self.began
    }

    /// Puts what comes next into the outbox.
    pub(crate) fn fill(
        &mut self,
        (feed, live): (&Feed, &LiveStream),
        queue_ms: i64,
        outbox: &mut Outbox,
    ) -> Filled {
        let Some(muxer) = live.muxer(self.format) else { return Filled::Nothing };
        if !live.can_be(feed, self.format, self.wants_mp3) {
            return Filled::End;
        }
        let packets = muxer.packets();
        let Some(mut next) = self.place(packets, (feed, live), queue_ms) else {
            return Filled::Nothing;
        };
        // Most viewers go on where they were, with others.
        let goes_on = self.began && !self.wants_headers && !self.snapshot;
        let place = BatchKey { next, base_ms: self.base_ms, framing: self.framing };
        if goes_on
            && (self.format != Format::Mp4 || muxer.init().1 == self.epoch)
            && let Some(ready) = muxer.batches().find(packets.end(), place)
        {
            ready.send(outbox);
            self.next = Some(ready.next);
            return Filled::Some;
        }
        let mut batch = Batch::default();
        let mut end = packets.end();
        if self.format == Format::Mp4 {
            let (init, epoch) = muxer.init();
            if !self.began {
                let Some(init) = init else { return Filled::End };
                batch.push(&init);
                self.epoch = epoch;
            } else if epoch != self.epoch {
                // What was packed before its tracks became others is still for it.
                let Some(turn) = muxer.end_of(self.epoch).filter(|turn| *turn > next) else {
                    return Filled::End;
                };
                end = turn;
            }
        }
        if self.snapshot && self.began {
            return Filled::End;
        }
        let mut count = 0;
        if !self.choose_base(packets, next, feed.is_absolute()) {
            return Filled::Nothing;
        }
        let left = usize::try_from(end.saturating_sub(next)).unwrap_or(usize::MAX);
        for item in packets.from(next).take(left) {
            if batch.len >= BATCH_BYTES || count >= BATCH_ITEMS || self.snapshot && count > 0 {
                break;
            }
            self.add(&mut batch, (feed, live), packets, item);
            count += 1;
        }
        next += count as u64;
        self.next = Some(next);
        if batch.len == 0 {
            return Filled::Nothing;
        }
        self.began = true;
        if let Some(head) = self.head.take().filter(|_| !self.picture) {
            outbox.push(head.into_bytes());
        }
        let ready = ReadyBatch::new(batch.framed(self.framing), next);
        ready.send(outbox);
        if goes_on && end == packets.end() {
            muxer.batches().keep(place, ready);
        }
        Filled::Some
    }

    /// Time 0 of what it gets is that of the earlier of its first packet and the first of the other track, unless times are the
    /// publisher's own. `false` when there is nothing to choose it by yet.
    fn choose_base(&mut self, packets: &PacketQueue, next: u64, is_absolute: bool) -> bool {
        if self.format != Format::Flv || self.base_ms.is_some() {
            return true;
        }
        let ahead = || packets.from(next).take(BASE_SEARCH).filter(|item| !item.is_header);
        let Some(first) = ahead().next() else { return false };
        let other = ahead().find(|item| item.kind != first.kind);
        let base = other.map_or(first.dts_ms, |other| other.dts_ms.min(first.dts_ms));
        self.base_ms = Some(if is_absolute { 0 } else { base });
        true
    }

    /// Where it stands: a newcomer at the newest place to begin, somebody who lags too much as well.
    fn place(
        &mut self,
        packets: &PacketQueue,
        (feed, live): (&Feed, &LiveStream),
        queue_ms: i64,
    ) -> Option<u64> {
        let newest_ms = feed.newest_ms.unwrap_or(0);
        // What it was given to begin with is no lag.
        let kept_ms = live.rules.kept_ms(self.format);
        let queue_ms = queue_ms.saturating_add(kept_ms);
        let Some(next) = self.next else {
            let all = packets.whole().filter(|_| self.waited && feed.is_whole());
            // Who gets all gets the headers where they stand.
            self.wants_headers = all.is_none();
            self.next = all.or_else(|| packets.start(kept_ms));
            return self.next;
        };
        let lags = next < packets.first()
            || packets.from(next).next().is_some_and(|item| newest_ms - item.dts_ms > queue_ms);
        let better = packets.newest_start().filter(|start| *start > next);
        match better {
            Some(start) if lags => {
                self.jumps += 1;
                self.dropped += start - next;
                self.wants_headers = true;
                self.next = Some(start);
            }
            // What it stood at is gone, and there is no other place yet.
            None if next < packets.first() => return None,
            _ => {}
        }
        self.next
    }

    fn add(
        &mut self,
        batch: &mut Batch,
        (feed, live): (&Feed, &LiveStream),
        packets: &PacketQueue,
        item: &Item,
    ) {
        if self.format != Format::Flv {
            batch.push(&item.bytes);
            return;
        }
        if !self.began && batch.len == 0 {
            let [video, audio] = live.announced(&feed.info);
            let head = flv::file::header(audio, video);
            batch.own(&head);
        }
        if std::mem::take(&mut self.wants_headers) && item.is_start {
            for (kind, body) in packets.stream_headers().iter() {
                let is_new = !self.began || *kind != Kind::Data;
                if is_new {
                    let time = if *kind == Kind::Data { 0 } else { self.time(item.dts_ms) };
                    Self::add_tag(batch, *kind, time, body);
                }
            }
        }
        let time = self.time(item.dts_ms);
        Self::add_tag(batch, item.kind, time, &item.bytes);
    }

    fn time(&self, dts_ms: i64) -> u32 {
        // 32 bits wrap, as FLV's do.
        let time = (dts_ms - self.base_ms.unwrap_or(0)).max(0) & 0xffff_ffff;
        u32::try_from(time).unwrap_or(0)
    }

    /// A tag with its size behind it: players wait for that.
    fn add_tag(batch: &mut Batch, kind: Kind, time: u32, body: &Bytes) {
        let size = u32::try_from(body.len()).unwrap_or(0);
        batch.own(&flv::file::tag_head(kind, time, size));
        batch.push(body);
        batch.own(&flv::file::tag_end(size));
    }
}
