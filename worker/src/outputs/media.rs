//! Streams that are read here and what is made of them: feeds are read as something comes, and outputs are told.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use api::{Record, RecordAnswer};
use conf::Config;
use media::StreamKey;
use mediaring::Scoreboard;
use reactor::{Reactor, Token};

use super::dvr::Recorders;
use super::feed::Feed;
use super::hls::HlsStreams;
use super::live::packet_queue::Format;
use super::live::stream::LiveStreams;
use super::output::{Now, Output, Surroundings};
use super::owners::Owners;
use super::streams::Streams;
use crate::disk::{Disk, Done};
use crate::reading::LinkEvent;

/// How often it is looked whether a stream can be read that is held back, ms.
const HOLD_LOOK_MS: u64 = 3;
/// How far a viewer may lag where the configuration says nothing, ms.
const MAX_LAG_MS: i64 = 30_000;
/// How long the disk may take for what is to be written before the end, ms.
const LAST_WRITES_MS: u64 = 2_000;

/// The outputs, and the thread that writes for them.
#[derive(Debug)]
pub(crate) struct Outputs {
    pub(crate) disk: Disk,
    pub(crate) live: LiveStreams,
    pub(crate) hls: HlsStreams,
    pub(crate) dvr: Recorders,
}

impl Outputs {
    fn new(mut disk: Disk, runtime_dir: &std::path::Path, number: u32, hls_memory: u64) -> Self {
        let hls = HlsStreams::new(&mut disk, runtime_dir, number, hls_memory);
        Self { disk, live: LiveStreams::default(), hls, dvr: Recorders::default() }
    }

    /// Each output with the disk, in the order in which they are told.
    fn each(&mut self, mut tell: impl FnMut(&mut dyn Output, &mut Disk)) {
        tell(&mut self.live, &mut self.disk);
        tell(&mut self.hls, &mut self.disk);
        tell(&mut self.dvr, &mut self.disk);
    }

    /// Whether an output has a stream.
    fn have(&self, id: usize) -> bool {
        let all: [&dyn Output; 3] = [&self.live, &self.hls, &self.dvr];
        all.into_iter().any(|output| output.has(id))
    }

    /// Takes what the disk's thread has done.
    fn take_done(&mut self, now: Now) {
        for done in self.disk.completions() {
            match done {
                Done::Hls(done) => self.hls.done(done, &mut self.disk),
                Done::Dvr(done) => self.dvr.done(done, now, &mut self.disk),
            }
        }
        self.hls.work(now.ms, &self.disk);
    }
}

/// What somebody may have waited for.
#[derive(Debug, Default)]
pub(crate) struct News {
    /// Streams that somebody publishes now.
    pub(crate) streams: Vec<StreamKey>,
    /// Lists of segments, by vhost and path.
    pub(crate) lists: Vec<(String, String)>,
    /// More may be there than what these say.
    pub(crate) everything: bool,
}

/// Streams and outputs.
#[derive(Debug)]
pub(crate) struct Media {
    config: Arc<Config>,
    number: u32,
    pub(crate) owners: Owners,
    pub(crate) streams: Streams,
    pub(crate) outputs: Outputs,
    board: Arc<Scoreboard>,
    news: News,
    /// Links that are there (`Some`: whether rings are read over it) or have ended, for the master.
    link_notes: Vec<(u64, Option<bool>)>,
}

impl Media {
    /// As the http process of this number has it.
    pub(crate) fn new(config: Arc<Config>, board: Arc<Scoreboard>, number: u32, disk: Disk) -> Self {
        Self {
            owners: Owners::new(&config, number),
            number,
            streams: Streams::new(config.backsources),
            outputs: Outputs::new(
                disk,
                &PathBuf::from(&config.runtime_dir),
                number,
                config.limits.hls_memory,
            ),
            config,
            board,
            news: News::default(),
            link_notes: Vec::new(),
        }
    }

    /// Another configuration holds.
    pub(crate) fn configure(&mut self, config: Arc<Config>, now: Now) {
        self.owners = Owners::new(&config, self.number);
        self.outputs.hls.most_memory = config.limits.hls_memory;
        self.config = config;
        self.news.everything = true;
        self.review(now);
    }

    /// What somebody may have waited for, since the last call.
    pub(crate) fn take_news(&mut self) -> News {
        self.news.lists.append(&mut self.outputs.hls.appeared);
        std::mem::take(&mut self.news)
    }

