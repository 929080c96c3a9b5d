//! Publishers: who may, where their packets go, and what their coming and going means to others.

use std::hash::{Hash, Hasher};
use std::os::fd::OwnedFd;

use bytes::Bytes;
use conf::vhost::{PublishTakeover, TimeJitter};
use endpoint::{
    Asker, AudienceId, ConnectionId, ConnectionSnapshot, Host, Hub, Reason, Refusal, Verdict, Wakes,
};
use ipc::{SourceToReader, ViewerRequest};
use media::timeline::Jitter;
use media::{Kind, StreamKey, WireClock};
use mediaring::RingReader;
use rtmp::PublishRequest;

use crate::demand::Wanter;
use crate::process::BackSource;
use crate::publisher::{Publish, Publisher, Sent};
use crate::source::{Packet, Rules};
use crate::stream_ring::Put;

/// Least time between two lines about descriptors that are missing, ms.
const SHORT_MS: u64 = 5_000;
/// A publisher that was not heard for so long may be replaced by the same client, ms.
const SILENT_MS: u64 = 2_000;

impl BackSource {
    /// What the vhost says of its streams; `None` when it is not there.
    pub(crate) fn rules(&self, vhost: &str) -> Option<Rules> {
        let vhost = self.config.vhosts.iter().find(|known| known.name == vhost)?;
        Some(Rules {
            jitter: match vhost.time_jitter {
                TimeJitter::Full => Jitter::Full,
                TimeJitter::Zero => Jitter::Zero,
                TimeJitter::Off => Jitter::Off,
            },
            absolute: vhost.atc,
            auto_absolute: vhost.atc_auto,
            gop_cache: vhost.gop_cache,
            max_gop_frames: match vhost.gop_cache_max_frames {
                0 => u64::MAX,
                frames => u64::from(frames),
            },
            queue_ms: vhost.queue_length_ms,
            chunk_size: vhost.chunk_size,
            version: self.version,
        })
    }

    /// Whose place a newcomer takes, if it may; `None` when the stream's name is free.
    fn former(
        &self,
        hub: &Hub,
        connection: ConnectionId,
        key: &StreamKey,
        params: u64,
    ) -> Result<Option<(Publish, &'static str)>, Refusal> {
        let Some(current) = self.sources.find(key).and_then(|source| source.publish) else { return Ok(None) };
        let why = may_take_over(hub, key, connection, params, current)?;
        Ok(Some((current, why)))
    }

    /// The end of a publish, for all that read the stream.
    fn end_publish(&mut self, publisher: Publisher) -> Option<StreamKey> {
        let Sent { stream_id, .. } = self.publishes.remove(&publisher)?;
        let source = self.sources.get_mut(stream_id)?;
        let (packets, bytes) = source.figures.of_publish();
        tracing::info!(
            cid = source.cid(),
            "unpublish stream={}, {packets} packets, {bytes} bytes",
            source.key
        );
        source.end();
        source.tell_live(&self.control.board);
        source.idle_since_ms = None;
        let (stream, key) = (source.info(), source.key.clone());
        // What it sent last goes out before its end is told.
        for reader in source.readers.iter() {
            self.readers.advanced(reader, stream_id);
        }
        self.readers.wake();
        self.readers.tell_all(&SourceToReader::Stream(stream));
        self.keep(stream_id);
        Some(key)
    }

    /// No descriptors are left: said now and then.
    fn say_short(&mut self, cid: u64, key: &StreamKey, now_ms: u64) {
        if now_ms.saturating_sub(self.short_ms) >= SHORT_MS {
            self.short_ms = now_ms;
            tracing::error!(cid, "{key} can't be published: no descriptors are left; raise `ulimit -n`");
        }
    }
}

impl Host for BackSource {
    fn publish(&mut self, hub: &Hub, who: Asker, key: &StreamKey, request: &PublishRequest) -> Verdict {
        if !self.sources.owns(key) {
            // A second publish on a connection that already lives here.
            let why = "Streams of different back-sources can't be published on one connection";
            return Verdict::reject(Reason::OtherBackSource, why);
        }
        // The stream needs more descriptors, here and elsewhere.
        if hub.connection(who.connection).is_some_and(ipc::in_reserve) {
            self.say_short(who.decision.connection, key, hub.now_ms());
            let why = "The server has no descriptors left for another stream";
            return Verdict::reject(Reason::NoDescriptors, why);
        }
        match self.former(hub, who.connection, key, hash_of(&request.params)) {
            Ok(_) => Verdict::Accept,
            Err(refusal) => Verdict::Reject(refusal),
        }
    }

    fn begin(
        &mut self,
        hub: &Hub,
        connection: ConnectionId,
        key: &StreamKey,
        request: &PublishRequest,
    ) -> Result<Option<ConnectionId>, Refusal> {
        let rules = self.rules(&key.vhost);
        let rules = rules.ok_or_else(|| Refusal::new(Reason::VhostGone, Reason::VhostGone.sentence()))?;
        let cid = hub.connection(connection).map_or(0, endpoint::Connection::id);
        let params = hash_of(&request.params);
        let former = self.former(hub, connection, key, params)?;
        let (stream_id, is_new) = self.sources.enter(key, rules, &self.config).map_err(|error| {
            Refusal::new(Reason::NoMemory, format!("The server has no memory for the stream: {error}"))
        })?;
        if let Some((former, why)) = former {
            tracing::info!(cid, "stream {key} is taken over from connection {}: {why}", former.cid);
            self.end_publish(former.publisher);
        }
        let publisher = Publisher::Encoder(connection, request.msid);
        let publish = Publish { publisher, cid, since_ms: hub.now_ms(), params };
        if let Some(source) = self.sources.get_mut(stream_id) {
            if is_new {
                source.claim_tally(&self.control.board);
            }
            source.begin(publish, rules);
            source.tell_live(&self.control.board);
            let renewed = source.follow_chunk_size();
            tracing::info!(cid, "publish stream={key}, id={stream_id}");
            self.readers.tell_all(&SourceToReader::Stream(source.info()));
            if renewed {
                self.renew(stream_id);
            }
        }
        self.publishes.insert(publisher, Sent { stream_id, clock: WireClock::default() });
        self.keep(stream_id);
        self.renewed.push(stream_id);
        Ok(former.and_then(|(former, _)| former.publisher.connection()))
    }

