//! Viewers come and go.

use std::os::fd::RawFd;

use conf::vhost::MwLatency;
use fanout::{PeerRequest, QueueLimits, Reason};
use media::StreamKey;

use super::{Delivery, Over};
use crate::audience::AudienceId;
use crate::connection::Playing;
use crate::snapshot::ConnectionSnapshot;
use crate::viewer::Viewer;

impl Delivery {
    /// Makes a connection a viewer of a stream. Returns the audience when it is a new one.
    pub(crate) fn join(
        &mut self,
        key: usize,
        name: &StreamKey,
        make: impl FnOnce(RawFd, usize, u64) -> Viewer,
    ) -> Option<AudienceId> {
        let (id, is_new) = self.audiences.enter(name);
        if is_new {
            self.configure(id);
        }
        let audience = self.audiences.get_mut(id)?;
        let connection = self.connections.get_mut(key)?;
        let mut viewer = make(connection.fd(), key, self.now_ms);
        viewer.cursor = viewer.cursor.attached(u8::try_from(connection.playing.len()).unwrap_or(u8::MAX));
        viewer.queued();
        let msid = viewer.cursor.msid();
        let viewer_key = audience.viewers.insert(viewer);
        connection.playing.push(Playing { msid, audience: id, viewer: viewer_key });
        if connection.playing.len() > 1 {
            // Two streams on one connection: packets of both are put together one by one.
            for play in connection.playing.clone() {
                if let Some(audience) = self.audiences.get_mut(play.audience) {
                    audience.finish_packet(play.viewer, connection);
                    if let Some(viewer) = audience.viewers.get_mut(play.viewer) {
                        viewer.cursor.own(Reason::SeveralStreams);
                        viewer.queued();
                    }
                }
            }
        }
        is_new.then_some(id)
    }

    /// What a vhost's block says of its viewers.
    pub(crate) fn configure(&mut self, id: AudienceId) {
        let Some(audience) = self.audiences.get_mut(id) else { return };
        let vhost = self.config.vhosts.iter().find(|vhost| vhost.name == audience.key.vhost);
        let Some(vhost) = vhost else { return };
        audience.gop_cache = vhost.gop_cache;
        audience.queue = QueueLimits {
            ms: i64::try_from(vhost.queue_length_ms).unwrap_or(i64::MAX),
            bytes: self.config.limits.queue_bytes,
        };
        audience.latency = if vhost.min_latency { MwLatency::Fixed(0) } else { vhost.mw_latency };
    }

    /// A connection plays no more on a message stream. Returns the stream's name when that was its last viewer.
    pub(crate) fn leave(&mut self, key: usize, msid: u32) -> Option<StreamKey> {
        let connection = self.connections.get_mut(key)?;
        let at = connection.playing.iter().position(|play| play.msid == msid)?;
        let play = connection.playing.remove(at);
        let audience = self.audiences.get_mut(play.audience)?;
        audience.finish_packet(play.viewer, connection);
        let viewer = audience.viewers.try_remove(play.viewer)?;
        connection.traffic.frames += audience.frames(&viewer);
        connection.traffic.dropped += viewer.cursor.dropped();
        connection.traffic.bytes_out += viewer.sent;
        self.audiences.forget_empty(play.audience)
    }

    /// A connection for another process, with what it plays. What it still has to get of a packet goes with it.
    pub(crate) fn snapshot(&mut self, key: usize) -> Option<ConnectionSnapshot> {
        let connection = self.connections.get_mut(key)?;
        let mut playing = Vec::new();
        for play in connection.playing.clone() {
            if let Some(audience) = self.audiences.get_mut(play.audience) {
                audience.finish_packet(play.viewer, connection);
                if let Some(viewer) = audience.viewers.get(play.viewer) {
                    playing.push((audience.key.clone(), viewer.into()));
                }
            }
        }
        Some(ConnectionSnapshot {
            id: connection.id,
            peer: connection.peer,
            accepted_ms: connection.life.accepted_ms,
            vhost: connection.vhost().map(str::to_owned),
            bytes: (connection.traffic.bytes_in, connection.traffic.bytes_out),
            session: connection.session.snapshot(),
            outbox: connection.outbox.waiting().to_vec(),
            playing,
            publishing: connection.publishing.clone(),
            decide_by_ms: None,
        })
    }

    /// A player pauses, or switches a track.
    pub(crate) fn peer_request(&mut self, key: usize, msid: u32, request: PeerRequest) -> Option<Over> {
        let connection = self.connections.get(key)?;
        let play = connection.playing.iter().find(|play| play.msid == msid).cloned()?;
        let audience = self.audiences.get_mut(play.audience)?;
        if let Some(viewer) = audience.viewers.get_mut(play.viewer) {
            viewer.cursor.request(request, &audience.window);
            viewer.progress_ms = reactor::now_ms();
        }
        if request == PeerRequest::Pause(true) {
            return None;
        }
        self.serve(play.audience, play.viewer, key)
    }
}
