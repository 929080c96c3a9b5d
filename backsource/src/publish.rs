//! Publishers: who may, where their packets go, and what their coming and going means to others.

use std::hash::{Hash, Hasher};

use bytes::Bytes;
use conf::vhost::{PublishTakeover, TimeJitter};
use endpoint::{AudienceId, ConnectionId, End, Host, Hub};
use ipc::SourceToReader;
use media::timeline::Jitter;
use media::{Kind, StreamKey};
use rtmp::PublishRequest;

use crate::process::{BackSource, info};
use crate::source::{Publisher, Put, Rules, Source};

/// Least time between two lines about descriptors that are missing, ms.
const SHORT_MS: u64 = 5_000;
/// A publisher that was not heard for so long may be replaced by the same client, ms.
const SILENT_MS: u64 = 2_000;

impl BackSource {
    /// What the vhost says of its streams; `None` when it is not there.
    pub(crate) fn rules(&self, hub: &Hub, vhost: &str) -> Option<Rules> {
        let vhost = hub.vhost(vhost)?;
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
            version: hub.version,
        })
    }

    /// The stream of that name, made when it is not there.
    fn source_for(&mut self, hub: &Hub, key: &StreamKey, rules: Rules) -> Result<u32, String> {
        if let Some(stream_id) = self.by_key.get(key) {
            return Ok(*stream_id);
        }
        let stream_id = self.next_stream_id;
        let source = Source::create(stream_id, key.clone(), rules, self.bounds(hub))
            .map_err(|error| format!("The server has no memory for the stream: {error}"))?;
        self.next_stream_id = self.next_stream_id.wrapping_add(self.shards);
        self.by_key.insert(key.clone(), stream_id);
        let mut source = source;
        source.count(hub.board());
        self.sources.insert(stream_id, source);
        self.recount();
        Ok(stream_id)
    }
}

impl Host for BackSource {
    fn publish(&mut self, hub: &mut Hub, connection: ConnectionId, key: StreamKey, request: PublishRequest) {
        let Some(cid) = hub.connection(connection).map(endpoint::Connection::id) else { return };
        let msid = request.msid;
        let owner = key.shard(self.shards);
        if owner != self.control.start.number {
            // A second publish on a connection that already lives here.
            let why = "Streams of different back-sources can't be published on one connection";
            hub.reject_publish(self, connection, msid, why);
            return;
        }
        // The stream needs more descriptors, here and elsewhere.
        if hub.connection(connection).is_some_and(ipc::in_reserve) {
            let why = "The server has no descriptors left for another stream";
            if hub.now_ms().saturating_sub(self.short_ms) >= SHORT_MS {
                self.short_ms = hub.now_ms();
                tracing::error!(cid, "{key} can't be published: no descriptors are left; raise `ulimit -n`");
            }
            hub.reject_publish(self, connection, msid, why);
            return;
        }
        let Some(rules) = self.rules(hub, &key.vhost) else {
            hub.reject_publish(self, connection, msid, "The vhost is gone");
            return;
        };
        let params = hash_of(&request.params);
        let current =
            self.by_key.get(&key).and_then(|id| self.sources.get(id)).and_then(|source| source.publisher);
        if let Some(current) = current {
            match may_take_over(hub, &key, connection, params, current) {
                Ok(why) => {
                    tracing::info!(cid, "stream {key} is taken over from connection {}: {why}", current.cid);
                    hub.close(self, current.connection, End::TakenOver);
                }
                Err(why) => {
                    hub.reject_publish(self, connection, msid, &why);
                    return;
                }
            }
        }
        let stream_id = match self.source_for(hub, &key, rules) {
            Ok(stream_id) => stream_id,
            Err(why) => {
                hub.reject_publish(self, connection, msid, &why);
                return;
            }
        };
        if let Some(source) = self.sources.get_mut(&stream_id) {
            source.begin(Publisher { connection, msid, cid, since_ms: hub.now_ms(), params }, rules);
            source.tell_live(hub.board());
            let stream = info(source);
            let renewed = source.follow_chunk_size();
            tracing::info!(cid, "publish stream={key}, id={stream_id}");
            self.readers.tell_all(&SourceToReader::Stream(stream));
            if renewed {
                self.renew(hub, stream_id);
            }
        }
        self.publishes.insert((connection, msid), stream_id);
        self.keep(stream_id);
        self.bring_here(hub, stream_id);
        hub.accept_publish(self, connection, msid);
    }