    /// Links that are there or have ended, since the last call.
    pub(crate) fn take_link_notes(&mut self) -> Vec<(u64, Option<bool>)> {
        std::mem::take(&mut self.link_notes)
    }

    /// A back-source is there, at the other end of the link of this number. Returns what the link brings: each for [`Self::apply`].
    pub(crate) fn connect(
        &mut self,
        reactor: &Reactor,
        shard: u32,
        link: u64,
        ends: (OwnedFd, OwnedFd),
    ) -> Vec<LinkEvent> {
        self.link_notes.push((link, Some(true)));
        self.streams.connect(reactor, shard, link, ends)
    }

    /// What the link brings that has this token; `None` where none has it.
    pub(crate) fn ready(&mut self, token: Token) -> Option<Vec<LinkEvent>> {
        self.streams.ready(token)
    }

    /// Takes what a link has brought.
    pub(crate) fn apply(&mut self, event: LinkEvent, now: Now) {
        match event {
            LinkEvent::Ring(audience, ring) => {
                if let Some(feed) = self.streams.feeds.get_mut(audience.key()) {
                    feed.tally = self.board.tally(ring.stream_id());
                    feed.set_ring(ring);
                    self.streams.mark(audience.key());
                }
                self.set_wake_interval(audience.key());
            }
            LinkEvent::Advanced(audience) => self.streams.mark(audience.key()),
            LinkEvent::Stream(key, live) => self.stream(&key, live, now),
            LinkEvent::Rest(_) => {}
            LinkEvent::Gone(key) => {
                self.stream(&key, false, now);
                self.streams.remove(&key);
                self.outputs.dvr.forget(&key);
            }
            LinkEvent::Up(shard) => {
                tracing::debug!("back-source {shard} is there");
                self.streams.all_told(shard);
                self.news.everything = true;
                // Orders for streams that it has not are over.
                let streams = &self.streams;
                let is_kept =
                    |key: &StreamKey| !streams.is_of(key, shard) || streams.existing().contains_key(key);
                self.outputs.dvr.keep_orders(is_kept);
            }
            LinkEvent::Down(shard, link) => {
                tracing::info!("the link to back-source {shard} has ended");
                self.link_notes.push((link, None));
                self.streams.lose(shard);
            }
        }
    }

    /// A stream begins or rests.
    fn stream(&mut self, key: &StreamKey, live: bool, now: Now) {
        self.streams.set_live(key, live, now.ms);
        if live {
            self.review(now);
            self.news.streams.push(key.clone());
        }
    }

    /// Outputs get the streams that they are to have, and lose others.
    pub(crate) fn review(&mut self, now: Now) {
        let Self { config, owners, streams, outputs, .. } = self;
        outputs.live.set_rules(&streams.feeds, config);
        let mut unwanted = Vec::new();
        let around = Surroundings { config, owners, streams: streams.existing(), now };
        outputs.each(|output, disk| unwanted.extend(output.drop_unwanted(&around, disk)));
        unwanted.into_iter().for_each(|id| self.forget_unwanted(id));
        let Self { config, owners, streams, outputs, .. } = self;
        let mut wanted = Vec::new();
        for key in streams.live() {
            let around = Surroundings { config, owners, streams: streams.existing(), now };
            let mut is_wanted = false;
            outputs.each(|output, _| is_wanted |= output.wants(&key, &around));
            if is_wanted {
                wanted.push(key);
            }
        }
        for key in wanted {
            // From the first packet of the publish, where that can still be had.
            let id = self.watch(&key, 0, now);
            let Self { config, owners, streams, outputs, .. } = self;
            let around = Surroundings { config, owners, streams: streams.existing(), now };
            let Some(feed) = streams.feeds.get(id) else { continue };
            outputs.each(|output, disk| {
                if output.wants(&key, &around) {
                    output.begin(id, feed, &around, disk);
                }
            });
        }
    }

    /// A stream is read from now on, if it is not yet; `since_ns` is since when somebody waits for it, monotonic. Returns its feed.
    pub(crate) fn watch(&mut self, key: &StreamKey, since_ns: u64, now: Now) -> usize {
        let id = match self.streams.feed_of(key) {
            Some(id) => id,
            None => self.insert(key, since_ns, true),
        };
        let live = self.streams.is_live(key);
        if let Some(feed) = self.streams.feeds.get_mut(id) {
            feed.set_live(live, now.ms);
        }
        id
    }

