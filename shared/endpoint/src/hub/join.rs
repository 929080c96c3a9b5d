//! Playing: joining and leaving audiences, and sending them what is new.

use std::os::fd::RawFd;

use conf::vhost::MwLatency;
use fanout::{Cursor, PeerRequest, QueueLimits, Reason};
use media::StreamKey;
use mediaring::{Counter, RingReader, Scoreboard, Tally};
use rtmp::{PlayReject, PlayRequest};

use super::{Host, Hub, MAX_GATHER_MS};
use crate::audience::{Audience, AudienceId};
use crate::connection::Playing;
use crate::end::End;
use crate::viewer::Viewer;

/// Sends that are counted together: should the process be killed meanwhile, what they sent is not counted.
const COUNTED_TOGETHER: usize = 16;

/// Counts what was sent to viewers of a stream.
pub(super) fn count_sent(board: &Scoreboard, slot: usize, tally: Option<Tally>, bytes: u64) {
    if bytes > 0 {
        board.add(slot, Counter::BytesOut, i64::try_from(bytes).unwrap_or(0));
        if let Some(tally) = tally {
            board.tally_sent(tally, bytes);
        }
    }
}

impl Hub {
    pub(super) fn play<H: Host>(&mut self, host: &mut H, key: usize, request: &PlayRequest) {
        let name = match self.asked(key, &request.name, &request.params) {
            Ok(name) => name,
            Err(why) => {
                if let Some(connection) = self.connections.get_mut(key) {
                    tracing::warn!(cid = connection.id, "play refused: {why}");
                    connection.session.reject_play(request.msid, PlayReject::Failed, &why);
                }
                return;
            }
        };
        self.enter(key, &name.vhost);
        self.establish(key);
        let now_ms = self.now_ms();
        let Some(connection) = self.connections.get_mut(key) else { return };
        tracing::info!(cid = connection.id, "play stream={name}");
        let ring = self
            .audience(&name)
            .and_then(|id| self.audiences.get(id.0)?.ring.as_ref())
            .map(RingReader::chunk_size);
        let Some(connection) = self.connections.get(key) else { return };
        let chunk_size = ring.unwrap_or_else(|| self.chunk_size_of(connection));
        let Some(connection) = self.connections.get_mut(key) else { return };
        if connection.playing.is_empty() {
            connection.session.set_out_chunk_size(chunk_size);
        }
        if let Err(error) = connection.session.accept_play(now_ms, request.msid) {
            self.end(host, key, End::Protocol(error));
            return;
        }
        self.drain_transmits(key);
        let (msid, duration) = (request.msid, request.duration_ms);
        self.join(host, key, name, |fd, key, now_ms| {
            let cursor = Cursor::new(msid, 0, reactor::now_ns()).for_duration(duration);
            Viewer::new(cursor, fd, key, now_ms)
        });
    }

    /// Makes a connection a viewer of a stream.
    pub(super) fn join<H: Host>(
        &mut self,
        host: &mut H,
        key: usize,
        name: StreamKey,
        make: impl FnOnce(RawFd, usize, u64) -> Viewer,
    ) {
        let now_ms = self.now_ms();
        let (id, is_new) = match self.by_key.get(&name) {
            Some(id) => (*id, false),
            None => {
                let id = AudienceId(self.audiences.insert(Audience::new(name.clone())));
                self.by_key.insert(name.clone(), id);
                self.configure(id);
                (id, true)
            }
        };
        let (Some(audience), Some(connection)) =
            (self.audiences.get_mut(id.0), self.connections.get_mut(key))
        else {
            return;
        };
        let mut viewer = make(connection.fd(), key, now_ms);
        viewer.cursor = viewer.cursor.attached(u8::try_from(connection.playing.len()).unwrap_or(u8::MAX));
        viewer.queued();
        let msid = viewer.cursor.msid();
        let viewer_key = audience.viewers.insert(viewer);
        connection.playing.push(Playing { msid, audience: id, viewer: viewer_key });
        if connection.playing.len() > 1 {
            // Two streams on one connection: packets of both are put together one by one.
            for play in connection.playing.clone() {
                if let Some(audience) = self.audiences.get_mut(play.audience.0) {
                    audience.finish_packet(play.viewer, connection);
                    if let Some(viewer) = audience.viewers.get_mut(play.viewer) {
                        viewer.cursor.own(Reason::SeveralStreams);
                        viewer.queued();
                    }
                }
            }
        }
        if is_new {
            host.wanted(self, id, &name);
        }
    }

