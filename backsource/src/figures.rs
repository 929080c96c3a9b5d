//! What is told of a stream: counters that outlive this process, and rates.

use api::Kbps;
use endpoint::Hub;
use mediaring::Scoreboard;

use crate::source::Source;

/// Rates are those of so long, ms.
const WINDOW_MS: u64 = 30_000;

impl Source {
    /// Takes the stream's place among the counters, and goes on with what is there.
    pub(crate) fn count(&mut self, board: &Scoreboard) {
        self.tally = board.claim_tally(self.id);
        self.rates.clear();
        match self.tally {
            Some(tally) => {
                let count = board.count_of(tally);
                (self.frames, self.bytes) = (count.packets, count.received);
                board.tally_live(tally, self.publisher.is_some());
            }
            None => tracing::warn!("more than {} streams: {} is not counted", mediaring::STREAMS, self.key),
        }
        self.note_rates(board, reactor::now_ms());
    }

    /// Tells all processes whether somebody publishes.
    pub(crate) fn tell_live(&self, board: &Scoreboard) {
        if let Some(tally) = self.tally {
            board.tally_live(tally, self.publisher.is_some());
        }
    }

    fn sent(&self, board: &Scoreboard) -> u64 {
        self.tally.map_or(0, |tally| board.count_of(tally).sent)
    }

    /// Notes what was received and sent until now; to be called every few seconds.
    pub(crate) fn note_rates(&mut self, board: &Scoreboard, now_ms: u64) {
        let sent = self.sent(board);
        self.tracks.note_rates(now_ms);
        self.rates.push_back((now_ms, self.bytes, sent));
        while self.rates.get(1).is_some_and(|(at_ms, ..)| now_ms.saturating_sub(*at_ms) >= WINDOW_MS) {
            self.rates.pop_front();
        }
    }

    /// For operators.
    pub(crate) fn report(&self, hub: &Hub, process: &str) -> api::Stream {
        let now_ms = hub.now_ms();
        let send_bytes = self.sent(hub.board());
        let kbps = self.rates.front().map_or_else(Kbps::default, |(at_ms, received, sent)| {
            Kbps::of(
                self.bytes.saturating_sub(*received),
                send_bytes.saturating_sub(*sent),
                now_ms.saturating_sub(*at_ms),
            )
        });
        let request = self
            .publisher
            .and_then(|publisher| hub.connection(publisher.connection))
            .and_then(endpoint::Connection::tc_url);
        let (vhost, app, name) = (&self.key.vhost, &self.key.app, &self.key.stream);
        api::Stream {
            id: u64::from(self.id),
            name: name.clone(),
            vhost: vhost.clone(),
            app: app.clone(),
            tc_url: request.unwrap_or_else(|| format!("rtmp://{vhost}/{app}")),
            url: format!("/{app}/{name}"),
            live_ms: self.publisher.map_or(0, |publisher| now_ms.saturating_sub(publisher.since_ms)),
            clients: 0,
            frames: self.frames,
            send_bytes,
            recv_bytes: self.bytes,
            kbps,
            publish: api::Publish {
                active: self.publisher.is_some(),
                cid: self.publisher.map_or(0, |publisher| publisher.cid),
            },
            video: self.tracks.video(),
            audio: self.tracks.audio(),
            tracks: self.tracks.report(now_ms),
            left_out: Vec::new(),
            ring_bytes: self.ring.shape().data_bytes,
            time_jumps: self.time_jumps(),
            process: process.to_owned(),
        }
    }
}
