//! New packets of a stream to all its viewers, at once or gathered; and viewers that can't follow.

use media::StreamKey;
use mediaring::RingReader;

use super::{Delivery, Over};
use crate::audience::{AudienceId, Wakes};
use crate::end::End;
use crate::viewer::Viewer;

/// Sends that are counted together: should the process be killed meanwhile, what they sent is not counted.
const COUNTED_TOGETHER: usize = 16;
/// Least time between two wishes for a ring that holds as much, ms.
const HOLD_PAUSE_MS: u64 = 100;
/// The drain rate of a slow viewer is looked at after so long, ms.
const DRAIN_MS: u64 = 10_000;

/// A wish for a ring that holds more: of which stream, and for so long, ms.
pub(crate) type Hold = (StreamKey, u64);

/// What serving an audience came to.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// Connections that are done with, by key.
    pub(crate) over: Vec<(usize, Over)>,
    /// What the ring should hold.
    pub(crate) hold: Option<Hold>,
}

/// What sending to all viewers of a stream came to.
#[derive(Debug, Default)]
struct Sends {
    over: Vec<(usize, Over)>,
    /// Somebody's socket is full, or it waits for something else: it may lag.
    may_lag: bool,
}

impl Delivery {
    /// Reads from a ring from now on, for the viewers of a stream.
    pub(crate) fn set_ring(&mut self, id: AudienceId, ring: RingReader, wakes: Wakes) {
        let tally = self.counts.board.tally(ring.stream_id());
        let Some(audience) = self.audiences.get_mut(id) else { return };
        audience.tally = tally;
        audience.set_ring(ring, wakes);
        audience.flushed = audience.window.head_position();
        audience.pace_ms = None;
    }

    /// The pace at which wake-ups should come, ms, when the sender of wake-ups gathers and has to be told.
    pub(crate) fn new_pace(&mut self, id: AudienceId) -> Option<(StreamKey, u32)> {
        let audience = self.audiences.get_mut(id)?;
        let gather = self.gathering.ms(audience.latency);
        if audience.ring.is_none() || audience.wakes == Wakes::EachTurn || audience.pace_ms == Some(gather) {
            return None;
        }
        audience.pace_ms = Some(gather);
        Some((audience.key.clone(), u32::try_from(gather).unwrap_or(u32::MAX)))
    }

    /// The writer of a stream has added packets: send them, or gather them.
    pub(crate) fn advanced(&mut self, id: AudienceId) -> Progress {
        let Some(audience) = self.audiences.get_mut(id) else { return Progress::default() };
        audience.refresh();
        // A newcomer may have looked at the ring before; the others have not got it yet.
        let waiting = audience.window.head_position() - audience.flushed;
        if waiting == 0 {
            return Progress::default();
        }
        let gather = self.gathering.ms(audience.latency);
        let capacity = audience.ring.as_ref().map_or(0, |ring| ring.shape().data_bytes);
        let is_gathered = audience.pace_ms.is_some();
        // Gathering must not bring anybody near the writer's tail.
        if is_gathered || gather == 0 || waiting > capacity / 4 {
            let Sends { over, may_lag } = self.send_all(id);
            // Mostly nobody does, and then they are not looked through once more.
            return Progress { over, hold: if may_lag { self.watch_laggards(id) } else { None } };
        }
        if audience.due_ms.is_none() {
            self.audiences.set_due(id, self.now_ms + gather);
        }
        Progress { over: Vec::new(), hold: self.watch_laggards(id) }
    }

    /// Nothing more comes for now (the publisher has gone): send what was gathered.
    pub(crate) fn rest(&mut self, id: AudienceId) -> Vec<(usize, Over)> {
        let Some(audience) = self.audiences.get_mut(id) else { return Vec::new() };
        audience.refresh();
        audience.has_publisher = false;
        audience.no_publisher_since_ms = self.now_ms;
        self.fan_out(id)
    }

    /// Sends all viewers of a stream what their sockets take.
    pub(crate) fn fan_out(&mut self, id: AudienceId) -> Vec<(usize, Over)> {
        self.send_all(id).over
    }

