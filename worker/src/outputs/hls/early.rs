//! What comes before the disk has said what a former process left of a stream: it is kept until then, so that a disk with much to
//! do costs HLS nothing.

use media::StreamKey;
use remux::TrackSet;

use super::stream::{Changes, HlsStream};
use crate::disk::Disk;
use crate::outputs::event::FeedEvent;

/// Most bytes that are kept of one stream: some seconds.
const MAX_BYTES: usize = 8 << 20;
/// What anything costs beside its payload, about.
const EACH: usize = 1024;

#[derive(Debug)]
enum Event {
    /// With the tracks and the time of day then, ms since 1970.
    Happened(FeedEvent, Box<TrackSet>, i64),
    /// Nobody publishes any more.
    Rest,
}

/// What is kept.
#[derive(Debug, Default)]
pub(crate) struct Early {
    events: Vec<Event>,
    bytes: usize,
    /// How many are lost: all, once they were too many.
    lost: u64,
}

impl Early {
    fn push(&mut self, key: &StreamKey, event: Event) {
        self.bytes += EACH
            + match &event {
                Event::Happened(FeedEvent::AccessUnit(_, coded), ..) => coded.data.len(),
                _ => 0,
            };
        self.events.push(event);
        if self.bytes <= MAX_BYTES {
            return;
        }
        if self.lost == 0 {
            tracing::warn!(
                "hls of {key}: the disk does not answer, and what is published until then is in no segment"
            );
        }
        self.lost += self.events.drain(..).len() as u64;
    }

    /// Something has happened in the stream.
    pub(crate) fn keep(&mut self, key: &StreamKey, event: &FeedEvent, track_set: &TrackSet, unix_ms: i64) {
        if !matches!(event, FeedEvent::Raw(_) | FeedEvent::Header(_)) {
            self.push(key, Event::Happened(event.clone(), Box::new(track_set.clone()), unix_ms));
        }
    }

    /// Nobody publishes any more.
    pub(crate) fn rest(&mut self, key: &StreamKey) {
        self.push(key, Event::Rest);
    }
}

impl HlsStream {
    /// The disk has answered: what was kept until then becomes segments.
    pub(crate) fn catch_up(&mut self, disk: &mut Disk) -> Changes {
        let Early { events, lost, .. } = std::mem::take(&mut self.early);
        self.refused += lost;
        let mut all = Changes::default();
        for event in events {
            all.add(match event {
                Event::Happened(event, track_set, unix_ms) => self.take(&event, &track_set, unix_ms, disk),
                Event::Rest => self.rest(disk),
            });
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use bytes::Bytes;
    use conf::vhost::Hls;
    use media::Kind;
    use remux::Probe;

    use super::super::HlsStreams;
    use super::*;
    use crate::disk::Done;
    use crate::outputs::event::StreamInfo;
    use crate::outputs::output::{Now, Output};

    const STEP_MS: i64 = 23;

    const NOW: Now = Now { ms: 1, unix_ms: 0 };

    /// A stream of sounds of so many bytes, of which the disk has said nothing yet.
    fn begun(directory: &std::path::Path, count: i64, len: usize) -> (HlsStreams, Disk) {
        let config = Hls { enabled: true, path: directory.join("html"), fragment_ms: 1000, ..Hls::default() };
        let mut disk = Disk::start().unwrap();
        let mut hls = HlsStreams::new(&mut disk, directory, 0, 1 << 30);
        let key = StreamKey { vhost: "v".to_owned(), app: "live".to_owned(), stream: "a".to_owned() };
        hls.open(0, &key, (&config, false), &mut disk);
        let mut info = StreamInfo::default();
        info.track_set.see(Kind::Audio, &Bytes::from_static(&[0xaf, 0, 0x12, 0x10])).unwrap();
        let sound = Bytes::from([&[0xaf, 1][..], &vec![0x21; len]].concat());
        for number in 0..count {
            let Ok(Probe::AccessUnit(coded)) = info.track_set.see(Kind::Audio, &sound) else {
                panic!("a sound")
            };
            hls.take(0, &FeedEvent::AccessUnit(number * STEP_MS, coded), &info, NOW, &mut disk);
        }
        hls.rest(0, NOW, &mut disk);
        assert_eq!(hls.streams[&0].playlist.listed().count(), 0);
        (hls, disk)
    }

    fn work_until((hls, disk): &mut (HlsStreams, Disk), is_so: impl Fn(&HlsStream) -> bool) {
        let began = Instant::now();
        while !is_so(&hls.streams[&0]) {
            for done in disk.completions() {
                let Done::Hls(done) = done else { panic!("no recording") };
                hls.done(done, disk);
            }
            hls.work(1, disk);
            assert!(began.elapsed() < Duration::from_secs(20), "the disk answers");
            std::thread::yield_now();
        }
    }

    #[test]
    fn what_comes_before_the_disk_answers_is_in_segments() {
        let directory = tempfile::tempdir().unwrap();
        let mut begun = begun(directory.path(), 100, 300);
        let listed_ms = |stream: &HlsStream| {
            stream.playlist.listed().map(|listed| listed.segment.duration_ms).sum::<u64>()
        };
        work_until(&mut begun, |stream| listed_ms(stream) >= 2300);
        assert_eq!(listed_ms(&begun.0.streams[&0]), 2300);
        assert_eq!(begun.0.streams[&0].refused, 0);
    }

    #[test]
    fn too_much_of_it_is_left_out_and_counted() {
        let directory = tempfile::tempdir().unwrap();
        let mut begun = begun(directory.path(), 100, MAX_BYTES / 80);
        work_until(&mut begun, |stream| stream.ready);
        assert!(begun.0.streams[&0].refused >= 100);
        assert_eq!(begun.0.streams[&0].playlist.listed().count(), 0);
    }
}
