//! Rests between turns: a busy back-source reads its publishers less often, several packets at once.

use std::time::Duration;

use endpoint::Hub;

use crate::sources::Sources;

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

/// Whether the loop rests, and for how long.
#[derive(Debug, Default)]
pub(crate) struct Resting {
    /// The shortest time for which any reader gathers, ms, and when to look again.
    shortest_pace_ms: u64,
    next_look_ms: u64,
    is_resting: bool,
}

impl Resting {
    /// How long to rest before the next turn. While anybody wants packets at once only with many publishers, and so shortly
    /// that nobody notices: then a turn and a wake-up serve a dozen of packets instead of one.
    pub(crate) fn rest(&mut self, hub: &Hub, sources: &Sources) -> Duration {
        let busy = hub.reactor.busy();
        self.is_resting = busy >= if self.is_resting { RESTED_LOAD } else { RESTING_LOAD };
        // Who has not been read yet in the time of a turn is read at once: rests would add up.
        if !self.is_resting || hub.is_behind() {
            return Duration::ZERO;
        }
        let now_ms = reactor::now_ms();
        if now_ms >= self.next_look_ms {
            self.next_look_ms = now_ms + PACE_LOOK_MS;
            let watched = sources.iter().filter(|source| source.publish.is_some());
            let paces = watched.flat_map(|source| {
                let here = hub.audience(&source.key).map(|_| 0);
                source.readers.paces().chain(here)
            });
            self.shortest_pace_ms = paces.min().unwrap_or(MAX_REST_MS * REST_SHARE);
        }
        let gathered = Duration::from_millis(self.gathering_ms());
        if sources.len() < MANY_SOURCES { gathered } else { gathered.max(SHORT_REST) }
    }

    /// How long a rest is while all readers gather, ms.
    fn gathering_ms(&self) -> u64 {
        (self.shortest_pace_ms / REST_SHARE).min(MAX_REST_MS)
    }

    /// What rests add to the way of a packet: it may have waited for one before it was read, and its wake-up may wait for
    /// another, ms.
    pub(crate) fn added_ms(&self) -> u64 {
        if self.is_resting { 2 * self.gathering_ms() } else { 0 }
    }
}
