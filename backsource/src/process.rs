//! The back-source's loop.

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use child::{Control, Process, Woken};
use conf::Config;
use endpoint::{ConnectionId, End, Hub, LinkEvent, Links};
use ipc::{ChildToMaster, ReaderToSource, SourceToReader, StreamInfo, ToBackSource};
use media::StreamKey;
use mediaring::{RingReader, RingWriter};
use reactor::{Deadlines, Reactor, Ready};
use rustc_hash::FxHashMap;

use crate::metadata;
use crate::readers::{ReaderEvent, Readers};
use crate::source::{Bounds, Source, Subscription};

/// How long a stream that nobody publishes and nobody watches is kept, ms: an encoder that reconnects finds its timeline.
const IDLE_MS: u64 = 10_000;
/// How often idle streams and large rings are looked at, ms.
const SWEEP_MS: u64 = 2_000;
/// Share of its time that the loop works from which on it may rest.
const RESTING_LOAD: f64 = 0.05;
/// While it rests its share is smaller; below this it rests no more.
const RESTED_LOAD: f64 = 0.01;
/// Rest for this part of the time for which readers gather, at most so long, ms.
const REST_SHARE: u64 = 7;
const MAX_REST_MS: u64 = 50;
/// Rest for so long at least with so many streams.
const SHORT_REST: Duration = Duration::from_micros(500);
const MANY_SOURCES: usize = 32;
/// How often the readers' wishes are looked at, ms.
const PACE_LOOK_MS: u64 = 200;
/// Longest time between two wake-ups that a reader can ask for, ms.
const MAX_PACE_MS: u64 = 5_000;
/// How long clients may take to read our goodbye, ms.
const GOODBYE_MS: u64 = 1_500;

/// The back-source.
#[derive(Debug)]
pub(crate) struct BackSource {
    pub(crate) control: Control,
    pub(crate) sources: FxHashMap<u32, Source>,
    pub(crate) by_key: HashMap<StreamKey, u32>,
    /// Which stream a connection's message stream publishes.
    pub(crate) publishes: FxHashMap<(ConnectionId, u32), u32>,
    pub(crate) readers: Readers,
    /// To the other back-sources, for connections that publish here and play there.
    pub(crate) links: Links,
    pub(crate) next_stream_id: u32,
    pub(crate) shards: u32,
    /// Streams whose rings advanced in this turn.
    pub(crate) advanced: Vec<u32>,
    pub(crate) amf: amf0::Limits,
    /// Bytes of all rings.
    ring_bytes: u64,
    /// When readers that gather are to be woken.
    paced: Deadlines<u32>,
    /// The shortest time for which any reader gathers, ms, and when to look again.
    shortest_pace_ms: u64,
    resting: bool,
    next_pace_ms: u64,
    next_sweep_ms: u64,
    /// When it was last said that descriptors are missing.
    pub(crate) short_ms: u64,
}

/// The back-source with the connections of its publishers.
struct Serving {
    source: BackSource,
    hub: Hub,
    /// What is ready beside connections.
    others: Vec<Ready>,
}

/// Runs a back-source until the master ends it. `control` is the channel to the master.
///
/// # Errors
/// When it can't begin, or the master has gone.
pub fn run(control: OwnedFd) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let control = Control::begin(control)?;
    let config = Arc::new((*control.start.config).clone());
    let shards = config.backsources.max(1);
    let mut hub = Hub::new(
        Arc::clone(&config),
        Arc::clone(&control.board),
        control.start.board_slot,
        Arc::clone(&control.work),
        control.start.first_connection_id,
    )?;
    // Once for the life of the process.
    hub.version = Box::leak(control.start.version.clone().into_boxed_str());
    let source = BackSource {
        sources: FxHashMap::default(),
        by_key: HashMap::new(),
        publishes: FxHashMap::default(),
        readers: Readers::default(),
        links: Links::new(shards),
        next_stream_id: control.start.number + shards,
        shards,
        advanced: Vec::new(),
        amf: metadata::limits(&config.limits),
        ring_bytes: 0,
        paced: Deadlines::default(),
        shortest_pace_ms: 0,
        resting: false,
        next_pace_ms: 0,
        next_sweep_ms: 0,
        short_ms: 0,
        control,
    };
    child::run(Serving { source, hub, others: Vec::new() })
}

impl Process for Serving {
    type Message = ToBackSource;

    fn parts(&mut self) -> (&mut Control, &Reactor) {
        (&mut self.source.control, &self.hub.reactor)
    }

