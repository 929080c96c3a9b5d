//! What a client asks, connect, publish and play, and what it is answered.
//!
//! The configuration is asked first, then the host. Its answer may come later ([`crate::Hub::decide`]): until then the session
//! parses nothing, what the client sends waits there and in the kernel, and other clients notice nothing.

use std::sync::Arc;

use fanout::Cursor;
use media::StreamKey;
use mediaring::{Counter, RingReader};
use rtmp::{Pending, PlayRequest, PublishRequest, SessionError};

use super::Dialogue;
use crate::admission;
use crate::decisions::Open;
use crate::end::End;
use crate::host::{Asker, Host};
use crate::hub::ConnectionId;
use crate::verdict::{Asked, DecisionId, Reason, Refusal, Verdict};
use crate::viewer::Viewer;

impl<H: Host> Dialogue<'_, H> {
    /// An answer to the question that is open has come.
    pub(crate) fn answer(&mut self, verdict: Verdict) {
        let pending = self.connection().and_then(|connection| connection.session.pending().cloned());
        let Some(pending) = pending else { return };
        self.settle(&pending, verdict, None);
        if self.pump() {
            self.readable(false);
        }
    }

    /// The client asks, or asks again after it came from another process; `limit_ms`: when it was to be answered there.
    pub(crate) fn ask(&mut self, pending: &Pending, limit_ms: Option<u64>) {
        let verdict = self.verdict(pending).unwrap_or_else(Verdict::Reject);
        self.settle(pending, verdict, limit_ms);
    }

    fn verdict(&mut self, pending: &Pending) -> Result<Verdict, Refusal> {
        let connection = self.hub.delivery.connections.get(self.key).ok_or_else(Refusal::no_connect)?;
        let who =
            Asker { connection: ConnectionId(self.key), decision: DecisionId::new(connection.id, pending) };
        Ok(match pending {
            Pending::Connect(request) => {
                admission::connect(self.hub.config(), connection, request)?;
                self.host.connect(self.hub, who, request)
            }
            Pending::Publish(request) => {
                let name = self.enter(pending)?;
                self.host.publish(self.hub, who, &name, request)
            }
            Pending::Play(request) => {
                let name = self.enter(pending)?;
                self.host.play(self.hub, who, &name, request)
            }
        })
    }

    /// The stream that is asked for, whose vhost is the client's from now on.
    fn enter(&mut self, pending: &Pending) -> Result<StreamKey, Refusal> {
        let config = Arc::clone(self.hub.config());
        let connection = self.connection().ok_or_else(Refusal::no_connect)?;
        let name = admission::stream(&config, connection, pending)?;
        if let Some(vhost) = config.vhosts.iter().find(|vhost| vhost.name == name.vhost) {
            admission::enter(connection, vhost);
        }
        self.hub.establish(self.key);
        Ok(name)
    }

    fn settle(&mut self, pending: &Pending, verdict: Verdict, limit_ms: Option<u64>) {
        let settled = match verdict {
            Verdict::Accept => self.accept(pending),
            Verdict::Reject(refusal) => Err(refusal),
            Verdict::HandOver => self.hand_over(pending),
            Verdict::Later { until_ms, otherwise } => {
                let key = self.key;
                let Some(connection) = self.connection() else { return };
                let id = DecisionId::new(connection.id, pending);
                let until_ms = limit_ms.map_or(until_ms, |limit_ms| until_ms.min(limit_ms));
                let open = Open { key, asked: Asked::of(pending), until_ms, otherwise };
                self.hub.decisions.put(id, open);
                Ok(())
            }
        };
        if let Err(refusal) = settled {
            self.reject(pending, &refusal);
        }
    }

    fn accept(&mut self, pending: &Pending) -> Result<(), Refusal> {
        let accepted = match pending {
            Pending::Connect(request) => {
                let (config, now_ms) = (Arc::clone(self.hub.config()), self.hub.now_ms());
                let connection = self.connection().ok_or_else(Refusal::no_connect)?;
                connection.accept_connect(admission::connect(&config, connection, request)?, now_ms)
            }
            Pending::Publish(request) => {
                let name = self.enter(pending)?;
                self.accept_publish(&name, request)?
            }
            Pending::Play(request) => {
                let name = self.enter(pending)?;
                self.accept_play(&name, request)
            }
        };
        if let Err(error) = accepted {
            self.end(End::Protocol(error));
        }
        Ok(())
    }

    /// The outer error is why it can't publish after all, the inner one is of what the client sent meanwhile.
    fn accept_publish(
        &mut self,
        name: &StreamKey,
        request: &PublishRequest,
    ) -> Result<Result<(), SessionError>, Refusal> {
        let former = self.host.begin(self.hub, ConnectionId(self.key), name, request)?;
        if let Some(ConnectionId(key)) = former.filter(|former| former.0 != self.key) {
            self.hub.with(self.host, key).end(End::TakenOver);
        }
        let (config, now_ms) = (Arc::clone(self.hub.config()), self.hub.now_ms());
        let connection = self.connection().ok_or_else(Refusal::no_connect)?;
        let chunk_size = admission::chunk_size(&config, connection);
        Ok(connection.accept_publish(request.msid, chunk_size, now_ms))
    }

    fn accept_play(&mut self, name: &StreamKey, request: &PlayRequest) -> Result<(), SessionError> {
        let (config, now_ms) = (Arc::clone(self.hub.config()), self.hub.now_ms());
        let ring = self.hub.audience(name).and_then(|id| self.hub.delivery.audiences.get(id)?.ring.as_ref());
        let of_ring = ring.map(RingReader::chunk_size);
        let Some(connection) = self.connection() else { return Ok(()) };
        tracing::info!(cid = connection.id, "play stream={name}");
        if connection.playing.is_empty() {
            let chunk_size = of_ring.unwrap_or_else(|| admission::chunk_size(&config, connection));
            connection.session.set_out_chunk_size(chunk_size);
        }
        connection.session.accept_play(now_ms, request.msid)?;
        self.hub.delivery.drain_transmits(self.key);
        let (msid, duration) = (request.msid, request.duration_ms);
        self.join(name, &request.params, |fd, key, now_ms| {
            let cursor = Cursor::new(msid, 0, reactor::now_ns()).for_duration(duration);
            Viewer::new(cursor, fd, key, now_ms)
        });
        Ok(())
    }

    /// Gives the connection to the host, for another process.
    fn hand_over(&mut self, pending: &Pending) -> Result<(), Refusal> {
        let name = self.enter(pending)?;
        if let Some((socket, snapshot)) = self.detach() {
            self.host.hand_over(&name, socket, snapshot);
        }
        Ok(())
    }

    fn reject(&mut self, pending: &Pending, refusal: &Refusal) {
        let Some(connection) = self.connection() else { return };
        if matches!(pending, Pending::Publish(_)) && refusal.reason == Reason::NoSource {
            // Encoders take a refusal for final. One that is only closed comes again.
            self.end(End::NoSource);
        } else {
            connection.reject(pending, refusal);
        }
        self.hub.decisions.count_refused(Asked::of(pending), refusal.reason);
        if refusal.reason == Reason::ServerFull {
            self.hub.delivery.counts.add(Counter::Refused, 1);
        }
    }
}
