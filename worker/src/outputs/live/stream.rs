//! A stream in all live formats that somebody watches: packed as it comes, once for each format.

use std::collections::HashMap;

use conf::Config;
use media::{Kind, StreamKey};
use slab::Slab;

use super::muxer::Muxer;
use super::packet_queue::Format;
use super::rules::Rules;
use crate::disk::Disk;
use crate::outputs::event::{FeedEvent, StreamInfo};
use crate::outputs::feed::Feed;
use crate::outputs::left_out::{LeftOut, NO_FIRST_PICTURES};
use crate::outputs::output::{Now, Output, Surroundings};

/// When nothing has come for so long, what is held back until more comes goes out, ms.
const QUIET_MS: u64 = 500;
/// Outputs that lack what nothing but FLV can carry.
const BUT_FLV: &str = "every output but RTMP and FLV";

/// A stream as viewers over HTTP get it.
#[derive(Debug)]
pub(crate) struct LiveStream {
    key: StreamKey,
    muxers: [Option<Muxer>; Format::COUNT],
    pub(crate) rules: Rules,
    /// Sound is packed though nobody listens.
    keeps_audio: bool,
    /// Viewers by format.
    viewers: [usize; Format::COUNT],
    left_out: LeftOut,
}

impl LiveStream {
    pub(crate) fn new(key: StreamKey, rules: Rules) -> Self {
        Self {
            key,
            muxers: Default::default(),
            rules,
            keeps_audio: false,
            viewers: [0; Format::COUNT],
            left_out: LeftOut::default(),
        }
    }

    /// What those who watch it do not get.
    pub(crate) fn left_out(&self) -> &[String] {
        self.left_out.with_outputs()
    }

    /// Whether it has viewers.
    pub(crate) fn is_watched(&self) -> bool {
        self.viewers.iter().any(|count| *count > 0)
    }

    pub(crate) fn muxer(&self, format: Format) -> Option<&Muxer> {
        self.muxers.get(format.index())?.as_ref()
    }

    /// Whether the header of an FLV file says that there are pictures, and sounds.
    pub(crate) fn announced(&self, info: &StreamInfo) -> [bool; 2] {
        let [video, audio] = info.kinds;
        self.rules
            .announced([video || info.track_set.video.is_some(), audio || info.track_set.audio.is_some()])
    }

    /// Whether there is, or may be, anything in this format. Of sounds alone it matters which they are.
    pub(crate) fn can_be(&self, feed: &Feed, format: Format, is_mp3: bool) -> bool {
        if !feed.is_settled() {
            return true;
        }
        let own = self.rules.track_set(&feed.info.track_set, format);
        let track_set = own.as_ref().unwrap_or(&feed.info.track_set);
        match format {
            Format::Flv => true,
            Format::Ts => !track_set.ts_tracks().is_empty(),
            Format::Mp4 => !track_set.mp4_tracks().is_empty(),
            Format::RawAudio => track_set.bare_is_mp3() == Some(is_mp3),
        }
    }

    /// Other rules may hold.
    pub(crate) fn set_rules(&mut self, rules: Rules, feed: &Feed) {
        if rules == self.rules {
            return;
        }
        self.rules = rules;
        let headers = feed.info.headers().collect::<Vec<_>>().into();
        let dts_ms = feed.newest_ms.unwrap_or(0);
        for muxer in self.muxers.iter_mut().flatten() {
            muxer.set_rules(rules, &feed.info.track_set, &headers, dts_ms);
        }
    }

    /// Sound is to be packed though nobody listens.
    pub(crate) fn keep_audio(&mut self, feed: &Feed) {
        self.keeps_audio = true;
        self.open(Format::RawAudio, feed);
    }

    /// That is over.
    pub(crate) fn drop_audio(&mut self) {
        self.keeps_audio = false;
        self.close(Format::RawAudio);
    }

    /// Somebody watches it in this format.
    pub(crate) fn join(&mut self, format: Format, feed: &Feed) {
        if let Some(count) = self.viewers.get_mut(format.index()) {
            *count += 1;
        }
        self.open(format, feed);
    }