    fn message(&mut self, message: ToBackSource, fds: Vec<OwnedFd>) {
        self.source.message(&mut self.hub, message, fds);
    }

    fn keep_again(&mut self) {
        let ids: Vec<u32> = self.source.sources.keys().copied().collect();
        for id in ids {
            self.source.keep(id);
        }
    }

    fn report(&mut self, with_clients: bool) -> api::Report {
        self.source.report(&self.hub, with_clients)
    }

    fn kick(&mut self, id: u64) -> bool {
        self.hub.kick(&mut self.source, id)
    }

    fn turn(&mut self) {
        for ready in std::mem::take(&mut self.others) {
            self.source.other(&mut self.hub, ready);
        }
        self.source.mend_links(&mut self.hub);
        self.hub.run(&mut self.source);
        self.source.end_turn(&mut self.hub);
    }

    fn wait(&mut self, until_ms: u64) -> io::Result<Woken> {
        let rest = self.source.rest(&self.hub);
        if !rest.is_zero() {
            self.hub.reactor.rest(rest);
        }
        self.hub.turn(until_ms, &mut self.others)?;
        Ok(Woken::by(&self.others))
    }

    fn goodbye(&mut self) -> io::Result<()> {
        self.hub.goodbye(&mut self.source, "The server ends");
        self.source.end_turn(&mut self.hub);
        let end_ms = reactor::now_ms() + GOODBYE_MS;
        while self.hub.connection_count() > 0 && reactor::now_ms() < end_ms {
            let until_ms = self.source.control.beat().min(end_ms);
            self.hub.turn(until_ms, &mut self.others)?;
            self.others.clear();
            self.hub.run(&mut self.source);
        }
        Ok(())
    }
}

impl BackSource {
    pub(crate) fn bounds(&self, hub: &Hub) -> Bounds {
        let ring = &hub.config().ring;
        let total = ring.total_bytes / u64::from(self.shards);
        let used = self.ring_bytes;
        // Near the server's bound nobody grows any more.
        let max = if used >= total {
            ring.initial_bytes
        } else {
            ring.max_bytes.min(total - used + ring.initial_bytes)
        };
        Bounds { initial: ring.initial_bytes, max }
    }

    /// Adds up the rings' memory; whenever one was made, renewed or freed.
    pub(crate) fn recount(&mut self) {
        self.ring_bytes = self.sources.values().map(|source| source.ring.shape().total_bytes()).sum();
    }

    fn other(&mut self, hub: &mut Hub, ready: Ready) {
        if self.links.owns(ready.token) {
            let events = self.links.ready(ready.token);
            self.apply(hub, events);
        } else if self.readers.owns(ready.token) {
            for event in self.readers.ready(ready.token) {
                self.reader_event(hub, event);
            }
        }
    }

    fn message(&mut self, hub: &mut Hub, message: ToBackSource, fds: Vec<OwnedFd>) {
        let mut fds = fds.into_iter();
        match (message, fds.next(), fds.next()) {
            (ToBackSource::Reader { role, number, link }, Some(channel), Some(wake)) => {
                let (key, events) = self.readers.add(&hub.reactor, (role, number), link, (channel, wake));
                for event in events {
                    self.reader_event(hub, event);
                }
                match key {
                    Some(key) => {
                        self.control.link_up(link, false);
                        self.introduce(key);
                    }
                    None => self.control.link_down(link),
                }
            }
            (ToBackSource::Source { shard, link }, Some(channel), Some(wake)) => {
                self.control.link_up(link, true);
                let events = self.links.connect(&hub.reactor, shard, link, channel, wake);
                self.apply(hub, events);
            }
            (ToBackSource::Reader { link, .. } | ToBackSource::Source { link, .. }, ..) => {
                self.control.link_down(link);
            }
            (ToBackSource::Ring(stream), Some(fd), _) => self.adopt(hub, stream, fd),
            (ToBackSource::Ring(stream), ..) => {
                tracing::error!("the ring of {} came without its memory", stream.key);
            }
            (ToBackSource::Configure { generation, config }, ..) => {
                self.apply_config(hub, Arc::new(*config));
                self.control.applied(generation);
            }
            (ToBackSource::Preview { id, config }, ..) => {
                let (touched, all) = hub.preview(&config);
                self.control.send(&ChildToMaster::Previewed { id, touched, all }, Vec::new());
            }
        }
    }

