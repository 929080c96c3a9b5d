//! The web server: connections, the streams that they watch, and what is due when.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use conf::Config;
use endpoint::{AudienceId, LinkEvent, Links};
use ipc::ChildToMaster;
use media::StreamKey;
use mediaring::{Counter, Scoreboard, WorkRecord};
use reactor::{Reactor, Ready};
use slab::Slab;

use super::connection::Connection;
use super::files::Mounts;
use super::handoff::Siblings;
use super::owners::Owners;
use super::proxy;
use super::readers::Readers;
use super::transport::Certificate;
use crate::disk::{Disk, Done};
use crate::listeners::Listeners;
use crate::outputs::dvr::Recorders;
use crate::outputs::feed::Feed;
use crate::outputs::hls::HlsStreams;
use crate::outputs::live::packet_queue::Format;
use crate::outputs::live::rules::Rules;
use crate::outputs::pictures::Pictures;
use crate::outputs::vod::Vod;

pub(crate) mod rested;
pub(crate) mod serving;
pub(crate) mod sweeping;

/// Tokens of connections begin here.
const FIRST_TOKEN: usize = endpoint::FIRST_TOKEN;
/// How often those who wait for something are looked at, at most, ms.
const LOOK_MS: u64 = 20;
/// How often connections are looked after, ms.
const SWEEP_MS: u64 = 250;
/// From accept, or the first byte of another head, to the end of the head, ms.
pub(crate) const HEAD_MS: u64 = 5_000;
/// How long a connection may rest between two requests, ms.
const IDLE_MS: u64 = 60_000;
/// How long a client may take to read our last words, ms.
const LINGER_MS: u64 = 1_000;
/// How often it is looked whether a stream can be read that is held back, ms.
const HOLD_LOOK_MS: u64 = 3;
/// How long a player of HLS that an operator ended is refused, ms.
const REFUSE_MS: u64 = 60_000;
/// How long the disk may take for what is to be written before the end, ms.
const LAST_WRITES_MS: u64 = 2_000;
/// How long viewers stay when nobody publishes any more, at least, ms.
const LEAST_GRACE_MS: u64 = 5_000;

/// The web server.
#[derive(Debug)]
pub(crate) struct Web {
    pub(crate) config: Arc<Config>,
    /// Of the server, as answers name it.
    pub(crate) version: String,
    pub(crate) mounts: Mounts,
    pub(crate) board: Arc<Scoreboard>,
    pub(crate) slot: usize,
    pub(crate) work_record: Arc<WorkRecord>,
    next_id: u64,
    pub(crate) connections: Slab<Connection>,
    pub(crate) listeners: Listeners,
    tls: BTreeSet<SocketAddr>,
    certificate: Certificate,
    /// Addresses that nobody is taken from, until when, ms.
    refused: HashMap<IpAddr, u64>,
    pub(crate) links: Links,
    /// How long packets are gathered where the server decides, ms.
    pub(crate) gather_ms: u64,
    pub(crate) feeds: Slab<Feed>,
    feed_of: HashMap<StreamKey, usize>,
    pub(crate) members: HashMap<usize, BTreeSet<usize>>,
    /// Streams that exist, and whether somebody publishes them.
    pub(crate) streams: HashMap<StreamKey, bool>,
    /// Back-sources that have told all of theirs.
    told: BTreeSet<u32>,
    /// Feeds with something new, and when feeds are to be looked at though nothing has come.
    dirty_feeds: BTreeSet<usize>,
    due: BTreeMap<usize, u64>,
    /// Connections that are to be served again in this turn.
    runnable: BTreeSet<usize>,
    /// Something is there that was not: who waits is looked at.
    pub(crate) recheck_waiting: bool,
    /// When that was done last, ms: however much is new, and however many wait, it is not done all the time.
    looked_ms: u64,
    pub(crate) owners: Owners,
    pub(crate) siblings: Siblings,
    number: u32,
    pub(crate) hls: HlsStreams,
    pub(crate) dvr: Recorders,
    pub(crate) vod: Vod,
    pub(crate) pictures: Pictures,
    pub(crate) readers: Readers,
    swept_ms: u64,
    /// What the master is to be told.
    pub(crate) to_master: Vec<(ChildToMaster, Vec<OwnedFd>)>,
    /// Links that are there (`Some`: whether rings are read over it) or have ended, for the master.
    pub(crate) link_notes: Vec<(u64, Option<bool>)>,
    /// Downloads that the master keeps.
    pub(crate) downloads: usize,
    /// Requests for the API whose sockets are to be watched.
    pub(crate) unregistered_tunnels: Vec<usize>,
    /// Pages that want to hear of events, and when they hear of us at the latest, ms.
    pub(crate) event_listeners: BTreeSet<usize>,
    pub(crate) next_ping_ms: u64,
    pub(crate) now_ms: u64,
    pub(crate) ended: BTreeMap<&'static str, u64>,
    /// When it may be told again that somebody speaks another protocol, ms.
    pub(crate) next_contact_ms: u64,
}

