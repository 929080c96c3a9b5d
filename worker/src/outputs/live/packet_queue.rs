//! What a stream looks like in one format: packed once, for all who watch it that way. A viewer is a number in it.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use media::Kind;

/// Most bytes that are kept for viewers who lag.
const MAX_BYTES: usize = 32 << 20;
/// Most items.
const MAX_ITEMS: usize = 20_000;

/// The formats of live streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Format {
    /// FLV.
    Flv,
    /// MPEG-TS.
    Ts,
    /// Fragmented MP4.
    Mp4,
    /// Sounds alone: ADTS or MPEG audio frames.
    RawAudio,
}

impl Format {
    /// How many there are.
    pub(crate) const COUNT: usize = Self::ALL.len();

    pub(crate) const ALL: [Self; 4] = [Self::Flv, Self::Ts, Self::Mp4, Self::RawAudio];

    pub(crate) const fn index(self) -> usize {
        match self {
            Self::Flv => 0,
            Self::Ts => 1,
            Self::Mp4 => 2,
            Self::RawAudio => 3,
        }
    }

    /// The format that the ending of a path means.
    pub(crate) fn of_ending(ending: &str) -> Option<Self> {
        Some(match ending {
            "flv" => Self::Flv,
            "ts" => Self::Ts,
            "mp4" => Self::Mp4,
            "aac" | "mp3" => Self::RawAudio,
            _ => return None,
        })
    }

    /// What a client that takes it is called in lists.
    pub(crate) const fn client_type(self) -> &'static str {
        match self {
            Self::Flv => "flv-play",
            Self::Ts => "ts-play",
            Self::Mp4 => "mp4-play",
            Self::RawAudio => "audio-play",
        }
    }
}

/// What a viewer needs before the first item: of FLV the metadata and sequence headers, each with its kind.
pub(crate) type StreamHeaders = Arc<Vec<(Kind, Bytes)>>;

/// One packet, fragment or run of packets.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    /// What it is; of formats with headers of their own any.
    pub(crate) kind: Kind,
    /// Sequence header or metadata: no part of the media's time.
    pub(crate) is_header: bool,
    /// A viewer can begin here.
    pub(crate) is_start: bool,
    /// DTS, ms.
    pub(crate) dts_ms: i64,
    /// The bytes; of FLV only the body of the tag, whose header has the viewer's own time.
    pub(crate) bytes: Bytes,
}

/// The newest items of a stream.
#[derive(Debug, Default)]
pub(crate) struct PacketQueue {
    items: VecDeque<Item>,
    /// Number of the first item.
    first: u64,
    bytes: usize,
    newest_start: Option<u64>,
    /// The first item behind a break: where those begin who waited for the publisher.
    broken_at: u64,
    /// What held at the newest start.
    stream_headers: StreamHeaders,
}

impl PacketQueue {
    /// Number of the next item.
    pub(crate) fn end(&self) -> u64 {
        self.first + self.items.len() as u64
    }

    /// Number of the oldest item.
    pub(crate) fn first(&self) -> u64 {
        self.first
    }

    pub(crate) fn newest_start(&self) -> Option<u64> {
        self.newest_start
    }

    /// The first item behind the last break, where it is still here and followed by others.
    pub(crate) fn whole(&self) -> Option<u64> {
        (self.first..self.end()).contains(&self.broken_at).then_some(self.broken_at)
    }

    /// Where a newcomer begins: the newest place, or the oldest that is no more than `kept_ms` before the end.
    pub(crate) fn start(&self, kept_ms: i64) -> Option<u64> {
        let newest = self.newest_start?;
        let Some(end_ms) = self.items.back().map(|item| item.dts_ms).filter(|_| kept_ms > 0) else {
            return Some(newest);
        };
        let from = self.broken_at.max(self.first);
        let old = self.from(from).position(|item| item.is_start && end_ms - item.dts_ms <= kept_ms);
        Some(old.map_or(newest, |old| from + old as u64))
    }

    pub(crate) fn stream_headers(&self) -> &StreamHeaders {
        &self.stream_headers
    }