    fn apply_config(&mut self, hub: &mut Hub, config: Arc<Config>) {
        self.amf = metadata::limits(&config.limits);
        hub.apply_config(self, config);
        let ids: Vec<u32> = self.sources.keys().copied().collect();
        for id in ids {
            let rules = self.sources.get(&id).and_then(|source| self.rules(hub, &source.key.vhost));
            if let (Some(rules), Some(source)) = (rules, self.sources.get_mut(&id)) {
                source.set_rules(rules);
                if source.follow_chunk_size() {
                    self.renew(hub, id);
                }
            }
        }
    }

    /// Works off what links have left over.
    fn mend_links(&mut self, hub: &mut Hub) {
        let events = self.links.tick(hub.now_ms());
        self.apply(hub, events);
        for event in self.readers.tick() {
            self.reader_event(hub, event);
        }
        if let Some(at_ms) = self.links.deadline() {
            hub.wake_at(at_ms);
        }
        if self.readers.is_busy() {
            hub.wake_at(hub.now_ms());
        }
    }

    /// Takes over the ring of a predecessor.
    fn adopt(&mut self, hub: &Hub, stream: StreamInfo, fd: OwnedFd) {
        if self.sources.contains_key(&stream.stream_id) || self.by_key.contains_key(&stream.key) {
            return;
        }
        self.next_stream_id = self.next_stream_id.max(stream.stream_id.saturating_add(self.shards));
        let Some(rules) = self.rules(hub, &stream.key.vhost) else { return };
        match RingWriter::adopt(fd) {
            Ok(ring) => {
                tracing::info!("stream {} goes on after {} packets", stream.key, ring.head());
                let mut source = Source::adopt(stream.stream_id, stream.key.clone(), ring, rules);
                source.count(hub.board());
                source.idle_since_ms = Some(reactor::now_ms());
                self.by_key.insert(stream.key, source.id);
                self.sources.insert(source.id, source);
                self.recount();
            }
            Err(error) => tracing::error!("the ring of {} can't be taken over: {error}", stream.key),
        }
    }

    /// Tells a new reader all streams.
    fn introduce(&mut self, reader: usize) {
        for source in self.sources.values() {
            self.readers.tell(reader, &SourceToReader::Stream(info(source)), Vec::new());
        }
        self.readers.tell(reader, &SourceToReader::Listed, Vec::new());
    }

    fn reader_event(&mut self, hub: &mut Hub, event: ReaderEvent) {
        match event {
            ReaderEvent::Message(_, ReaderToSource::Handoff { connection }, fds) => {
                reactor::crash_point("handed-over");
                if let Some(socket) = fds.into_iter().next()
                    && let Err(error) = hub.attach(self, socket, &connection)
                {
                    tracing::error!("a connection can't be taken over: {error}");
                }
            }
            ReaderEvent::Message(reader, ReaderToSource::Subscribe { stream_id }, _) => {
                if let Some(source) = self.sources.get_mut(&stream_id)
                    && source.readers.iter().all(|known| known.reader != reader)
                {
                    source.readers.push(Subscription::new(reader));
                    source.idle_since_ms = None;
                    Self::bring(&mut self.readers, source, reader);
                }
            }
            ReaderEvent::Message(reader, ReaderToSource::Unsubscribe { stream_id }, _) => {
                if let Some(source) = self.sources.get_mut(&stream_id) {
                    source.readers.retain(|known| known.reader != reader);
                }
            }
            ReaderEvent::Message(reader, ReaderToSource::Pace { stream_id, ms }, _) => {
                let source = self.sources.get_mut(&stream_id);
                let known =
                    source.and_then(|source| source.readers.iter_mut().find(|known| known.reader == reader));
                if let Some(known) = known {
                    known.pace_ms = u64::from(ms).min(MAX_PACE_MS);
                }
            }
            ReaderEvent::Message(_, ReaderToSource::Hold { stream_id, want_ms }, _) => {
                if let Some(source) = self.sources.get_mut(&stream_id) {
                    source.hold(want_ms, hub.now_ms());
                }
            }
            ReaderEvent::Message(_, ReaderToSource::EndPublish { stream_id }, _) => {
                let publisher = self.sources.get(&stream_id).and_then(|source| source.publisher);
                if let Some(publisher) = publisher {
                    tracing::warn!(cid = publisher.cid, "ended: what it publishes can't be made HLS of");
                    hub.kick(self, publisher.cid);
                }
            }
            ReaderEvent::Gone(reader, link) => {
                self.control.link_down(link);
                for source in self.sources.values_mut() {
                    source.readers.retain(|known| known.reader != reader);
                }
            }
        }
    }

