//! Which streams there are, and which of them are read here: links to back-sources, feeds, and what is to be looked at when.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::os::fd::OwnedFd;

use conf::Config;
use conf::vhost::MwLatency;
use media::StreamKey;
use reactor::{Reactor, Token};
use slab::Slab;

use super::feed::Feed;
use crate::reading::{AudienceId, LinkEvent, Links};

/// Longest time that packets are gathered for viewers, ms.
const MAX_GATHER_MS: u64 = 350;
/// Wake-ups for segments and recordings alone, ms.
const UNWATCHED_MS: u64 = 200;
/// Share of a processor from which on packets are gathered for longer, and below which for less long.
const BUSY: f64 = 0.6;
const FREE: f64 = 0.3;
/// By so much with each look, ms.
const STEP_MS: u64 = 60;

/// All streams, as this process knows them.
#[derive(Debug)]
pub(crate) struct Streams {
    links: Links,
    pub(crate) feeds: Slab<Feed>,
    feed_of: HashMap<StreamKey, usize>,
    /// Streams that exist, and whether somebody publishes them.
    existing: HashMap<StreamKey, bool>,
    /// Back-sources that have told all of theirs.
    told: BTreeSet<u32>,
    /// Feeds with something new, and when feeds are to be looked at though nothing has come, ms.
    dirty: BTreeSet<usize>,
    due: BTreeMap<usize, u64>,
    /// How long packets are gathered where the server decides, ms.
    gather_ms: u64,
    backsources: u32,
}

impl Streams {
    /// None yet; `backsources` may have some.
    pub(crate) fn new(backsources: u32) -> Self {
        let backsources = backsources.max(1);
        Self {
            links: Links::new(backsources),
            feeds: Slab::new(),
            feed_of: HashMap::new(),
            existing: HashMap::new(),
            told: BTreeSet::new(),
            dirty: BTreeSet::new(),
            due: BTreeMap::new(),
            gather_ms: 0,
            backsources,
        }
    }

    /// A back-source is there, at the other end of the link of this number.
    pub(crate) fn connect(
        &mut self,
        reactor: &Reactor,
        shard: u32,
        link: u64,
        (channel, wake): (OwnedFd, OwnedFd),
    ) -> Vec<LinkEvent> {
        self.links.connect(reactor, shard, link, channel, wake)
    }

    /// What the link that has this token brings; `None` where no link has it.
    pub(crate) fn ready(&mut self, token: Token) -> Option<Vec<LinkEvent>> {
        self.links.owns(token).then(|| self.links.ready(token))
    }

    /// What links bring from time to time.
    pub(crate) fn tick(&mut self, now_ms: u64) -> Vec<LinkEvent> {
        self.links.tick(now_ms)
    }

    /// All streams that exist, and whether somebody publishes them.
    pub(crate) fn existing(&self) -> &HashMap<StreamKey, bool> {
        &self.existing
    }

    /// Whether somebody publishes a stream.
    pub(crate) fn is_live(&self, key: &StreamKey) -> bool {
        self.existing.get(key).copied().unwrap_or(false)
    }

    /// Streams that somebody publishes.
    pub(crate) fn live(&self) -> Vec<StreamKey> {
        self.existing.iter().filter(|(_, live)| **live).map(|(key, _)| key.clone()).collect()
    }

    /// Whether it is known which streams there are where this one would be.
    pub(crate) fn are_told(&self, key: &StreamKey) -> bool {
        self.told.contains(&self.links.shard_of(key))
    }

    /// Whether a back-source would have a stream.
    pub(crate) fn is_of(&self, key: &StreamKey, shard: u32) -> bool {
        key.shard(self.backsources) == shard
    }

    /// A back-source has told all its streams.
    pub(crate) fn all_told(&mut self, shard: u32) {
        self.told.insert(shard);
    }

    /// The link to a back-source has ended. Its successor tells which streams there are; the rings stay readable meanwhile.
    pub(crate) fn lose(&mut self, shard: u32) {
        self.told.remove(&shard);
        let shards = self.backsources;
        self.existing.retain(|key, _| key.shard(shards) != shard);
    }

    /// A stream begins or rests.
    pub(crate) fn set_live(&mut self, key: &StreamKey, live: bool, now_ms: u64) {
        if let Some(id) = self.feed_of.get(key).copied() {
            if live {
                // Its ring may have been given back.
                self.links.watch(AudienceId::new(id), key);
            }
            if let Some(feed) = self.feeds.get_mut(id) {
                feed.set_live(live, now_ms);
            }
            self.dirty.insert(id);
        }
        self.existing.insert(key.clone(), live);
    }

