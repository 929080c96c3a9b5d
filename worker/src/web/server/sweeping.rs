//! What is looked at from time to time: deadlines, who waits, what nobody needs any more.

use std::collections::HashMap;

use mediaring::Counter;

use super::{LAST_WRITES_MS, LEAST_GRACE_MS, Web, queue_ms};
use crate::outputs::live::packet_queue::Format;
use crate::web::connection::{Body, Gone, State};

impl Web {
    pub(crate) fn look_at_waiting(&mut self) {
        let waiting: Vec<usize> = self
            .connections
            .iter()
            .filter(|(_, connection)| matches!(connection.state, State::Answer(Body::Wait(_))))
            .map(|(key, _)| key)
            .collect();
        waiting.into_iter().for_each(|key| self.ask_again(key));
    }

    /// Looks at a request again that waits.
    pub(crate) fn ask_again(&mut self, key: usize) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        if !matches!(connection.state, State::Answer(Body::Wait(_))) {
            return;
        }
        let body = std::mem::replace(&mut connection.state, State::Answer(Body::Rest));
        if let State::Answer(Body::Wait(wait)) = body {
            self.request(key, wait.request, Some((wait.since_ns, wait.until_ms)));
            self.serve(key, false);
        }
    }

    /// Looks after all: deadlines, streams that rest, viewers who lag.
    pub(crate) fn sweep(&mut self) {
        self.recheck_waiting = false;
        self.ping_listeners();
        // Whatever others may have written there.
        self.board.set(self.slot, Counter::Connections, self.connections.len() as u64);
        let idle = self.connections.iter().filter(|(_, connection)| connection.asks_nothing()).count();
        self.board.set(self.slot, Counter::Unestablished, idle as u64);
        self.look_at_waiting();
        let now_ms = self.now_ms;
        for (_, connection) in &mut self.connections {
            connection.note_rates(now_ms);
        }
        let grace_ms = self.config.http_server.stream_wait_ms.max(LEAST_GRACE_MS);
        let mut late = Vec::new();
        let mut over = Vec::new();
        for (key, connection) in &self.connections {
            match connection.viewer() {
                Some(viewer) => {
                    let feed = self.feeds.get(viewer.feed);
                    let rests = feed.and_then(|feed| feed.rests_since_ms);
                    if connection.blocked {
                        if now_ms >= connection.deadline_ms {
                            late.push(key);
                        }
                    } else if !viewer.has_begun() && now_ms >= viewer.until_ms
                        || rests.is_some_and(|since| now_ms >= since + grace_ms)
                    {
                        over.push(key);
                    }
                }
                None if now_ms >= connection.deadline_ms
                    && !matches!(connection.state, State::Answer(Body::Wait(_)))
                    && (connection.blocked || !connection.may_rest()) =>
                {
                    late.push(key);
                }
                None => {}
            }
        }
        for key in late {
            let is_over = self.connections.get(key).is_some_and(|connection| {
                matches!(connection.state, State::Goodbye)
                    || matches!(connection.state, State::Head) && connection.input.is_empty()
            });
            self.end(key, if is_over { Gone::Left } else { Gone::Slow });
        }
        for key in over {
            self.end_live(key);
            self.serve(key, false);
        }
        self.give_rings_back();
        self.trim();
        self.mounts.close_roots(now_ms);
        self.sweep_hls();
        self.certificate.look(&self.config.http_server.https, false);
    }

    /// Rings of streams that have ended are memory and descriptors of three processes: what is left here (lists, recordings)
    /// needs none. With the next publish the stream is watched again.
    fn give_rings_back(&mut self) {
        for (_, feed) in &mut self.feeds {
            if feed.give_ring_back() {
                self.links.unwatch(&feed.key);
            }
        }
    }

    /// Lets go of what no viewer needs any more.
    fn trim(&mut self) {
        let mut wanted: HashMap<(usize, usize), u64> = HashMap::new();
        for (_, connection) in &self.connections {
            if let Some((viewer, next)) =
                connection.viewer().and_then(|viewer| Some((viewer, viewer.next()?)))
            {
                let place = wanted.entry((viewer.feed, viewer.format.index())).or_insert(next);
                *place = next.min(*place);
            }
        }
        for (key, feed) in &mut self.feeds {
            let queue_ms = queue_ms(&self.config, &feed.key);
            for format in Format::ALL {
                let last = wanted.get(&(key, format.index())).copied().unwrap_or(u64::MAX);
                feed.trim(format, last, queue_ms);
            }
        }
    }

    /// All connections end, and all files.
    pub(crate) fn end_all(&mut self) {
        let feeds: Vec<usize> = self.feeds.iter().map(|(feed, _)| feed).collect();
        for feed in feeds {
            self.hls.rest(feed, self.now_ms);
            self.dvr.end(feed, &mut self.hls.disk);
        }
        let until_ms = self.now_ms + LAST_WRITES_MS;
        while !self.hls.disk.is_done() && reactor::now_ms() < until_ms {
            self.hls.work(reactor::now_ms());
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        let keys: Vec<usize> = self.connections.iter().map(|(key, _)| key).collect();
        for key in keys {
            self.end(key, Gone::Ending);
        }
    }
}
