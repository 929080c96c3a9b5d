//! What is looked at now and then: slow viewers, silent publishers, the load.

use media::StreamKey;
use mediaring::Counter;

use super::{Host, Hub, LINES_PER_TICK, MAX_GATHER_MS};
use crate::audience::AudienceId;
use crate::connection::Mark;
use crate::end::End;
use crate::viewer::Viewer;

/// Between two marks of a connection, ms: rates are those of the last 15 to 30 seconds.
const MARK_MS: u64 = 15_000;
/// The same for the rates of the last 150 to 300 seconds.
const LONG_MARK_MS: u64 = 150_000;
/// Least time between two wishes for a ring that holds as much, ms.
const HOLD_PAUSE_MS: u64 = 100;
/// Least time between two lines about lines that were left out, ms.
const COMPLAIN_MS: u64 = 5_000;

impl Hub {
    pub(super) fn tick<H: Host>(&mut self, host: &mut H) {
        self.adapt_gathering();
        // Whatever others may have written there.
        self.board.set(self.board_slot, Counter::Connections, self.connections.len() as u64);
        self.lines_left = LINES_PER_TICK;
        if self.lines_dropped > 0 && self.now_ms >= self.next_lines_ms {
            self.next_lines_ms = self.now_ms + COMPLAIN_MS;
            tracing::warn!(
                "{} lines about connections were left out: too many come and go",
                self.lines_dropped
            );
            self.lines_dropped = 0;
        }
        let limits = &self.config.limits;
        let (stalled_ms, drain) = (limits.stalled_timeout_ms, u64::from(limits.min_drain_rate));
        let mut ends = Vec::new();
        let mut holds = Vec::new();
        for (_, audience) in &mut self.audiences {
            let idle_ms = match self.config.vhost(&audience.key.vhost) {
                conf::Lookup::Found(vhost) if audience.awaits_publisher() => vhost.play_idle_timeout_ms,
                _ => 0,
            };
            if idle_ms > 0 {
                let since_ms = |viewer: &Viewer| viewer.progress_ms.max(audience.no_publisher_since_ms);
                let idle = |viewer: &&Viewer| self.now_ms.saturating_sub(since_ms(viewer)) > idle_ms;
                let viewers = audience.viewers.iter().map(|(_, viewer)| viewer).filter(idle);
                ends.extend(viewers.map(|viewer| (viewer.connection, End::NoPublisher)));
            }
            let laggards: Vec<(usize, usize, bool)> = audience
                .viewers
                .iter()
                .filter(|(_, viewer)| viewer.is_blocked() || viewer.cursor.is_paused())
                .map(|(key, viewer)| (key, viewer.connection, viewer.is_blocked()))
                .collect();
            for (viewer_key, key, blocked) in laggards {
                let Some(connection) = self.connections.get_mut(key) else { continue };
                if let Some(lag_ms) = audience.watch(viewer_key, connection, true, self.now_ms) {
                    holds.push((audience.key.clone(), lag_ms));
                }
                let Some(viewer) = audience.viewers.get_mut(viewer_key) else { continue };
                if blocked {
                    if self.now_ms.saturating_sub(viewer.progress_ms) > stalled_ms {
                        ends.push((key, End::Stalled));
                    } else if drain > 0 && self.now_ms.saturating_sub(viewer.drain_mark.1) >= 10_000 {
                        if viewer.sent - viewer.drain_mark.0 < drain * 10 {
                            ends.push((key, End::TooSlow));
                        }
                        viewer.drain_mark = (viewer.sent, self.now_ms);
                    }
                } else {
                    viewer.drain_mark = (viewer.sent, self.now_ms);
                }
            }
        }
        for (key, connection) in &mut self.connections {
            if self.now_ms.saturating_sub(connection.marks[1].at_ms) >= MARK_MS {
                let watched = connection.playing.iter().filter_map(|play| {
                    self.audiences.get(play.audience.0)?.viewers.get(play.viewer).map(|viewer| viewer.sent)
                });
                let bytes = (connection.bytes_in, connection.bytes_out + watched.sum::<u64>());
                let mark = Mark { at_ms: self.now_ms, bytes };
                connection.marks = [connection.marks[1], mark];
                if self.now_ms.saturating_sub(connection.long_marks[1].at_ms) >= LONG_MARK_MS {
                    connection.long_marks = [connection.long_marks[1], mark];
                }
            }
            if connection.closing.is_some() {
                continue;
            }
            if !connection.publishing.is_empty() {
                let vhost = connection.vhost.as_deref();
                let rules = self
                    .config
                    .vhosts
                    .iter()
                    .find(|known| Some(known.name.as_str()) == vhost)
                    .map(|vhost| &vhost.publish);
                let silent = self.now_ms.saturating_sub(connection.last_media_ms);
                let bound = rules.map_or(30_000, |rules| {
                    if connection.had_media { rules.normal_timeout_ms } else { rules.firstpkt_timeout_ms }
                });
                if bound > 0 && silent > bound {
                    ends.push((key, End::PublishTimeout));
                }
            }
            // Command replies that nobody reads, outside of playing.
            if connection.playing.is_empty()
                && !connection.outbox.is_empty()
                && self.now_ms.saturating_sub(connection.last_input_ms) > stalled_ms
            {
                ends.push((key, End::Stalled));
            }
        }
        for (key, end) in ends {
            self.end(host, key, end);
        }
        let paced: Vec<usize> = self.audiences.iter().map(|(key, _)| key).collect();
        for key in paced {
            self.adapt_pace(host, AudienceId(key));
        }
        let awaiting: Vec<usize> =
            self.audiences.iter().filter(|(_, audience)| audience.awaits_track).map(|(key, _)| key).collect();
        for key in awaiting {
            if let Some(audience) = self.audiences.get_mut(key) {
                audience.awaits_track = false;
                self.fan_out(host, AudienceId(key));
            }
        }
        for (name, lag_ms) in holds {
            self.ask_hold(host, &name, lag_ms);
        }
    }

    pub(crate) fn ask_hold<H: Host>(&mut self, host: &mut H, name: &StreamKey, lag_ms: u64) {
        let Some(audience) = self.by_key.get(name).and_then(|id| self.audiences.get_mut(id.0)) else {
            return;
        };
        // Somebody who lags further needs it now.
        let (asked_ms, asked_for_ms) = audience.hold_asked;
        if self.now_ms.saturating_sub(asked_ms) < HOLD_PAUSE_MS && lag_ms < asked_for_ms * 5 / 4 {
            return;
        }
        audience.hold_asked = (self.now_ms, lag_ms);
        let name = name.clone();
        host.hold(self, &name, lag_ms);
    }

    /// `mw_latency auto`: at once while the loop is mostly idle, more the busier it is.
    pub(super) fn adapt_gathering(&mut self) {
        let busy = self.reactor.busy();
        self.auto_gather_ms = if busy > 0.6 {
            (self.auto_gather_ms + 30).min(MAX_GATHER_MS)
        } else if busy > 0.3 {
            (self.auto_gather_ms + 5).min(MAX_GATHER_MS)
        } else if busy < 0.2 {
            self.auto_gather_ms.saturating_sub(10)
        } else {
            self.auto_gather_ms
        };
    }
}