    /// A stream is gone.
    pub(crate) fn remove(&mut self, key: &StreamKey) {
        self.existing.remove(key);
    }

    /// The feed of a stream, if it is read here.
    pub(crate) fn feed_of(&self, key: &StreamKey) -> Option<usize> {
        self.feed_of.get(key).copied()
    }

    /// A stream is read from now on, or, where `watched` is not true, when somebody publishes it. `since_ns` is since when it is waited
    /// for, monotonic.
    pub(crate) fn insert(&mut self, key: &StreamKey, since_ns: u64, watched: bool) -> usize {
        let id = self.feeds.insert(Feed::new(key.clone(), since_ns));
        self.feed_of.insert(key.clone(), id);
        if watched {
            self.links.watch(AudienceId::new(id), key);
        }
        id
    }

    /// A stream is read no longer.
    pub(crate) fn drop_feed(&mut self, id: usize) {
        let Some(gone) = self.feeds.try_remove(id) else { return };
        self.links.unwatch(&gone.key);
        self.feed_of.remove(&gone.key);
        self.dirty.remove(&id);
        self.due.remove(&id);
    }

    /// A feed has something new.
    pub(crate) fn mark(&mut self, id: usize) {
        self.dirty.insert(id);
    }

    /// A feed is to be looked at then, ms, though nothing comes.
    pub(crate) fn look_at(&mut self, id: usize, at_ms: u64) {
        self.due.insert(id, at_ms);
    }

    /// The feeds that are to be read now.
    pub(crate) fn take_dirty(&mut self, now_ms: u64) -> BTreeSet<usize> {
        let due: Vec<usize> = self.due.iter().filter(|(_, at)| **at <= now_ms).map(|(id, _)| *id).collect();
        self.dirty.extend(due);
        let dirty = std::mem::take(&mut self.dirty);
        self.due.retain(|id, _| !dirty.contains(id));
        dirty
    }

    /// When [`Self::take_dirty`] has something, ms.
    pub(crate) fn deadline(&self) -> Option<u64> {
        if !self.dirty.is_empty() {
            return Some(0);
        }
        self.due.values().copied().min().into_iter().chain(self.links.deadline()).min()
    }

    /// A publisher is to end.
    pub(crate) fn end_publish(&mut self, key: &StreamKey) {
        self.links.end_publish(key);
    }

    /// Rings of streams that have ended are memory and descriptors of three processes: what is left here (lists, recordings) needs
    /// none. With the next publish the stream is watched again.
    pub(crate) fn give_rings_back(&mut self, is_watched: impl Fn(usize) -> bool) {
        for (id, feed) in &mut self.feeds {
            if !is_watched(id) && feed.give_ring_back() {
                self.links.unwatch(&feed.key);
            }
        }
    }

    /// Adapts to how much of a processor this loop uses: packets are gathered for longer when it has a lot to do, so that several are
    /// sent together.
    pub(crate) fn adapt_gathering(&mut self, busy: f64) {
        if busy > BUSY {
            self.gather_ms = (self.gather_ms + STEP_MS).min(MAX_GATHER_MS);
        } else if busy < FREE {
            self.gather_ms = self.gather_ms.saturating_sub(STEP_MS);
        }
    }

    /// Tells the writer of a stream how often to wake us, where that has changed: at once while there is time for it, and less often for
    /// what nobody watches live.
    pub(crate) fn set_wake_interval(&mut self, id: usize, is_watched: bool, config: &Config) {
        let Some(feed) = self.feeds.get_mut(id) else { return };
        let latency = match config.vhost(&feed.key.vhost) {
            conf::Lookup::Found(vhost) => vhost.mw_latency,
            _ => MwLatency::Auto,
        };
        let ms = match latency {
            _ if !is_watched => UNWATCHED_MS,
            MwLatency::Fixed(ms) => ms.min(MAX_GATHER_MS * 10),
            MwLatency::Auto => self.gather_ms,
        };
        let ms = u32::try_from(ms).unwrap_or(0);
        if feed.pace_ms != Some(ms) {
            feed.pace_ms = Some(ms);
            self.links.pace(&feed.key, ms);
        }
    }
}
