//! Connections and the audiences they are in: the way of packets from rings to sockets.
//!
//! Nothing here knows a host: what a connection came to is returned ([`Over`]), and the hub ends it.

mod fan_out;
mod join;

use std::sync::Arc;

use conf::Config;
use mediaring::Scoreboard;
use rtmp::Output;

use crate::audience::{Audience, AudienceId, Served};
use crate::audiences::Audiences;
use crate::connections::Connections;
use crate::counts::Counts;
use crate::end::End;
use crate::gathering::Gathering;
use crate::overview::Overview;

pub(crate) use fan_out::Progress;

/// Connections, audiences, and what both are counted by.
#[derive(Debug)]
pub(crate) struct Delivery {
    pub(crate) connections: Connections,
    pub(crate) audiences: Audiences,
    pub(crate) counts: Counts,
    pub(crate) gathering: Gathering,
    pub(crate) config: Arc<Config>,
    /// Time of this turn, monotonic ms.
    pub(crate) now_ms: u64,
}

/// What a connection came to while it was served.
#[derive(Debug)]
pub(crate) enum Over {
    /// It ends.
    Ended(End),
    /// The time that it asked for is over on this message stream.
    Finished(u32),
}

impl Delivery {
    pub(crate) fn new(config: Arc<Config>, board: Arc<Scoreboard>, board_slot: usize) -> Self {
        Self {
            connections: Connections::default(),
            audiences: Audiences::default(),
            counts: Counts::new(board, board_slot),
            gathering: Gathering::default(),
            config,
            now_ms: reactor::now_ms(),
        }
    }

    /// All clients and viewers, to be looked at.
    pub(crate) fn overview(&self) -> Overview<'_> {
        Overview { connections: &self.connections, audiences: &self.audiences, now_ms: self.now_ms }
    }

    /// Brings what the session has to send into the outbox, ahead of what else will go there; events wait for the pump.
    pub(crate) fn drain_transmits(&mut self, key: usize) {
        while let Some(connection) = self.connections.get_mut(key) {
            match connection.session.poll_output() {
                Some(Output::Transmit(bytes)) => self.queue(key, &bytes),
                Some(other) => connection.deferred.push_back(other),
                None => break,
            }
        }
    }

    /// Puts bytes into a connection's outbox, behind whole packets only.
    pub(crate) fn queue(&mut self, key: usize, bytes: &[u8]) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let playing = connection.playing.clone();
        for play in &playing {
            if let Some(audience) = self.audiences.get_mut(play.audience) {
                audience.finish_packet(play.viewer, connection);
                if let Some(viewer) = audience.viewers.get_mut(play.viewer) {
                    viewer.queued();
                }
            }
        }
        connection.outbox.tail().extend_from_slice(bytes);
    }

    /// Sends what waits, then what the connection's viewers may get.
    pub(crate) fn flush(&mut self, key: usize) -> Option<Over> {
        let connection = self.connections.get_mut(key)?;
        // What waits for one that plays is of its first stream, nearly all of it.
        let first = connection.playing.first().cloned();
        let mut audience = first.as_ref().and_then(|play| self.audiences.get_mut(play.audience));
        let tally = audience.as_ref().and_then(|audience| audience.tally);
        let mut viewer = first
            .as_ref()
            .zip(audience.as_mut())
            .and_then(|(play, audience)| audience.viewers.get_mut(play.viewer));
        let before = connection.traffic.bytes_out;
        let viewer_before = viewer.as_ref().map_or(0, |viewer| viewer.sent);
        let flushed = match &mut viewer {
            Some(viewer) => viewer.flush(connection, self.now_ms),
            None => connection.flush(),
        };
        let to_viewer = viewer.map_or(0, |viewer| viewer.sent - viewer_before);
        self.counts.sent(None, connection.traffic.bytes_out - before);
        self.counts.sent(tally, to_viewer);
        match flushed {
            Ok(false) => {}
            Ok(true) => return None,
            Err(end) => return Some(Over::Ended(connection.life.closing.take().unwrap_or(end))),
        }
        if connection.life.closing.is_some() {
            connection.half_close();
            return None;
        }
        let playing = connection.playing.clone();
        playing.into_iter().find_map(|play| self.serve(play.audience, play.viewer, key))
    }

    /// Sends a viewer what its socket takes.
    pub(crate) fn serve(&mut self, audience: AudienceId, viewer: usize, key: usize) -> Option<Over> {
        let audience = self.audiences.get_mut(audience)?;
        let connection = self.connections.get_mut(key)?;
        let sent = |audience: &Audience, bytes_out: u64| {
            bytes_out + audience.viewers.get(viewer).map_or(0, |viewer| viewer.sent)
        };
        let before = sent(audience, connection.traffic.bytes_out);
        let served = audience.serve(viewer, connection, self.now_ms);
        let now = sent(audience, connection.traffic.bytes_out);
        self.counts.sent(audience.tally, now.saturating_sub(before));
        match served {
            Ok(Served::Done | Served::AwaitsTrack) => None,
            Ok(Served::Finished) => {
                Some(Over::Finished(audience.viewers.get(viewer).map_or(0, |viewer| viewer.cursor.msid())))
            }
            Err(end) => Some(Over::Ended(end)),
        }
    }

    /// Notes what connections received and sent, for their rates.
    pub(crate) fn mark_traffic(&mut self) {
        for (_, connection) in self.connections.iter_mut() {
            let viewers = connection.playing.iter().filter_map(|play| {
                self.audiences.get(play.audience)?.viewers.get(play.viewer).map(|viewer| viewer.sent)
            });
            let watched = viewers.sum();
            connection.traffic.mark(self.now_ms, watched);
        }
    }

    /// Publishers that send nothing, and connections that do not take the answers to their commands.
    pub(crate) fn silent(&self) -> Vec<(usize, End)> {
        let stalled_ms = self.config.limits.stalled_timeout_ms;
        let mut ends = Vec::new();
        for (key, connection) in self.connections.iter() {
            if connection.life.closing.is_some() {
                continue;
            }
            let heard = &connection.heard;
            if !connection.publishing.is_empty() {
                let vhost = connection.vhost();
                let vhost = self.config.vhosts.iter().find(|known| Some(known.name.as_str()) == vhost);
                let bound_ms = vhost.map_or(30_000, |vhost| match heard.had_media {
                    true => vhost.publish.normal_timeout_ms,
                    false => vhost.publish.firstpkt_timeout_ms,
                });
                if bound_ms > 0 && self.now_ms.saturating_sub(heard.last_media_ms) > bound_ms {
                    ends.push((key, End::PublishTimeout));
                }
            }
            // Command replies that nobody reads, outside of playing.
            if connection.playing.is_empty()
                && !connection.outbox.is_empty()
                && self.now_ms.saturating_sub(heard.last_input_ms) > stalled_ms
            {
                ends.push((key, End::Stalled));
            }
        }
        ends
    }
}