    fn send_all(&mut self, id: AudienceId) -> Sends {
        let now_ms = self.now_ms;
        let Some(audience) = self.audiences.get_mut(id) else { return Sends::default() };
        audience.refresh();
        audience.due_ms = None;
        audience.flushed = audience.window.head_position();
        let mut key = 0;
        let mut sent = 0;
        let (mut over, mut slow, mut may_lag) = (Vec::new(), Vec::new(), false);
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
                Err(end) => over.push((connection, Over::Ended(end))),
            }
            if let Some(viewer) = audience.viewers.get(key) {
                sent += viewer.sent - before;
                may_lag |= viewer.is_blocked();
            }
            key += 1;
            if key.is_multiple_of(COUNTED_TOGETHER) {
                self.counts.sent(audience.tally, std::mem::take(&mut sent));
            }
        }
        self.counts.sent(audience.tally, sent);
        may_lag |= !slow.is_empty();
        for (viewer, connection) in slow {
            over.extend(self.serve(id, viewer, connection).map(|came| (connection, came)));
        }
        Sends { over, may_lag }
    }

    /// Those who can't take their packets are moved on before the ring laps them.
    fn watch_laggards(&mut self, id: AudienceId) -> Option<Hold> {
        let now_ms = self.now_ms;
        let audience = self.audiences.get_mut(id)?;
        let mut lag_ms = None;
        for (viewer, key, _) in audience.laggards() {
            if let Some(connection) = self.connections.get_mut(key) {
                lag_ms = lag_ms.max(audience.watch(viewer, connection, false, now_ms));
            }
        }
        audience.wish_hold(lag_ms?, now_ms, HOLD_PAUSE_MS)
    }

    /// What is looked at now and then: viewers without a publisher, viewers that take nothing or too little.
    pub(crate) fn watch_viewers(&mut self) -> (Vec<(usize, End)>, Vec<Hold>) {
        let limits = &self.config.limits;
        let (now_ms, stalled_ms) = (self.now_ms, limits.stalled_timeout_ms);
        let drain = u64::from(limits.min_drain_rate) * DRAIN_MS / 1000;
        let (mut ends, mut holds) = (Vec::new(), Vec::new());
        for audience in self.audiences.iter_mut() {
            let idle_ms = match self.config.vhost(&audience.key.vhost) {
                conf::Lookup::Found(vhost) if audience.awaits_publisher() => vhost.play_idle_timeout_ms,
                _ => 0,
            };
            if idle_ms > 0 {
                let since_ms = |viewer: &Viewer| viewer.progress_ms.max(audience.no_publisher_since_ms);
                let idle = |viewer: &&Viewer| now_ms.saturating_sub(since_ms(viewer)) > idle_ms;
                let viewers = audience.viewers.iter().map(|(_, viewer)| viewer).filter(idle);
                ends.extend(viewers.map(|viewer| (viewer.connection, End::NoPublisher)));
            }
            let mut lag_ms = None;
            for (viewer_key, key, blocked) in audience.laggards() {
                let Some(connection) = self.connections.get_mut(key) else { continue };
                lag_ms = lag_ms.max(audience.watch(viewer_key, connection, true, now_ms));
                let Some(viewer) = audience.viewers.get_mut(viewer_key) else { continue };
                if !blocked {
                    viewer.drain_mark = (viewer.sent, now_ms);
                } else if now_ms.saturating_sub(viewer.progress_ms) > stalled_ms {
                    ends.push((key, End::Stalled));
                } else if drain > 0 && now_ms.saturating_sub(viewer.drain_mark.1) >= DRAIN_MS {
                    if viewer.sent - viewer.drain_mark.0 < drain {
                        ends.push((key, End::TooSlow));
                    }
                    viewer.drain_mark = (viewer.sent, now_ms);
                }
            }
            holds.extend(lag_ms.and_then(|lag_ms| audience.wish_hold(lag_ms, now_ms, HOLD_PAUSE_MS)));
        }
        (ends, holds)
    }

    /// Audiences with a viewer that waits for the other track of a new publish: they are looked at again.
    pub(crate) fn awaiting_tracks(&mut self) -> Vec<AudienceId> {
        let mut ids = self.audiences.ids();
        let mut is_one = |id: &AudienceId| {
            let audience = self.audiences.get_mut(*id);
            audience.is_some_and(|audience| std::mem::take(&mut audience.awaits_track))
        };
        ids.retain(&mut is_one);
        ids
    }
}