impl Web {
    pub(crate) fn new(
        config: Arc<Config>,
        (board, work_record): (Arc<Scoreboard>, Arc<WorkRecord>),
        (number, slot): (u32, u32),
        first_id: u64,
        (disk, vod, readers, pictures): (Disk, Vod, Readers, Pictures),
    ) -> Self {
        Self {
            owners: Owners::new(&config, number),
            siblings: Siblings::default(),
            number,
            hls: HlsStreams::new(disk, &config.runtime_dir, number, config.limits.hls_memory),
            dvr: Recorders::default(),
            vod,
            pictures,
            readers,
            mounts: Mounts::new(&config),
            gather_ms: 0,
            links: Links::new(config.backsources.max(1)),
            listeners: Listeners::new(config.limits.turn_accepts).telling(),
            config,
            version: String::new(),
            board,
            slot: slot as usize,
            work_record,
            next_id: first_id,
            connections: Slab::new(),
            tls: BTreeSet::new(),
            certificate: Certificate::default(),
            refused: HashMap::new(),
            feeds: Slab::new(),
            feed_of: HashMap::new(),
            members: HashMap::new(),
            streams: HashMap::new(),
            told: BTreeSet::new(),
            dirty_feeds: BTreeSet::new(),
            due: BTreeMap::new(),
            runnable: BTreeSet::new(),
            recheck_waiting: false,
            looked_ms: 0,
            swept_ms: 0,
            to_master: Vec::new(),
            link_notes: Vec::new(),
            downloads: 0,
            unregistered_tunnels: Vec::new(),
            event_listeners: BTreeSet::new(),
            next_ping_ms: 0,
            now_ms: reactor::now_ms(),
            ended: BTreeMap::new(),
            next_contact_ms: 0,
        }
    }

    /// Accepts on this from now on.
    pub(crate) fn listen(&mut self, reactor: &Reactor, address: SocketAddr, tls: bool, fds: Vec<OwnedFd>) {
        if tls {
            self.tls.insert(address);
            self.certificate.look(&self.config.http_server.https, true);
        }
        self.listeners.add(reactor, &[address], fds);
    }

    /// Another configuration holds.
    pub(crate) fn configure(&mut self, config: Arc<Config>) {
        self.mounts = Mounts::new(&config);
        self.owners = Owners::new(&config, self.number);
        let of_hls = |root: &Path| config.vhosts.iter().any(|vhost| vhost.hls.path == root);
        let mounts = &self.mounts;
        self.readers.keep(|root| mounts.has(root) || of_hls(root));
        self.config = config;
        self.recheck_waiting = true;
        self.certificate.look(&self.config.http_server.https, true);
        self.hls.most_memory = self.config.limits.hls_memory;
        self.end_homeless();
        self.review_hls();
        self.review_dvr();
        self.review_rules();
    }

    /// Who watches a stream of a vhost that is no more has nothing to watch.
    fn end_homeless(&mut self) {
        let served = |name: &str| {
            self.config
                .vhosts
                .iter()
                .any(|vhost| vhost.enabled && vhost.http_remux.enabled && vhost.name == name)
        };
        let homeless: Vec<usize> = self
            .connections
            .iter()
            .filter(|(_, connection)| {
                let feed = connection.viewer().and_then(|viewer| self.feeds.get(viewer.feed));
                feed.is_some_and(|feed| !served(&feed.key.vhost))
            })
            .map(|(key, _)| key)
            .collect();
        for key in homeless {
            self.end_live(key);
            self.serve(key, false);
        }
    }

    /// Takes nobody from an address for a while.
    pub(crate) fn refuse_address(&mut self, ip: IpAddr, for_ms: u64) {
        self.refused.retain(|_, until_ms| *until_ms > self.now_ms);
        self.refused.insert(ip.to_canonical(), self.now_ms + for_ms);
    }

    /// A back-source is there, at the other end of the link of this number.
    pub(crate) fn connect(&mut self, reactor: &Reactor, shard: u32, link: u64, ends: (OwnedFd, OwnedFd)) {
        self.link_notes.push((link, Some(true)));
        let events = self.links.connect(reactor, shard, link, ends.0, ends.1);
        self.apply(events);
    }