    fn media(
        &mut self,
        hub: &mut Hub,
        connection: ConnectionId,
        msid: u32,
        kind: Kind,
        wire_ms: u32,
        payload: Bytes,
    ) {
        let Some(stream_id) = self.publishes.get(&(connection, msid)).copied() else { return };
        let bounds = self.bounds(hub);
        let Some(source) = self.sources.get_mut(&stream_id) else { return };
        reactor::crash_point("before-ring");
        let put = source.put(kind, wire_ms, &payload, bounds, &self.amf);
        reactor::crash_point("after-ring");
        if let Some(tally) = source.tally {
            hub.board().tally_received(tally, source.bytes, source.frames);
        }
        match put {
            Put::Nothing => return,
            Put::InRing => {}
            Put::InNewRing => self.renew(hub, stream_id),
        }
        if self.advanced.last() != Some(&stream_id) {
            self.advanced.push(stream_id);
        }
    }

    fn unpublish(&mut self, hub: &mut Hub, connection: ConnectionId, msid: u32) {
        let Some(stream_id) = self.publishes.remove(&(connection, msid)) else { return };
        let Some(source) = self.sources.get_mut(&stream_id) else { return };
        let cid = source.publisher.map_or(0, |publisher| publisher.cid);
        tracing::info!(
            cid,
            "unpublish stream={}, {} packets, {} bytes",
            source.key,
            source.frames - source.begun.0,
            source.bytes - source.begun.1
        );
        source.end();
        source.tell_live(hub.board());
        source.idle_since_ms = None;
        let (stream, key) = (info(source), source.key.clone());
        // What it sent last goes out before its end is told.
        for reader in &source.readers {
            self.readers.advanced(reader.reader, stream_id);
        }
        self.readers.wake();
        self.readers.tell_all(&SourceToReader::Stream(stream));
        self.keep(stream_id);
        if let Some(audience) = hub.audience(&key) {
            hub.rest(self, audience);
        }
    }

    fn wanted(&mut self, hub: &mut Hub, audience: AudienceId, key: &StreamKey) {
        if key.shard(self.shards) != self.control.start.number {
            self.links.watch(audience, key);
        } else if let Some(stream_id) = self.by_key.get(key).copied() {
            self.bring_here(hub, stream_id);
        }
    }

    fn unwanted(&mut self, _: &mut Hub, _: AudienceId, key: &StreamKey) {
        self.links.unwatch(key);
    }

    fn hold(&mut self, hub: &mut Hub, key: &StreamKey, lag_ms: u64) {
        match self.by_key.get(key).and_then(|id| self.sources.get_mut(id)) {
            Some(source) => source.hold(lag_ms, hub.now_ms()),
            None => self.links.hold(key, lag_ms),
        }
    }

    fn pace(&mut self, _: &mut Hub, key: &StreamKey, ms: u32) -> bool {
        if key.shard(self.shards) == self.control.start.number {
            return false;
        }
        self.links.pace(key, ms);
        true
    }

    fn closed(&mut self, _: &mut Hub, _: ConnectionId) {}
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
    current: Publisher,
) -> Result<&'static str, String> {
    let takeover = hub.vhost(&key.vhost).map(|vhost| vhost.publish_takeover).unwrap_or_default();
    let peer = |id| hub.connection(id).map(|connection| connection.peer().ip().to_canonical());
    let same = params == current.params && peer(connection) == peer(current.connection);
    let silent_ms =
        hub.connection(current.connection).map_or(0, |it| hub.now_ms().saturating_sub(it.heard_ms()));
    let others = current.connection != connection;
    match takeover {
        PublishTakeover::On if others => Ok("publish_takeover is on"),
        PublishTakeover::Same if others && same && silent_ms >= SILENT_MS => {
            Ok("the same client comes again, and its old connection is silent")
        }
        _ => Err(format!(
            "Stream {} is published already (connection {}, heard {}.{:03} s ago); publish_takeover on lets a newcomer \
             replace it",
            key.stream,
            current.cid,
            silent_ms / 1000,
            silent_ms % 1000
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
