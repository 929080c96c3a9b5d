//! What a client is answered, as its session says it.

use conf::vhost::Vhost;
use rtmp::{Pending, PlayReject, SessionError};

use super::Connection;
use crate::admission;
use crate::verdict::Refusal;

impl Connection {
    /// It is let into a vhost.
    ///
    /// # Errors
    /// Of what the client sent behind its question.
    pub(crate) fn accept_connect(&mut self, vhost: &Vhost, now_ms: u64) -> Result<(), SessionError> {
        admission::enter(self, vhost);
        self.session.set_windows(vhost.out_ack_size, vhost.in_ack_size);
        if let Some(request) = self.session.connect_request() {
            tracing::info!(
                cid = self.id,
                "connect app, tcUrl={}, vhost={}, app={}",
                rtmp::url::mask_query(&request.tc_url),
                vhost.name,
                request.target.app
            );
        }
        self.session.accept_connect(now_ms)
    }

    /// It publishes on a message stream, and is answered in chunks of this size.
    ///
    /// # Errors
    /// As for [`Self::accept_connect`].
    pub(crate) fn accept_publish(
        &mut self,
        msid: u32,
        chunk_size: u32,
        now_ms: u64,
    ) -> Result<(), SessionError> {
        self.session.set_out_chunk_size(chunk_size);
        self.publishing.push(msid);
        self.heard.had_media = false;
        self.heard.last_media_ms = now_ms;
        self.session.accept_publish(now_ms, msid)
    }

    /// What it asked is refused.
    pub(crate) fn reject(&mut self, pending: &Pending, refusal: &Refusal) {
        let (cid, session) = (self.id, &mut self.session);
        match pending {
            Pending::Connect(request) => {
                let url = rtmp::url::mask_query(&request.tc_url);
                tracing::warn!(cid, "connect refused, tcUrl={url}: {refusal}");
                session.reject_connect(&refusal.why);
            }
            Pending::Publish(request) => {
                tracing::warn!(cid, "publish refused: {refusal}");
                session.reject_publish(request.msid, refusal.reason.publish_status(), &refusal.why);
            }
            Pending::Play(request) => {
                tracing::warn!(cid, "play refused: {refusal}");
                session.reject_play(request.msid, PlayReject::Failed, &refusal.why);
            }
        }
    }
}