    /// A token that is none of the process's own is ready.
    pub(crate) fn ready(&mut self, reactor: &Reactor, ready: Ready) {
        if let Some(key) = ready.token.0.checked_sub(proxy::FIRST_TOKEN) {
            self.serve(key, false);
        } else if let Some(key) = ready.token.0.checked_sub(FIRST_TOKEN) {
            if ready.writable
                && let Some(connection) = self.connections.get_mut(key)
            {
                connection.blocked = false;
            }
            self.serve(key, ready.readable);
        } else if Siblings::owns(ready.token) {
            self.hear_sibling(reactor, ready.token);
        } else if self.links.owns(ready.token) {
            let events = self.links.ready(ready.token);
            self.apply(events);
        } else {
            self.listeners.ready(ready.token);
        }
    }

    fn apply(&mut self, events: Vec<LinkEvent>) {
        for event in events {
            match event {
                LinkEvent::Ring(audience, ring) => {
                    if let Some(feed) = self.feeds.get_mut(audience.key()) {
                        feed.tally = self.board.tally(ring.stream_id());
                        feed.set_ring(ring);
                        self.dirty_feeds.insert(audience.key());
                    }
                    self.set_pace(audience.key());
                }
                LinkEvent::Advanced(audience) => {
                    self.dirty_feeds.insert(audience.key());
                }
                LinkEvent::Stream(key, live) => self.stream(key, live),
                LinkEvent::Rest(_) => {}
                LinkEvent::Gone(key) => {
                    self.stream(key.clone(), false);
                    self.streams.remove(&key);
                    self.dvr.is_new |= self.dvr.ordered.remove(&key).is_some();
                }
                LinkEvent::Up(shard) => {
                    tracing::debug!("back-source {shard} is there");
                    self.told.insert(shard);
                    self.forget_orders(shard);
                }
                LinkEvent::Down(shard, link) => {
                    tracing::info!("the link to back-source {shard} has ended");
                    self.link_notes.push((link, None));
                    self.told.remove(&shard);
                    // Its successor tells which streams there are; the rings stay readable meanwhile.
                    let shards = self.config.backsources.max(1);
                    self.streams.retain(|key, _| key.shard(shards) != shard);
                }
            }
        }
    }

    /// A stream begins or rests.
    fn stream(&mut self, key: StreamKey, live: bool) {
        if let Some(feed) = self.feed_of.get(&key).copied() {
            if live {
                // Its ring may have been given back.
                self.links.watch(AudienceId::new(feed), &key);
            }
            if let Some(feed) = self.feeds.get_mut(feed) {
                feed.set_live(live, self.now_ms);
            }
            self.dirty_feeds.insert(feed);
        }
        self.streams.insert(key, live);
        self.recheck_waiting = true;
        if live {
            self.review_hls();
            self.review_dvr();
            self.review_rules();
            // At once: a short publish may be over with the next event.
            self.look_at_waiting();
        }
    }

    /// Whether it is known which streams there are where this one would be.
    pub(crate) fn knows_streams(&self, key: &StreamKey) -> bool {
        self.told.contains(&self.links.shard_of(key))
    }