    /// Somebody does so no longer.
    pub(crate) fn leave(&mut self, format: Format) {
        let Some(count) = self.viewers.get_mut(format.index()) else { return };
        *count = count.saturating_sub(1);
        self.close(format);
    }

    /// A format is packed from now on; what was read since the newest key frame is packed for it.
    fn open(&mut self, format: Format, feed: &Feed) {
        if self.muxers.get(format.index()).is_none_or(Option::is_some) {
            return;
        }
        let mut muxer = Muxer::new(format, self.rules);
        feed.replay(self.rules.kept_ms(format) > 0, &mut |event, info| muxer.take(event, info));
        if let Some(place) = self.muxers.get_mut(format.index()) {
            *place = Some(muxer);
        }
    }

    /// What nobody wants is not packed.
    fn close(&mut self, format: Format) {
        let is_wanted = self.viewers.get(format.index()).is_some_and(|count| *count > 0)
            || self.keeps_audio && format == Format::RawAudio;
        if let Some(place) = self.muxers.get_mut(format.index()).filter(|_| !is_wanted) {
            *place = None;
        }
    }

    /// Something has happened in the stream.
    pub(crate) fn take(&mut self, event: &FeedEvent, info: &StreamInfo) {
        self.note_left_out(event, info);
        for muxer in self.muxers.iter_mut().flatten() {
            muxer.take(event, info);
        }
    }

    /// All that has come is read. A picture that nothing follows is seen, too: how long it lasts is told when something does. Returns
    /// when to look again, ms.
    pub(crate) fn flush(&mut self, feed: &Feed, now_ms: u64) -> Option<u64> {
        if feed.is_drained() {
            self.muxers.iter_mut().flatten().for_each(Muxer::flush);
        }
        let until_ms = feed.read_ms() + QUIET_MS;
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

    /// Lets go of what the viewers of a format do not need; `wanted` is what the last of them has yet to get.
    pub(crate) fn trim(&mut self, format: Format, wanted: u64, oldest_ms: i64) {
        let kept_ms = self.rules.kept_ms(format);
        if let Some(Some(muxer)) = self.muxers.get_mut(format.index()) {
            muxer.packets_mut().trim(wanted, oldest_ms, kept_ms);
        }
    }

    /// Somebody gets a picture. Without pictures of the first track, what it is made of begins anywhere.
    pub(crate) fn note_picture(&mut self, feed: &Feed) {
        if feed.info.track_set.lacks_first_pictures() {
            self.left_out.note(&feed.key, ".jpg", NO_FIRST_PICTURES);
        }
    }

    /// Says what viewers of a format do not get.
    fn note_left_out(&mut self, event: &FeedEvent, info: &StreamInfo) {
        let (key, viewers) = (&self.key, self.viewers);
        let is_watched = |format: Format| viewers.get(format.index()).is_some_and(|count| *count > 0);
        match event {
            FeedEvent::AccessUnit(_, coded) => {
                let is_sound = coded.kind == Kind::Audio;
                let name = || info.track_set.name(coded.kind, coded.track);
                if is_watched(Format::Ts) && !info.track_set.fits_ts(coded.kind, coded.track) {
                    self.left_out.note(key, "the transport stream", &name());
                } else if is_watched(Format::Ts)
                    && !self.rules.leaves_out(Kind::Video, Format::Ts)
                    && info.track_set.lacks_first_pictures()
                {
                    self.left_out.note(key, "the transport stream", NO_FIRST_PICTURES);
                } else if is_sound && coded.track > 0 && is_watched(Format::RawAudio) {
                    self.left_out.note(key, ".aac or .mp3", &name());
                }
            }
            FeedEvent::Unfit(what) => self.left_out.note(key, BUT_FLV, what),
            FeedEvent::Beyond(kind, track) => {
                if let Some(what) = self.left_out.count_beyond(*kind, *track) {
                    self.left_out.note(key, BUT_FLV, &what);
                }
            }
            _ => {}
        }
    }
}

/// All streams that are read here, by feed.
#[derive(Debug, Default)]
pub(crate) struct LiveStreams(HashMap<usize, LiveStream>);

impl LiveStreams {
    pub(crate) fn get(&self, feed: usize) -> Option<&LiveStream> {
        self.0.get(&feed)
    }

