//! What is told of a stream: counters that outlive this process, and rates.

use std::collections::VecDeque;

use api::Kbps;
use endpoint::Hub;
use mediaring::{Scoreboard, Tally};

use crate::source::Source;

/// Rates are those of so long, ms.
const WINDOW_MS: u64 = 30_000;

/// What was received of a stream, from all its publishers.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    pub(crate) frames: u64,
    pub(crate) bytes: u64,
    /// How many there were when this publish began.
    begun: (u64, u64),
    /// Its counters in shared memory.
    pub(crate) tally: Option<Tally>,
    /// What was received and sent at earlier times: when (ms), bytes, bytes.
    rates: VecDeque<(u64, u64, u64)>,
}

impl Figures {
    /// A packet of so many bytes has come.
    pub(crate) fn count(&mut self, bytes: usize) {
        self.frames += 1;
        self.bytes += bytes as u64;
    }

    /// Another publish begins.
    pub(crate) fn begin_publish(&mut self) {
        self.begun = (self.frames, self.bytes);
    }

    /// Packets and bytes of this publish.
    pub(crate) fn of_publish(&self) -> (u64, u64) {
        (self.frames - self.begun.0, self.bytes - self.begun.1)
    }

    fn sent(&self, board: &Scoreboard) -> u64 {
        self.tally.map_or(0, |tally| board.count_of(tally).sent)
    }

    fn note(&mut self, board: &Scoreboard, now_ms: u64) {
        let sent = self.sent(board);
        self.rates.push_back((now_ms, self.bytes, sent));
        while self.rates.get(1).is_some_and(|(at_ms, ..)| now_ms.saturating_sub(*at_ms) >= WINDOW_MS) {
            self.rates.pop_front();
        }
    }

    fn kbps(&self, send_bytes: u64, now_ms: u64) -> Kbps {
        self.rates.front().map_or_else(Kbps::default, |(at_ms, received, sent)| {
            Kbps::of(
                self.bytes.saturating_sub(*received),
                send_bytes.saturating_sub(*sent),
                now_ms.saturating_sub(*at_ms),
            )
        })
    }
}

impl Source {
    /// Takes the stream's place among the counters, and goes on with what is there.
    pub(crate) fn claim_tally(&mut self, board: &Scoreboard) {
        let figures = &mut self.figures;
        figures.tally = board.claim_tally(self.id);
        figures.rates.clear();
        match figures.tally {
            Some(tally) => {
                let count = board.count_of(tally);
                (figures.frames, figures.bytes) = (count.packets, count.received);
                board.tally_live(tally, self.publish.is_some());
            }
            None => tracing::warn!("more than {} streams: {} is not counted", mediaring::STREAMS, self.key),
        }
        self.note_rates(board, reactor::now_ms());
    }

    /// Tells all processes whether somebody publishes.
    pub(crate) fn tell_live(&self, board: &Scoreboard) {
        if let Some(tally) = self.figures.tally {
            board.tally_live(tally, self.publish.is_some());
        }
    }

    /// Notes what was received and sent until now; to be called every few seconds.
    pub(crate) fn note_rates(&mut self, board: &Scoreboard, now_ms: u64) {
        self.tracks.note_rates(now_ms);
        self.figures.note(board, now_ms);
    }

    /// For operators.
    pub(crate) fn report(&self, hub: &Hub, process: &str) -> api::Stream {
        let now_ms = hub.now_ms();
        let send_bytes = self.figures.sent(hub.board());
        let request = self
            .publish
            .and_then(|publish| publish.publisher.connection())
            .and_then(|connection| hub.connection(connection))
            .and_then(endpoint::Connection::tc_url);
        let (vhost, app, name) = (&self.key.vhost, &self.key.app, &self.key.stream);
        api::Stream {
            id: u64::from(self.id),
            name: name.clone(),
            vhost: vhost.clone(),
            app: app.clone(),
            tc_url: request.unwrap_or_else(|| format!("rtmp://{vhost}/{app}")),
            url: format!("/{app}/{name}"),
            live_ms: self.publish.map_or(0, |publish| now_ms.saturating_sub(publish.since_ms)),
            clients: 0,
            frames: self.figures.frames,
            send_bytes,
            recv_bytes: self.figures.bytes,
            kbps: self.figures.kbps(send_bytes, now_ms),
            publish: api::Publish {
                active: self.publish.is_some(),
                cid: self.cid(),
                by: self.publish.map(|publish| publish.publisher.kind()),
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