    /// Gives a reader the ring of a stream.
    pub(crate) fn bring(readers: &mut Readers, source: &Source, reader: usize) {
        match source.ring.reader_fd() {
            Ok(fd) => {
                let message =
                    SourceToReader::Ring { stream_id: source.id, generation: source.ring.generation() };
                readers.tell(reader, &message, vec![fd]);
            }
            Err(error) => tracing::error!("the ring of {} can't be given away: {error}", source.key),
        }
    }

    /// A ring is a new generation: tell all that use it.
    pub(crate) fn renew(&mut self, hub: &mut Hub, stream_id: u32) {
        let Some(source) = self.sources.get(&stream_id) else { return };
        tracing::debug!("the ring of {} is {} bytes now", source.key, source.ring.shape().data_bytes);
        for reader in &source.readers {
            Self::bring(&mut self.readers, source, reader.reader);
        }
        self.recount();
        self.keep(stream_id);
        self.bring_here(hub, stream_id);
    }

    /// Gives a stream's ring to its viewers in this process.
    pub(crate) fn bring_here(&mut self, hub: &mut Hub, stream_id: u32) {
        let Some(source) = self.sources.get(&stream_id) else { return };
        let Some(audience) = hub.audience(&source.key) else { return };
        match source.ring.reader_fd().and_then(RingReader::open) {
            Ok(ring) => hub.set_ring(self, audience, ring),
            Err(error) => tracing::error!("the ring of {} can't be opened: {error}", source.key),
        }
    }

    /// Gives the master a ring to keep.
    pub(crate) fn keep(&mut self, stream_id: u32) {
        let Some(source) = self.sources.get(&stream_id) else { return };
        match source.ring.fd().try_clone_to_owned() {
            Ok(fd) => self.control.send(&ChildToMaster::KeepRing { stream: info(source) }, vec![fd]),
            Err(error) => tracing::error!("the ring of {} can't be kept: {error}", source.key),
        }
    }

    pub(crate) fn apply(&mut self, hub: &mut Hub, events: Vec<LinkEvent>) {
        for event in events {
            match event {
                LinkEvent::Ring(audience, ring) => hub.set_ring(self, audience, ring),
                LinkEvent::Advanced(audience) => hub.advanced(self, audience),
                LinkEvent::Rest(audience) => hub.rest(self, audience),
                LinkEvent::Gone(key) => hub.forget_stream(&key),
                LinkEvent::Down(_, link) => self.control.link_down(link),
                LinkEvent::Stream(..) | LinkEvent::Up(_) => {}
            }
        }
    }

    /// After each turn: wake the readers of what advanced, free what is idle.
    fn end_turn(&mut self, hub: &mut Hub) {
        // Serving our own viewers may bring new packets in, so until nothing is left.
        let now_ms = hub.now_ms();
        while let Some(stream_id) = self.paced.pop(now_ms) {
            self.wake_readers(hub, stream_id, false);
        }
        while !self.advanced.is_empty() {
            let advanced = std::mem::take(&mut self.advanced);
            for stream_id in advanced {
                self.wake_readers(hub, stream_id, true);
                if !hub.has_audiences() {
                    continue;
                }
                let Some(source) = self.sources.get(&stream_id) else { continue };
                if let Some(audience) = hub.audience(&source.key) {
                    hub.advanced(self, audience);
                }
            }
        }
        self.readers.wake();
        if now_ms >= self.next_sweep_ms {
            self.next_sweep_ms = now_ms + SWEEP_MS;
            self.sweep(hub, now_ms);
        }
    }

    /// How long to rest before the next turn: a busy back-source reads its publishers less often, several packets at once.
    /// While anybody wants packets at once only with many publishers, and so shortly that nobody notices: then a turn and
    /// a wake-up serve a dozen of packets instead of one.
    fn rest(&mut self, hub: &Hub) -> Duration {
        let busy = hub.reactor.busy();
        self.resting = busy >= if self.resting { RESTED_LOAD } else { RESTING_LOAD };
        // Who has not been read yet in the time of a turn is read at once: rests would add up.
        if !self.resting || hub.is_behind() {
            return Duration::ZERO;
        }
        let now_ms = reactor::now_ms();
        if now_ms >= self.next_pace_ms {
            self.next_pace_ms = now_ms + PACE_LOOK_MS;
            let watched = self.sources.values().filter(|source| source.publisher.is_some());
            let paces = watched.flat_map(|source| {
                let here = hub.audience(&source.key).map(|_| 0);
                source.readers.iter().map(|reader| reader.pace_ms).chain(here)
            });
            self.shortest_pace_ms = paces.min().unwrap_or(MAX_REST_MS * REST_SHARE);
        }
        let gathered = Duration::from_millis(self.gathering_rest_ms());
        if self.sources.len() < MANY_SOURCES { gathered } else { gathered.max(SHORT_REST) }
    }