    /// Adds an item; `stream_headers` is asked for where a viewer can begin.
    pub(crate) fn push(&mut self, item: Item, stream_headers: impl FnOnce() -> StreamHeaders) {
        if item.is_start {
            self.newest_start = Some(self.end());
            self.stream_headers = stream_headers();
        }
        self.bytes += item.bytes.len();
        self.items.push_back(item);
        while self.bytes > MAX_BYTES || self.items.len() > MAX_ITEMS {
            self.drop_first();
        }
    }

    fn drop_first(&mut self) {
        let Some(item) = self.items.pop_front() else { return };
        self.bytes -= item.bytes.len();
        self.first += 1;
        if self.newest_start.is_some_and(|start| start < self.first) {
            self.newest_start = None;
        }
    }

    /// Lets go what nobody needs: items before `wanted` (the viewer who is furthest behind), unless a newcomer begins there,
    /// and items that are older than `oldest_ms`. `kept_ms` as for [`Self::start`].
    pub(crate) fn trim(&mut self, wanted: u64, oldest_ms: i64, kept_ms: i64) {
        let keep = self.start(kept_ms).unwrap_or_else(|| self.end());
        while self.first < keep {
            let is_old = self.items.front().is_some_and(|item| item.dts_ms < oldest_ms);
            if self.first >= wanted && !is_old {
                break;
            }
            self.drop_first();
        }
    }

    /// Where a viewer can begin is here no longer: nothing before belongs to what follows.
    pub(crate) fn forget_start(&mut self) {
        self.newest_start = None;
        self.broken_at = self.end();
    }

    /// The items from `number` on.
    pub(crate) fn from(&self, number: u64) -> impl Iterator<Item = &Item> {
        let skip = usize::try_from(number.saturating_sub(self.first)).unwrap_or(usize::MAX);
        self.items.range(skip.min(self.items.len())..)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(dts_ms: i64, is_start: bool) -> Item {
        Item { kind: Kind::Video, is_header: false, is_start, dts_ms, bytes: Bytes::from_static(b"12345") }
    }

    #[test]
    fn what_newcomers_and_laggards_need_is_kept_and_nothing_else() {
        let mut packets = PacketQueue::default();
        for n in 0..100_i64 {
            packets.push(item(n * 40, n % 25 == 0), StreamHeaders::default);
        }
        assert_eq!((packets.newest_start(), packets.end()), (Some(75), 100));
        packets.trim(60, 0, 0);
        assert_eq!(packets.first(), 60);
        packets.trim(100, 0, 0);
        assert_eq!(packets.first(), 75);
        assert_eq!(packets.from(98).map(|item| item.dts_ms).collect::<Vec<_>>(), [3920, 3960]);
        assert_eq!(packets.from(200).count(), 0);
        // A viewer who lags too much keeps nothing.
        packets.push(item(4000, true), StreamHeaders::default);
        packets.trim(75, 3000, 0);
        assert_eq!(packets.first(), 75);
        packets.trim(75, 3900, 0);
        assert_eq!(packets.first(), 98);
    }

    #[test]
    fn sound_is_kept_for_newcomers_as_long_as_is_said() {
        let mut packets = PacketQueue::default();
        (0..1000).for_each(|n| packets.push(item(n * 23, true), StreamHeaders::default));
        assert_eq!(
            (packets.start(0), packets.start(2300), packets.start(1 << 40)),
            (Some(999), Some(899), Some(0))
        );
        packets.trim(u64::MAX, 22_000, 2300);
        assert_eq!((packets.first(), packets.start(2300)), (899, Some(899)));
        // Nothing of before a break.
        packets.forget_start();
        assert_eq!(packets.start(2300), None);
        (0..10).for_each(|n| packets.push(item(23_000 + n * 23, true), StreamHeaders::default));
        assert_eq!(packets.start(2300), Some(1000));
    }

    #[test]
    fn there_is_a_bound_whatever_comes() {
        let mut packets = PacketQueue::default();
        for n in 0..30_000 {
            packets.push(item(n, n == 0), StreamHeaders::default);
        }
        assert_eq!((packets.newest_start(), packets.end() - packets.first()), (None, 20_000));
    }
}