    pub(crate) fn take_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id - 1
    }

    /// The feed of a stream; there is one when this returns.
    pub(crate) fn feed(&mut self, key: &StreamKey, since_ns: u64) -> usize {
        if let Some(feed) = self.feed_of.get(key) {
            return *feed;
        }
        let feed = self.insert_feed(key, since_ns);
        self.links.watch(AudienceId::new(feed), key);
        feed
    }

    fn insert_feed(&mut self, key: &StreamKey, since_ns: u64) -> usize {
        let mut feed = Feed::new(key.clone(), since_ns);
        feed.set_rules(Rules::of_stream(&self.config, key));
        let feed = self.feeds.insert(feed);
        self.feed_of.insert(key.clone(), feed);
        feed
    }

    /// Somebody watches a feed from now on.
    pub(crate) fn join(&mut self, connection: usize, feed: usize, format: Format) {
        self.members.entry(feed).or_default().insert(connection);
        if let Some(feed) = self.feeds.get_mut(feed) {
            feed.join(format);
        }
        self.set_pace(feed);
        self.dirty_feeds.insert(feed);
        self.runnable.insert(connection);
    }

    /// Somebody watches it no longer.
    pub(crate) fn leave(&mut self, connection: usize, feed: usize, format: Format) {
        if let Some(members) = self.members.get_mut(&feed) {
            members.remove(&connection);
        }
        if let Some(known) = self.feeds.get_mut(feed) {
            known.leave(format);
        }
        self.forget_unwanted(feed);
    }

    /// A feed that nobody wants is none.
    pub(crate) fn forget_unwanted(&mut self, feed: usize) {
        if self.feeds.get(feed).is_none_or(Feed::is_wanted) {
            return;
        }
        let gone = self.feeds.remove(feed);
        self.links.unwatch(&gone.key);
        self.feed_of.remove(&gone.key);
        self.members.remove(&feed);
        self.dirty_feeds.remove(&feed);
        self.due.remove(&feed);
    }

    /// When [`Self::work`] is due, ms.
    pub(crate) fn deadline(&self) -> u64 {
        if !self.runnable.is_empty() || !self.dirty_feeds.is_empty() || self.siblings.is_busy() {
            return 0;
        }
        let accept = self.listeners.again_ms();
        let due = self.due.values().copied().min().into_iter().chain(self.links.deadline()).min();
        let recheck_waiting = self.recheck_waiting.then_some(self.looked_ms + LOOK_MS);
        [Some(self.swept_ms + SWEEP_MS), accept, due, recheck_waiting]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or(0)
    }

    /// Does what is due: accepts, reads streams, serves who watches them.
    pub(crate) fn work(&mut self, reactor: &Reactor) {
        self.now_ms = reactor::now_ms();
        for (at, socket, peer) in self.listeners.accept_at() {
            self.adopt(reactor, at, socket, peer);
        }
        for (at, socket) in self.listeners.take_turned_away() {
            self.board.add(self.slot, Counter::Accepted, 1);
            self.turn_away(at, &socket, serving::NO_DESCRIPTORS);
        }
        let now_ms = self.now_ms;
        let events = self.links.tick(now_ms);
        self.apply(events);
        let due: Vec<usize> =
            self.due.iter().filter(|(_, at)| **at <= now_ms).map(|(feed, _)| *feed).collect();
        self.dirty_feeds.extend(due);
        for feed in std::mem::take(&mut self.dirty_feeds) {
            self.pump(feed);
        }
        self.recheck_waiting |= self.hls.work(now_ms);
        self.go_on_with_rested();
        for key in std::mem::take(&mut self.hls.unfit) {
            self.links.end_publish(&key);
        }
        for done in std::mem::take(&mut self.hls.others) {
            match done {
                Done::Failed(id, error) => self.dvr.failed(id, &error, now_ms, &mut self.hls.disk),
                Done::GoesOn(id, before) => self.dvr.goes_on(id, before),
                Done::Finished(id, result) => self.dvr.has_finished(id, result),
                Done::Written(..) | Done::Read(..) | Done::Recovered(..) => {}
            }
        }
        self.tell_new_records();
        for key in std::mem::take(&mut self.runnable) {
            self.serve(key, false);
        }
        self.send_leaving(reactor);
        self.watch_tunnels(reactor);
        if self.now_ms >= self.swept_ms + SWEEP_MS {
            self.swept_ms = self.now_ms;
            self.adapt_gathering(reactor.busy());
            self.sweep();
        } else if self.recheck_waiting && self.now_ms >= self.looked_ms + LOOK_MS {
            self.recheck_waiting = false;
            self.looked_ms = self.now_ms;
            self.look_at_waiting();
        }
    }

    fn pump(&mut self, key: usize) {
        self.due.remove(&key);
        if self.hls.holds(key, self.now_ms) {
            self.due.insert(key, self.now_ms + HOLD_LOOK_MS);
            return;
        }
        let Some(feed) = self.feeds.get_mut(key) else { return };
        let (hls, dvr, now_ms) = (&mut self.hls, &mut self.dvr, self.now_ms);
        let unix_ms = unix_ms();
        let again = feed.pump(self.now_ms, &mut |event, lineup| {
            hls.take(key, event, lineup, unix_ms);
            dvr.take(key, event, lineup, (unix_ms, now_ms), &mut hls.disk);
        });
        if let Some(at) = again {
            self.due.insert(key, at);
        }
        if feed.has_ended() {
            self.hls.rest(key, self.now_ms);
            self.dvr.end(key, &mut self.hls.disk);
        }
        let has_ended = feed.has_ended();
        let members: Vec<usize> = self.members.get(&key).into_iter().flatten().copied().collect();
        for member in members {
            if self.connections.get(member).is_some_and(|connection| !connection.blocked) {
                self.serve(member, false);
            }
        }
        if has_ended {
            self.end_kept(key);
            self.unpin(key);
        }
    }

    /// Accepts on these no more.
    pub(crate) fn stop_listening(&mut self, reactor: &Reactor, addresses: &[SocketAddr]) {
        for (socket, peer) in self.listeners.remove(reactor, addresses) {
            if let Some(at) = addresses.first().copied() {
                self.adopt(reactor, at, socket, peer);
            }
        }
        for address in addresses {
            self.tls.remove(address);
        }
    }
}

/// The time of day, ms since 1970: for names and dates, never for lengths.
pub(crate) fn unix_ms() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |time| i64::try_from(time.as_millis()).unwrap_or(0))
}

/// How far a viewer of a stream may lag, ms.
fn queue_ms(config: &Config, key: &StreamKey) -> i64 {
    match config.vhost(&key.vhost) {
        conf::Lookup::Found(vhost) => i64::try_from(vhost.queue_length_ms).unwrap_or(30_000),
        _ => 30_000,
    }
}