    /// What a vhost's block says of its viewers.
    pub(super) fn configure(&mut self, id: AudienceId) {
        let Some(audience) = self.audiences.get(id.0) else { return };
        let Some(vhost) = self.vhost(&audience.key.vhost) else { return };
        let (gop_cache, queue_ms) =
            (vhost.gop_cache, i64::try_from(vhost.queue_length_ms).unwrap_or(i64::MAX));
        let latency = if vhost.min_latency { MwLatency::Fixed(0) } else { vhost.mw_latency };
        let queue = QueueLimits { ms: queue_ms, bytes: self.config.limits.queue_bytes };
        if let Some(audience) = self.audiences.get_mut(id.0) {
            audience.gop_cache = gop_cache;
            audience.queue = queue;
            audience.latency = latency;
        }
    }

    pub(super) fn stop_play<H: Host>(&mut self, host: &mut H, key: usize, msid: u32) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let Some(at) = connection.playing.iter().position(|play| play.msid == msid) else { return };
        let play = connection.playing.remove(at);
        let Some(audience) = self.audiences.get_mut(play.audience.0) else { return };
        audience.finish_packet(play.viewer, connection);
        let Some(viewer) = audience.viewers.try_remove(play.viewer) else { return };
        connection.frames += audience.frames(&viewer);
        connection.dropped += viewer.cursor.dropped();
        connection.bytes_out += viewer.sent;
        let name = audience.key.clone();
        let empty = audience.viewers.is_empty();
        if empty {
            self.audiences.remove(play.audience.0);
            self.by_key.remove(&name);
            host.unwanted(self, play.audience, &name);
        }
    }

    pub(super) fn peer_request<H: Host>(
        &mut self,
        host: &mut H,
        key: usize,
        msid: u32,
        request: PeerRequest,
    ) {
        let Some(connection) = self.connections.get(key) else { return };
        let Some(play) = connection.playing.iter().find(|play| play.msid == msid).cloned() else { return };
        let Some(audience) = self.audiences.get_mut(play.audience.0) else { return };
        if let Some(viewer) = audience.viewers.get_mut(play.viewer) {
            viewer.cursor.request(request, &audience.window);
            viewer.progress_ms = reactor::now_ms();
        }
        if request != PeerRequest::Pause(true) {
            self.serve(host, play.audience, play.viewer, key);
        }
    }

    /// Reads from a ring from now on, for the viewers of a stream.
    pub fn set_ring<H: Host>(&mut self, host: &mut H, id: AudienceId, ring: RingReader) {
        let tally = self.board.tally(ring.stream_id());
        let Some(audience) = self.audiences.get_mut(id.0) else { return };
        audience.tally = tally;
        audience.set_ring(ring);
        audience.flushed = audience.window.head_position();
        audience.pace_ms = None;
        self.adapt_pace(host, id);
        self.fan_out(host, id);
    }

    /// Tells the sender of wake-ups how long packets are gathered, when that has changed.
    pub(super) fn adapt_pace<H: Host>(&mut self, host: &mut H, id: AudienceId) {
        let Some(audience) = self.audiences.get(id.0).filter(|audience| audience.ring.is_some()) else {
            return;
        };
        let gather = self.gather_ms(audience.latency);
        if audience.pace_ms == Some(gather) {
            return;
        }
        let key = audience.key.clone();
        let paced = host.pace(self, &key, u32::try_from(gather).unwrap_or(u32::MAX));
        if let Some(audience) = self.audiences.get_mut(id.0) {
            audience.pace_ms = paced.then_some(gather);
        }
    }

    /// How long packets of a stream are gathered now, ms.
    fn gather_ms(&self, latency: MwLatency) -> u64 {
        match latency {
            MwLatency::Fixed(ms) => ms.min(MAX_GATHER_MS * 10),
            MwLatency::Auto => self.auto_gather_ms,
        }
    }

    /// The writer of a stream has added packets: send them, or gather them.
    pub fn advanced<H: Host>(&mut self, host: &mut H, id: AudienceId) {
        let now_ms = self.now_ms();
        let Some(audience) = self.audiences.get_mut(id.0) else { return };
        audience.refresh();
        // A newcomer may have looked at the ring before; the others have not got it yet.
        if audience.window.head_position() == audience.flushed {
            return;
        }
        let Some(audience) = self.audiences.get(id.0) else { return };
        let gather = self.gather_ms(audience.latency);
        let capacity = audience.ring.as_ref().map_or(0, |ring| ring.shape().data_bytes);
        if audience.pace_ms.is_some() {
            // Its wake-ups are gathered already.
            self.fan_out(host, id);
            self.watch_laggards(host, id);
            return;
        }
        // Gathering must not bring anybody near the writer's tail.
        if gather == 0 || audience.window.head_position() - audience.flushed > capacity / 4 {
            self.fan_out(host, id);
        } else if audience.due_ms.is_none() {
            if let Some(audience) = self.audiences.get_mut(id.0) {
                audience.due_ms = Some(now_ms + gather);
            }
            self.due.add(now_ms + gather, id.0);
        }
        self.watch_laggards(host, id);
    }

    /// Nothing more comes for now (the publisher has gone): send what was gathered.
    pub fn rest<H: Host>(&mut self, host: &mut H, id: AudienceId) {
        let now_ms = self.now_ms();
        if let Some(audience) = self.audiences.get_mut(id.0) {
            audience.refresh();
            audience.has_publisher = false;
            audience.no_publisher_since_ms = now_ms;
            self.fan_out(host, id);
        }
    }

    pub(super) fn fan_out<H: Host>(&mut self, host: &mut H, id: AudienceId) {
        let now_ms = self.now_ms();
        let Some(audience) = self.audiences.get_mut(id.0) else { return };
        audience.refresh();
        audience.due_ms = None;
        audience.flushed = audience.window.head_position();
        let mut key = 0;
        let mut sent = 0;
        let mut ends = Vec::new();
        let mut slow = Vec::new();
        // Viewers may leave while this goes on, so by key and not by iterator.
        let bound = audience.viewers.capacity();
        while key < bound {
            let Some(viewer) = audience.viewers.get(key) else {
                key += 1;
                continue;
            };
            let (connection, before) = (viewer.connection, viewer.sent);
            match audience.serve_fast(key, now_ms) {
                Ok(true) => {}
                Ok(false) => slow.push((key, connection)),
                Err(end) => ends.push((connection, end)),
            }
            sent += audience.viewers.get(key).map_or(0, |viewer| viewer.sent - before);
            key += 1;
            if key.is_multiple_of(COUNTED_TOGETHER) {
                count_sent(&self.board, self.board_slot, audience.tally, std::mem::take(&mut sent));
            }
        }
        count_sent(&self.board, self.board_slot, audience.tally, sent);
        for (viewer, connection) in slow {
            self.serve(host, id, viewer, connection);
        }
        for (connection, end) in ends {
            self.end(host, connection, end);
        }
    }

    /// Those who can't take their packets are moved on before the ring laps them.
    fn watch_laggards<H: Host>(&mut self, host: &mut H, id: AudienceId) {
        let Some(audience) = self.audiences.get_mut(id.0) else { return };
        let laggards: Vec<(usize, usize)> = audience
            .viewers
            .iter()
            .filter(|(_, viewer)| viewer.is_blocked() || viewer.cursor.is_paused())
            .map(|(key, viewer)| (key, viewer.connection))
            .collect();
        let mut lag = None;
        for (viewer, key) in laggards {
            if let Some(connection) = self.connections.get_mut(key) {
                lag = lag.max(audience.watch(viewer, connection, false, self.now_ms));
            }
        }
        if let Some(lag_ms) = lag {
            let name = audience.key.clone();
            self.ask_hold(host, &name, lag_ms);
        }
    }
}