    pub(crate) fn get_mut(&mut self, feed: usize) -> Option<&mut LiveStream> {
        self.0.get_mut(&feed)
    }

    /// A stream is read from now on.
    pub(crate) fn insert(&mut self, id: usize, key: &StreamKey, config: &Config) {
        self.0.insert(id, LiveStream::new(key.clone(), Rules::of_stream(config, key)));
    }

    /// It is read no longer.
    pub(crate) fn remove(&mut self, feed: usize) {
        self.0.remove(&feed);
    }

    /// All that was read of a stream is packed. Returns when to look again though nothing has come, ms.
    pub(crate) fn flush(&mut self, id: usize, feed: &Feed, now_ms: u64) -> Option<u64> {
        self.get_mut(id)?.flush(feed, now_ms)
    }

    /// Whether a stream has viewers.
    pub(crate) fn is_watched(&self, feed: usize) -> bool {
        self.get(feed).is_some_and(LiveStream::is_watched)
    }

    /// Streams have the rules of the configuration.
    pub(crate) fn set_rules(&mut self, feeds: &Slab<Feed>, config: &Config) {
        for (id, feed) in feeds {
            if let Some(stream) = self.0.get_mut(&id) {
                stream.set_rules(Rules::of_stream(config, &feed.key), feed);
            }
        }
    }
}

/// Whether sound of a stream is to be kept for listeners to come.
fn keeps_audio(config: &Config, key: &StreamKey) -> bool {
    match config.vhost(&key.vhost) {
        conf::Lookup::Found(vhost) => vhost.http_remux.enabled && vhost.http_remux.fast_cache_ms > 0,
        _ => false,
    }
}

/// As an output, live streams have those that somebody watches, and those of which sound is kept.
impl Output for LiveStreams {
    fn wants(&self, key: &StreamKey, around: &Surroundings<'_>) -> bool {
        keeps_audio(around.config, key)
    }

    fn drop_unwanted(&mut self, around: &Surroundings<'_>, _: &mut Disk) -> Vec<usize> {
        let is_unwanted = |stream: &LiveStream| {
            stream.keeps_audio && !(around.is_live(&stream.key) && keeps_audio(around.config, &stream.key))
        };
        let mut unwanted = Vec::new();
        for (feed, stream) in self.0.iter_mut().filter(|(_, stream)| is_unwanted(stream)) {
            stream.drop_audio();
            unwanted.push(*feed);
        }
        unwanted
    }

    fn begin(&mut self, id: usize, feed: &Feed, _: &Surroundings<'_>, _: &mut Disk) {
        if let Some(stream) = self.get_mut(id) {
            stream.keep_audio(feed);
        }
    }

    fn has(&self, id: usize) -> bool {
        self.get(id).is_some_and(|stream| stream.is_watched() || stream.keeps_audio)
    }

    fn take(&mut self, id: usize, event: &FeedEvent, info: &StreamInfo, _: Now, _: &mut Disk) {
        if let Some(stream) = self.get_mut(id) {
            stream.take(event, info);
        }
    }

    fn rest(&mut self, id: usize, _: Now, _: &mut Disk) {
        if let Some(stream) = self.get_mut(id) {
            stream.drop_audio();
        }
    }

    fn report(&self, _: &str, _: Now, report: &mut api::Report) {
        for stream in self.0.values() {
            report.viewers.push(api::Viewers {
                vhost: stream.key.vhost.clone(),
                app: stream.key.app.clone(),
                name: stream.key.stream.clone(),
                clients: stream.viewers.iter().map(|count| *count as u64).sum(),
                left_out: stream.left_out().to_vec(),
            });
        }
    }
}
