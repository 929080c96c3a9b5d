//! Status lines: now and then one line of one viewer, and one of one publisher. Each stage has a period, and its
//! connections take turns, so that a thousand viewers write as much as one.
//!
//! ```text
//! -> PLA time=12000, msgs=600, okbps=512,510,512, ikbps=1,1,1, stream=live/demo
//! <- CPB time=12000, okbps=1,1,1, ikbps=512,510,512, stream=live/demo
//! ```
//!
//! `time` is the age in ms, `msgs` what a viewer got; rates are since the connection began, of the last half minute, and
//! of the last five minutes.

use api::Kbps;

use conf::config::PithyPrint;

use crate::connection::{Connection, Mark};
use crate::overview::Overview;

/// Whose turn it is in a stage, and when.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Turn {
    due_ms: u64,
    next_key: usize,
}

/// Both stages.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Turns {
    play: Turn,
    publish: Turn,
}

impl Turns {
    /// Writes what is due.
    pub(crate) fn print(&mut self, all: Overview<'_>, periods: &PithyPrint) {
        let plays = |connection: &Connection| !connection.playing.is_empty();
        let publishes = |connection: &Connection| !connection.publishing.is_empty();
        if let Some(connection) = self.play.next(all, periods.play_ms, plays) {
            all.print(connection, true);
        }
        if let Some(connection) = self.publish.next(all, periods.publish_ms, publishes) {
            all.print(connection, false);
        }
    }
}

impl Turn {
    /// The connection whose turn it is, if one is due.
    fn next<'a>(
        &mut self,
        all: Overview<'a>,
        period_ms: u64,
        is_in: impl Fn(&Connection) -> bool,
    ) -> Option<&'a Connection> {
        let now_ms = all.now_ms;
        let old_enough = |connection: &Connection| {
            let age_ms = now_ms.saturating_sub(connection.life.accepted_ms);
            is_in(connection) && age_ms >= period_ms.min(1_000)
        };
        if now_ms < self.due_ms {
            return None;
        }
        let mut candidates = all.connections.iter().filter(|(_, connection)| old_enough(connection));
        let first = candidates.clone().next()?;
        let (key, connection) = candidates.find(|(key, _)| *key >= self.next_key).unwrap_or(first);
        *self = Self { due_ms: now_ms + period_ms, next_key: key + 1 };
        Some(connection)
    }
}

impl Overview<'_> {
    fn print(&self, connection: &Connection, plays: bool) {
        let viewers = self.audiences.viewers_of(connection);
        let viewers = viewers.map(|(audience, viewer)| (viewer.sent, audience.frames(viewer)));
        let (sent, frames) = viewers.fold((0, 0), |sum, viewer| (sum.0 + viewer.0, sum.1 + viewer.1));
        let traffic = &connection.traffic;
        let (received, sent) = (traffic.bytes_in, traffic.bytes_out + sent);
        let age_ms = self.now_ms.saturating_sub(connection.life.accepted_ms);
        let since = |mark: Mark| {
            Kbps::of(
                received.saturating_sub(mark.bytes.0),
                sent.saturating_sub(mark.bytes.1),
                self.now_ms.saturating_sub(mark.at_ms),
            )
        };
        let ([mark, _], [long_mark, _]) = (traffic.marks, traffic.long_marks);
        let rates = [Kbps::of(received, sent, age_ms), since(mark), since(long_mark)];
        let triple = |of: fn(&Kbps) -> u64| rates.each_ref().map(|rate| of(rate).to_string()).join(",");
        let (okbps, ikbps) = (triple(|rate| rate.send_30s), triple(|rate| rate.recv_30s));
        let stream = self.streams_of(connection).into_iter().next().unwrap_or_default();
        let cid = connection.id;
        if plays {
            let msgs = frames + traffic.frames;
            tracing::info!(
                cid,
                "-> PLA time={age_ms}, msgs={msgs}, okbps={okbps}, ikbps={ikbps}, stream={stream}"
            );
        } else {
            tracing::info!(cid, "<- CPB time={age_ms}, okbps={okbps}, ikbps={ikbps}, stream={stream}");
        }
    }
}