    /// How long a rest is while all readers gather, ms.
    fn gathering_rest_ms(&self) -> u64 {
        (self.shortest_pace_ms / REST_SHARE).min(MAX_REST_MS)
    }

    /// Wakes the readers of a stream, now or when their time has come.
    fn wake_readers(&mut self, hub: &mut Hub, stream_id: u32, is_new: bool) {
        // A packet may have waited for a rest before it was read, and the wake-up may wait for another one.
        let rests_ms = if self.resting { 2 * self.gathering_rest_ms() } else { 0 };
        let Some(source) = self.sources.get_mut(&stream_id) else { return };
        let wakes = source.wakes(hub.now_ms(), is_new, rests_ms);
        for reader in wakes.now {
            self.readers.advanced(reader, stream_id);
        }
        if let Some(at_ms) = wakes.later_ms {
            self.paced.add(at_ms, stream_id);
            hub.wake_at(at_ms);
        }
    }

    fn sweep(&mut self, hub: &mut Hub, now_ms: u64) {
        let bounds = self.bounds(hub);
        let mut idle = Vec::new();
        let mut renewed = Vec::new();
        let mut kick = Vec::new();
        self.forget_lost_tallies(hub);
        for source in self.sources.values_mut() {
            source.note_rates(hub.board(), now_ms);
            let watched = !source.readers.is_empty() || hub.audience(&source.key).is_some();
            if watched {
                source.idle_since_ms = None;
            } else {
                let since = *source.idle_since_ms.get_or_insert(now_ms);
                let idle_ms = now_ms.saturating_sub(since);
                match source.publisher {
                    None if idle_ms >= IDLE_MS => idle.push(source.id),
                    None => {}
                    Some(publisher) => {
                        let bound =
                            hub.vhost(&source.key.vhost).map_or(0, |vhost| vhost.publish.kickoff_for_idle_ms);
                        if bound > 0 && idle_ms > bound {
                            kick.push(publisher.connection);
                        }
                    }
                }
            }
            if source.relax(now_ms, bounds) | source.follow_chunk_size() {
                renewed.push(source.id);
            }
        }
        for stream_id in renewed {
            self.renew(hub, stream_id);
        }
        for connection in kick {
            hub.close(self, connection, End::PublishIdle);
        }
        for stream_id in idle {
            self.free(hub, stream_id);
        }
    }

    /// Takes back the counters of streams that a predecessor had and nobody has now.
    fn forget_lost_tallies(&self, hub: &Hub) {
        let ours = |stream_id: u32| stream_id % self.shards == self.control.start.number;
        let lost = hub
            .board()
            .tallies()
            .filter(|tally| ours(tally.stream_id()) && !self.sources.contains_key(&tally.stream_id()));
        lost.for_each(|tally| hub.board().free_tally(tally));
    }

    fn free(&mut self, hub: &mut Hub, stream_id: u32) {
        let Some(mut source) = self.sources.remove(&stream_id) else { return };
        source.ring.close();
        if let Some(tally) = source.tally {
            hub.board().free_tally(tally);
        }
        self.by_key.remove(&source.key);
        self.recount();
        hub.forget_stream(&source.key);
        self.readers.tell_all(&SourceToReader::Gone { stream_id });
        self.control.send(&ChildToMaster::DropRing { stream_id }, Vec::new());
        tracing::info!("stream {} is gone", source.key);
    }

    fn report(&self, hub: &Hub, with_clients: bool) -> api::Report {
        let process = self.control.name();
        let mut report = hub.report(&process, with_clients);
        report.streams = self.sources.values().map(|source| source.report(hub, &process)).collect();
        report
    }
}

pub(crate) fn info(source: &Source) -> StreamInfo {
    StreamInfo { stream_id: source.id, key: source.key.clone(), live: source.publisher.is_some() }
}