    fn insert(&mut self, key: &StreamKey, since_ns: u64, watched: bool) -> usize {
        let id = self.streams.insert(key, since_ns, watched);
        self.outputs.live.insert(id, key, &self.config);
        id
    }

    /// A viewer of this format more.
    pub(crate) fn join(&mut self, id: usize, format: Format) {
        if let (Some(live), Some(feed)) = (self.outputs.live.get_mut(id), self.streams.feeds.get(id)) {
            live.join(format, feed);
        }
        self.set_wake_interval(id);
        self.streams.mark(id);
    }

    /// Somebody gets a picture of a stream. Returns which one that is.
    pub(crate) fn note_picture(&mut self, id: usize) -> Option<StreamKey> {
        let feed = self.streams.feeds.get(id)?;
        self.outputs.live.get_mut(id)?.note_picture(feed);
        Some(feed.key.clone())
    }

    /// A viewer less.
    pub(crate) fn leave(&mut self, id: usize, format: Format) {
        if let Some(live) = self.outputs.live.get_mut(id) {
            live.leave(format);
        }
        self.forget_unwanted(id);
    }

    /// A feed that no output wants is none.
    fn forget_unwanted(&mut self, id: usize) {
        if !self.outputs.have(id) {
            self.streams.drop_feed(id);
            self.outputs.live.remove(id);
        }
    }

    fn set_wake_interval(&mut self, id: usize) {
        let is_watched = self.outputs.live.is_watched(id);
        self.streams.set_wake_interval(id, is_watched, &self.config);
    }

    /// Reads what has come, takes what the disk has done. Returns the feeds whose viewers may get something.
    pub(crate) fn work(&mut self, now: Now) -> Vec<usize> {
        let mut read = Vec::new();
        for id in self.streams.take_dirty(now.ms) {
            if self.pump(id, now) {
                read.push(id);
            }
        }
        self.outputs.take_done(now);
        self.go_on_with_rested(now);
        for key in std::mem::take(&mut self.outputs.hls.unfit) {
            self.streams.end_publish(&key);
        }
        read
    }

    /// Reads a feed. `false` when it is not there, or held back.
    fn pump(&mut self, id: usize, now: Now) -> bool {
        if self.outputs.hls.holds(id, now.ms) {
            self.streams.look_at(id, now.ms + HOLD_LOOK_MS);
            return false;
        }
        let Self { streams, outputs, .. } = self;
        let Some(feed) = streams.feeds.get_mut(id) else { return false };
        let again = feed.pump(now.ms, &mut |event, info| {
            outputs.each(|output, disk| output.take(id, event, info, now, disk));
        });
        let again = [again, outputs.live.flush(id, feed, now.ms)].into_iter().flatten().min();
        let has_ended = feed.has_ended();
        if let Some(at_ms) = again {
            streams.look_at(id, at_ms);
        }
        if has_ended {
            outputs.each(|output, disk| output.rest(id, now, disk));
            self.forget_unwanted(id);
        }
        true
    }

    /// Goes on with the lists that a former process left of streams that nobody publishes, once it is known which.
    fn go_on_with_rested(&mut self, now: Now) {
        let Self { config, owners, outputs: Outputs { hls, disk, .. }, .. } = self;
        if std::mem::take(&mut hls.rested.are_due) {
            for key in hls.unclaimed() {
                match config.vhost(&key.vhost) {
                    conf::Lookup::Found(vhost) if vhost.hls.enabled && owners.is_mine(&key) => {
                        hls.look_for(key, &vhost.hls, vhost.atc, disk);
                    }
                    _ => {}
                }
            }
        }
        for left in std::mem::take(&mut self.outputs.hls.rested.found) {
            let key = left.stream.naming.key.clone();
            let id = self.streams.feed_of(&key).unwrap_or_else(|| {
                // One that is new is read when somebody publishes the stream.
                let id = self.insert(&key, 0, false);
                self.streams.feeds.get_mut(id).into_iter().for_each(|feed| feed.set_live(false, now.ms));
                id
            });
            let Outputs { hls, disk, .. } = &mut self.outputs;
            // Somebody may have begun to publish it meanwhile.
            if hls.has(id) || !hls.adopt(id, left, now.ms, disk) {
                self.forget_unwanted(id);
            }
        }
    }

