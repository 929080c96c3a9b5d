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

use super::Hub;
use crate::connection::{Connection, Mark};

/// Whose turn it is in a stage, and when.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Turn {
    due_ms: u64,
    next_key: usize,
}

/// Both stages.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Turns {
    play: Turn,
    publish: Turn,
}

impl Hub {
    /// Writes what is due.
    pub(super) fn print_status(&mut self) {
        let periods = &self.config.pithy_print;
        let (play_ms, publish_ms) = (periods.play_ms, periods.publish_ms);
        let plays = |connection: &Connection| !connection.playing.is_empty();
        let publishes = |connection: &Connection| !connection.publishing.is_empty();
        let mut turns = self.status;
        if let Some(key) = self.whose_turn(&mut turns.play, play_ms, plays) {
            self.print(key, true);
        }
        if let Some(key) = self.whose_turn(&mut turns.publish, publish_ms, publishes) {
            self.print(key, false);
        }
        self.status = turns;
    }

    /// The connection whose turn it is, if one is due.
    fn whose_turn(
        &self,
        turn: &mut Turn,
        period_ms: u64,
        is_in: impl Fn(&Connection) -> bool,
    ) -> Option<usize> {
        let now_ms = self.now_ms;
        let old_enough = |connection: &Connection| {
            is_in(connection) && now_ms.saturating_sub(connection.accepted_ms) >= period_ms.min(1_000)
        };
        if now_ms < turn.due_ms {
            return None;
        }
        let mut all = self.connections.iter().filter(|(_, connection)| old_enough(connection));
        let first = all.clone().next()?.0;
        let key = all.find(|(key, _)| *key >= turn.next_key).map_or(first, |(key, _)| key);
        *turn = Turn { due_ms: now_ms + period_ms, next_key: key + 1 };
        Some(key)
    }

    fn print(&self, key: usize, plays: bool) {
        let Some(connection) = self.connections.get(key) else { return };
        let viewers = connection.playing.iter().filter_map(|play| {
            let audience = self.audiences.get(play.audience.0)?;
            let viewer = audience.viewers.get(play.viewer)?;
            Some((viewer.sent, audience.frames(viewer)))
        });
        let (sent, frames) = viewers.fold((0, 0), |sum, viewer| (sum.0 + viewer.0, sum.1 + viewer.1));
        let (received, sent) = (connection.bytes_in, connection.bytes_out + sent);
        let age_ms = self.now_ms.saturating_sub(connection.accepted_ms);
        let since = |mark: Mark| {
            Kbps::of(
                received.saturating_sub(mark.bytes.0),
                sent.saturating_sub(mark.bytes.1),
                self.now_ms.saturating_sub(mark.at_ms),
            )
        };
        let ([mark, _], [long_mark, _]) = (connection.marks, connection.long_marks);
        let rates = [Kbps::of(received, sent, age_ms), since(mark), since(long_mark)];
        let triple = |of: fn(&Kbps) -> u64| rates.each_ref().map(|rate| of(rate).to_string()).join(",");
        let (okbps, ikbps) = (triple(|rate| rate.send_30s), triple(|rate| rate.recv_30s));
        let stream = self.streams_of(connection).into_iter().next().unwrap_or_default();
        let cid = connection.id;
        if plays {
            let msgs = frames + connection.frames;
            tracing::info!(
                cid,
                "-> PLA time={age_ms}, msgs={msgs}, okbps={okbps}, ikbps={ikbps}, stream={stream}"
            );
        } else {
            tracing::info!(cid, "<- CPB time={age_ms}, okbps={okbps}, ikbps={ikbps}, stream={stream}");
        }
    }
}
