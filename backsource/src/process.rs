//! The back-source's loop.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use child::{Control, Process, Woken};
use conf::Config;
use endpoint::{End, Hub, LinkEvent, Links, Wakes};
use ipc::{ChildToMaster, ReaderToSource, SourceToReader, StreamInfo, ToBackSource};
use mediaring::{RingReader, RingWriter};
use reactor::{Deadlines, Reactor, Ready};
use rustc_hash::FxHashMap;

use crate::demand::{Demand, Wanter};
use crate::metadata;
use crate::publisher::{Publish, Publisher, Sent};
use crate::readers::{ReaderEvent, Readers};
use crate::resting::Resting;
use crate::source::Source;
use crate::sources::Sources;

/// How long a stream that nobody publishes and nobody watches is kept, ms: an encoder that reconnects finds its timeline.
const IDLE_MS: u64 = 10_000;
/// How often idle streams and large rings are looked at, ms.
const SWEEP_MS: u64 = 2_000;
/// How long clients may take to read our goodbye, ms.
const GOODBYE_MS: u64 = 1_500;

/// The back-source.
#[derive(Debug)]
pub(crate) struct BackSource {
    pub(crate) control: Control,
    pub(crate) config: Arc<Config>,
    /// The server's version.
    pub(crate) version: &'static str,
    pub(crate) sources: Sources,
    /// What each publisher sends.
    pub(crate) publishes: FxHashMap<Publisher, Sent>,
    pub(crate) readers: Readers,
    /// Streams that are wanted, of those that this back-source owns.
    pub(crate) demand: Demand,
    /// To the other back-sources, for connections that publish here and play there.
    pub(crate) links: Links,
    /// Streams whose rings advanced in this turn.
    pub(crate) advanced: Vec<u32>,
    /// Streams whose rings viewers in this process have to get.
    pub(crate) renewed: Vec<u32>,
    pub(crate) amf: amf0::Limits,
    /// When readers that gather are to be woken.
    paced: Deadlines<u32>,
    resting: Resting,
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
        sources: Sources::new(control.start.number, shards),
        publishes: FxHashMap::default(),
        readers: Readers::default(),
        demand: Demand::default(),
        links: Links::new(shards),
        advanced: Vec::new(),
        renewed: Vec::new(),
        amf: metadata::limits(&config.limits),
        paced: Deadlines::default(),
        resting: Resting::default(),
        next_sweep_ms: 0,
        short_ms: 0,
        version: hub.version,
        config,
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
        for id in self.source.sources.ids() {
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
        let rest = self.source.resting.rest(&self.hub, &self.source.sources);
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
            (ToBackSource::Ring(stream), Some(fd), _) => self.adopt(stream, fd),
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
        self.config = Arc::clone(&config);
        hub.apply_config(self, config);
        for id in self.sources.ids() {
            let rules = self.sources.get(id).and_then(|source| self.rules(&source.key.vhost));
            if let (Some(rules), Some(source)) = (rules, self.sources.get_mut(id)) {
                source.set_rules(rules);
                if source.follow_chunk_size() {
                    self.renew(id);
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
    fn adopt(&mut self, stream: StreamInfo, fd: OwnedFd) {
        if !self.sources.has_place(stream.stream_id, &stream.key) {
            return;
        }
        let Some(rules) = self.rules(&stream.key.vhost) else { return };
        match RingWriter::adopt(fd) {
            Ok(ring) => {
                tracing::info!("stream {} goes on after {} packets", stream.key, ring.head());
                let mut source = Source::adopt(stream.stream_id, stream.key, ring, rules);
                source.claim_tally(&self.control.board);
                source.idle_since_ms = Some(reactor::now_ms());
                self.sources.insert(source);
            }
            Err(error) => tracing::error!("the ring of {} can't be taken over: {error}", stream.key),
        }
    }

    /// Tells a new reader all streams.
    fn introduce(&mut self, reader: usize) {
        for source in self.sources.iter() {
            self.readers.tell(reader, &SourceToReader::Stream(source.info()), Vec::new());
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
                if let Some(source) = self.sources.get_mut(stream_id)
                    && source.readers.add(reader)
                {
                    source.idle_since_ms = None;
                    Self::bring(&mut self.readers, source, reader);
                }
            }
            ReaderEvent::Message(reader, ReaderToSource::Unsubscribe { stream_id }, _) => {
                if let Some(source) = self.sources.get_mut(stream_id) {
                    source.readers.remove(reader);
                }
            }
            ReaderEvent::Message(reader, ReaderToSource::Pace { stream_id, ms }, _) => {
                if let Some(source) = self.sources.get_mut(stream_id) {
                    source.readers.set_pace(reader, ms);
                }
            }
            ReaderEvent::Message(_, ReaderToSource::Hold { stream_id, want_ms }, _) => {
                if let Some(source) = self.sources.get_mut(stream_id) {
                    source.ring.hold(want_ms, hub.now_ms());
                }
            }
            ReaderEvent::Message(_, ReaderToSource::EndPublish { stream_id }, _) => {
                let publish = self.sources.get(stream_id).and_then(|source| source.publish);
                if let Some(Publish { cid, .. }) = publish {
                    tracing::warn!(cid, "ended: what it publishes can't be made HLS of");
                    hub.kick(self, cid);
                }
            }
            ReaderEvent::Message(reader, ReaderToSource::Want { key, request }, _) => {
                if self.sources.owns(&key) {
                    self.demand.want(Wanter::Reader(reader), key, request, hub.now_ms());
                }
            }
            ReaderEvent::Message(reader, ReaderToSource::Unwant { key }, _) => {
                self.demand.unwant(Wanter::Reader(reader), &key);
            }
            ReaderEvent::Gone(reader, link) => {
                self.control.link_down(link);
                self.demand.forget(Wanter::Reader(reader));
                for source in self.sources.iter_mut() {
                    source.readers.remove(reader);
                }
            }
        }
    }

    /// Gives a reader the ring of a stream.
    fn bring(readers: &mut Readers, source: &Source, reader: usize) {
        let ring = source.ring.writer();
        match ring.reader_fd() {
            Ok(fd) => {
                let message = SourceToReader::Ring { stream_id: source.id, generation: ring.generation() };
                readers.tell(reader, &message, vec![fd]);
            }
            Err(error) => tracing::error!("the ring of {} can't be given away: {error}", source.key),
        }
    }

    /// A ring is a new generation: tell all that use it.
    pub(crate) fn renew(&mut self, stream_id: u32) {
        let Some(source) = self.sources.get(stream_id) else { return };
        tracing::debug!("the ring of {} is {} bytes now", source.key, source.ring.shape().data_bytes);
        for reader in source.readers.iter() {
            Self::bring(&mut self.readers, source, reader);
        }
        self.sources.recount();
        self.keep(stream_id);
        self.renewed.push(stream_id);
    }

    /// A stream's ring, to be read in this process.
    pub(crate) fn ring_here(&self, source: &Source) -> Option<RingReader> {
        let opened = source.ring.writer().reader_fd().and_then(RingReader::open);
        opened
            .inspect_err(|error| tracing::error!("the ring of {} can't be opened: {error}", source.key))
            .ok()
    }

    /// Gives rings that are new to their viewers in this process.
    fn bring_here(&mut self, hub: &mut Hub) {
        let mut renewed = std::mem::take(&mut self.renewed);
        renewed.dedup();
        for stream_id in renewed {
            let Some(source) = self.sources.get(stream_id) else { continue };
            if let Some(audience) = hub.audience(&source.key)
                && let Some(ring) = self.ring_here(source)
            {
                hub.set_ring(self, audience, ring, Wakes::EachTurn);
            }
        }
    }

    /// Gives the master a ring to keep.
    pub(crate) fn keep(&mut self, stream_id: u32) {
        let Some(source) = self.sources.get(stream_id) else { return };
        match source.ring.writer().fd().try_clone_to_owned() {
            Ok(fd) => self.control.send(&ChildToMaster::KeepRing { stream: source.info() }, vec![fd]),
            Err(error) => tracing::error!("the ring of {} can't be kept: {error}", source.key),
        }
    }

    pub(crate) fn apply(&mut self, hub: &mut Hub, events: Vec<LinkEvent>) {
        for event in events {
            match event {
                LinkEvent::Ring(audience, ring) => hub.set_ring(self, audience, ring, Wakes::Paced),
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
        let now_ms = hub.now_ms();
        self.bring_here(hub);
        while let Some(stream_id) = self.paced.pop(now_ms) {
            self.wake_readers(hub, stream_id, false);
        }
        // Serving our own viewers may bring new packets in, so until nothing is left.
        while !self.advanced.is_empty() {
            let advanced = std::mem::take(&mut self.advanced);
            for stream_id in advanced {
                self.wake_readers(hub, stream_id, true);
                if !hub.has_audiences() {
                    continue;
                }
                let Some(source) = self.sources.get(stream_id) else { continue };
                if let Some(audience) = hub.audience(&source.key) {
                    hub.advanced(self, audience);
                }
            }
            self.bring_here(hub);
        }
        self.readers.wake();
        if now_ms >= self.next_sweep_ms {
            self.next_sweep_ms = now_ms + SWEEP_MS;
            self.sweep(hub, now_ms);
        }
    }

    /// Wakes the readers of a stream, now or when their time has come.
    fn wake_readers(&mut self, hub: &mut Hub, stream_id: u32, is_new: bool) {
        let Some(source) = self.sources.get_mut(stream_id) else { return };
        let wakes = source.wakes(hub.now_ms(), is_new, self.resting.added_ms());
        for reader in wakes.now {
            self.readers.advanced(reader, stream_id);
        }
        if let Some(at_ms) = wakes.later_ms {
            self.paced.add(at_ms, stream_id);
            hub.wake_at(at_ms);
        }
    }

    fn sweep(&mut self, hub: &mut Hub, now_ms: u64) {
        let bounds = self.sources.bounds(&self.config);
        let (mut idle, mut renewed, mut unwatched) = (Vec::new(), Vec::new(), Vec::new());
        self.forget_lost_tallies(hub);
        for source in self.sources.iter_mut() {
            source.note_rates(hub.board(), now_ms);
            if !source.readers.is_empty() || hub.audience(&source.key).is_some() {
                source.idle_since_ms = None;
            } else {
                let since_ms = *source.idle_since_ms.get_or_insert(now_ms);
                let idle_ms = now_ms.saturating_sub(since_ms);
                match source.publish {
                    None if idle_ms >= IDLE_MS => idle.push(source.id),
                    None => {}
                    Some(publish) => {
                        let vhost = hub.vhost(&source.key.vhost);
                        let bound_ms = vhost.map_or(0, |vhost| vhost.publish.kickoff_for_idle_ms);
                        if bound_ms > 0 && idle_ms > bound_ms {
                            unwatched.extend(publish.publisher.connection());
                        }
                    }
                }
            }
            if source.ring.relax(now_ms, bounds) | source.follow_chunk_size() {
                renewed.push(source.id);
            }
        }
        for stream_id in renewed {
            self.renew(stream_id);
        }
        self.bring_here(hub);
        for connection in unwatched {
            hub.close(self, connection, End::PublishIdle);
        }
        for stream_id in idle {
            self.free(hub, stream_id);
        }
    }

    /// Takes back the counters of streams that a predecessor had and nobody has now.
    fn forget_lost_tallies(&self, hub: &Hub) {
        let is_lost = |id: u32| self.sources.numbered(id) && self.sources.get(id).is_none();
        let lost = hub.board().tallies().filter(|tally| is_lost(tally.stream_id()));
        lost.for_each(|tally| hub.board().free_tally(tally));
    }

    fn free(&mut self, hub: &mut Hub, stream_id: u32) {
        let Some(mut source) = self.sources.remove(stream_id) else { return };
        source.ring.close();
        if let Some(tally) = source.figures.tally {
            hub.board().free_tally(tally);
        }
        hub.forget_stream(&source.key);
        self.readers.tell_all(&SourceToReader::Gone { stream_id });
        self.control.send(&ChildToMaster::DropRing { stream_id }, Vec::new());
        tracing::info!("stream {} is gone", source.key);
    }

    fn report(&self, hub: &Hub, with_clients: bool) -> api::Report {
        let process = self.control.name();
        let mut report = hub.report(&process, with_clients);
        report.wanted = self.demand.report(hub.now_ms(), |reader| self.readers.name(reader));
        report.wanted_refused = self.demand.refused();
        report.streams = self.sources.iter().map(|source| source.report(hub, &process)).collect();
        report
    }
}