    fn hand_over(&mut self, key: &StreamKey, _: OwnedFd, _: ConnectionSnapshot) {
        tracing::error!("a publisher of {key} was to be handed on by a back-source: it is lost");
    }

    fn media(&mut self, connection: ConnectionId, msid: u32, kind: Kind, wire_ms: u32, payload: Bytes) {
        let Some(sent) = self.publishes.get_mut(&Publisher::Encoder(connection, msid)) else { return };
        let stream_id = sent.stream_id;
        let packet = Packet::new(kind, sent.clock.read(wire_ms), payload);
        if packet.is_frame() {
            sent.clock.follow(packet.dts_ms);
        }
        let bounds = self.sources.bounds(&self.config);
        let Some(source) = self.sources.get_mut(stream_id) else { return };
        reactor::crash_point("before-ring");
        let put = source.put(&packet, bounds, &self.amf);
        reactor::crash_point("after-ring");
        if let Some(tally) = source.figures.tally {
            self.control.board.tally_received(tally, source.figures.bytes, source.figures.frames);
        }
        match put {
            Put::Nothing => return,
            Put::InRing => {}
            Put::InNewRing => self.renew(stream_id),
        }
        if self.advanced.last() != Some(&stream_id) {
            self.advanced.push(stream_id);
        }
    }

    fn unpublish(&mut self, connection: ConnectionId, msid: u32) -> Option<StreamKey> {
        self.end_publish(Publisher::Encoder(connection, msid))
    }

    fn wanted(
        &mut self,
        audience: AudienceId,
        key: &StreamKey,
        request: ViewerRequest,
    ) -> Option<(RingReader, Wakes)> {
        if !self.sources.owns(key) {
            self.links.watch_for(audience, key, request);
            return None;
        }
        let Some(source) = self.sources.find(key) else {
            self.demand.want(Wanter::Here, key.clone(), request, reactor::now_ms());
            return None;
        };
        Some((self.ring_here(source)?, Wakes::EachTurn))
    }

    fn unwanted(&mut self, key: &StreamKey) {
        self.demand.unwant(Wanter::Here, key);
        self.links.unwatch(key);
    }

    fn hold(&mut self, key: &StreamKey, lag_ms: u64) {
        match self.sources.find_mut(key) {
            Some(source) => source.ring.hold(lag_ms, reactor::now_ms()),
            None => self.links.hold(key, lag_ms),
        }
    }

    fn pace(&mut self, key: &StreamKey, ms: u32) {
        self.links.pace(key, ms);
    }

    fn closed(&mut self, _: ConnectionId) {}
}

/// Whether a newcomer may replace who publishes a stream, and why or why not.
///
/// An encoder whose network changed comes again while its old connection hangs, and would be refused until that is
/// given up (`normal_timeout`, or the kernel's 30 s). By default it may take its own place: it has the address and the
/// parameters (the key) of who was there, and that one has been silent for longer than any living encoder is. Two
/// encoders that both send never push each other out that way.
fn may_take_over(
    hub: &Hub,
    key: &StreamKey,
    connection: ConnectionId,
    params: u64,
    current: Publish,
) -> Result<&'static str, Refusal> {
    let takeover = hub.vhost(&key.vhost).map(|vhost| vhost.publish_takeover).unwrap_or_default();
    let peer = |id| hub.connection(id).map(|connection| connection.peer().ip().to_canonical());
    let theirs = current.publisher.connection();
    let same = params == current.params && peer(connection) == theirs.and_then(peer);
    let heard_ms = theirs.and_then(|id| hub.connection(id)).map(endpoint::Connection::heard_ms);
    let silent_ms = heard_ms.map_or(0, |heard_ms| hub.now_ms().saturating_sub(heard_ms));
    let others = theirs.is_some_and(|id| id != connection);
    match takeover {
        PublishTakeover::On if others => Ok("publish_takeover is on"),
        PublishTakeover::Same if others && same && silent_ms >= SILENT_MS => {
            Ok("the same client comes again, and its old connection is silent")
        }
        _ => Err(Refusal::new(
            Reason::InUse,
            format!(
                "Stream {} is published already (connection {}, heard {}.{:03} s ago); publish_takeover on lets a \
                 newcomer replace it",
                key.stream,
                current.cid,
                silent_ms / 1000,
                silent_ms % 1000
            ),
        )),
    }
}

/// A number that stands for parameters, in whatever order.
fn hash_of(params: &[(String, String)]) -> u64 {
    let mut sorted: Vec<&(String, String)> = params.iter().collect();
    sorted.sort();
    let mut hasher = std::hash::DefaultHasher::new();
    sorted.hash(&mut hasher);
    hasher.finish()
}