    /// Records a stream from now on, or no longer, whatever the configuration says; until the stream is gone.
    pub(crate) fn record(&mut self, record: &Record, now: Now) -> RecordAnswer {
        let (app, stream) = (record.app.clone(), record.name.clone());
        let key = StreamKey { vhost: record.vhost.clone(), app, stream };
        if !self.streams.existing().contains_key(&key) {
            return RecordAnswer::refused("there is no such stream");
        }
        if !self.owners.is_mine(&key) {
            return RecordAnswer::refused(api::ELSEWHERE);
        }
        if !self.outputs.dvr.order(&key, record.on) {
            return RecordAnswer::refused("too many streams have orders of their own");
        }
        self.review(now);
        let recording = self.outputs.dvr.is_recorded(&key);
        let error = (recording != record.on).then(|| "nobody publishes the stream now".to_owned());
        RecordAnswer { recording, error }
    }

    /// What a predecessor noted for this process.
    pub(crate) fn remember(&mut self, notes: &[u8], now: Now) {
        self.outputs.dvr.remember(notes);
        self.review(now);
    }

    /// Looks after all streams; `busy` is the share of a processor that this loop uses.
    pub(crate) fn sweep(&mut self, busy: f64, now: Now) {
        self.streams.adapt_gathering(busy);
        let feeds: Vec<usize> = self.streams.feeds.iter().map(|(id, _)| id).collect();
        feeds.into_iter().for_each(|id| self.set_wake_interval(id));
        let Self { streams, outputs, config, .. } = self;
        streams.give_rings_back(|id| outputs.live.is_watched(id));
        let gone = outputs.hls.sweep(now.ms, config.pithy_print.hls_ms, &mut outputs.disk);
        gone.into_iter().for_each(|id| self.forget_unwanted(id));
    }

    /// Everything ends: what is open is written, as far as the disk does so in time.
    pub(crate) fn end_all(&mut self, now: Now) {
        let feeds: Vec<usize> = self.streams.feeds.iter().map(|(id, _)| id).collect();
        for id in feeds {
            self.outputs.each(|output, disk| output.rest(id, now, disk));
        }
        let until_ms = now.ms + LAST_WRITES_MS;
        while !self.outputs.disk.is_done() && reactor::now_ms() < until_ms {
            self.outputs.take_done(Now { ms: reactor::now_ms(), ..now });
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
    }

    /// Adds what is made of streams to a report.
    pub(crate) fn report(&self, process: &str, now: Now, report: &mut api::Report) {
        let Outputs { live, hls, dvr, .. } = &self.outputs;
        let all: [&dyn Output; 3] = [live, hls, dvr];
        all.into_iter().for_each(|output| output.report(process, now, report));
    }

    /// A stream by its feed.
    pub(crate) fn feed(&self, id: usize) -> Option<&Feed> {
        self.streams.feeds.get(id)
    }

    /// Whether streams of the vhost of a feed are shown over HTTP.
    pub(crate) fn is_shown(&self, id: usize, config: &Config) -> bool {
        let is_its = |feed: &Feed| {
            let shown = config.vhosts.iter().filter(|vhost| vhost.enabled && vhost.http_remux.enabled);
            shown.into_iter().any(|vhost| vhost.name == feed.key.vhost)
        };
        self.feed(id).is_none_or(is_its)
    }

    /// How far a viewer of a stream may lag, ms.
    pub(crate) fn queue_ms(&self, key: &StreamKey) -> i64 {
        match self.config.vhost(&key.vhost) {
            conf::Lookup::Found(vhost) => i64::try_from(vhost.queue_length_ms).unwrap_or(MAX_LAG_MS),
            _ => MAX_LAG_MS,
        }
    }

    /// Lets go of what no viewer needs any more; `wanted` is what the viewer of each format who is furthest behind gets next.
    pub(crate) fn trim(&mut self, wanted: &HashMap<(usize, Format), u64>) {
        let lags: Vec<(usize, i64)> = self
            .streams
            .feeds
            .iter()
            .map(|(id, feed)| (id, feed.newest_ms.unwrap_or(0).saturating_sub(self.queue_ms(&feed.key))))
            .collect();
        for (id, oldest_ms) in lags {
            let Some(live) = self.outputs.live.get_mut(id) else { continue };
            for format in Format::ALL {
                live.trim(format, wanted.get(&(id, format)).copied().unwrap_or(u64::MAX), oldest_ms);
            }
        }
    }
}
