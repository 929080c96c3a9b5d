//! What roles do differently.

use std::os::fd::OwnedFd;

use bytes::Bytes;
use ipc::ViewerRequest;
use media::{Kind, StreamKey};
use mediaring::RingReader;
use rtmp::{ConnectRequest, PlayRequest, PublishRequest};

use crate::audience::{AudienceId, Wakes};
use crate::hub::{ConnectionId, Hub};
use crate::snapshot::ConnectionSnapshot;
use crate::upstreams::{UpstreamEvent, UpstreamId};
use crate::verdict::{DecisionId, Refusal, Verdict};

/// Who asks, and how the answer finds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asker {
    /// The connection.
    pub connection: ConnectionId,
    /// Its question, for [`Hub::decide`].
    pub decision: DecisionId,
}

/// A role. The hub asks it and tells it; it never calls back into the hub while it is asked.
pub trait Host: Sized {
    /// May this client come in? The configuration lets it. Asked again when the connection comes from another process before
    /// it was answered, as are the next two.
    fn connect(&mut self, _hub: &Hub, _who: Asker, _request: &ConnectRequest) -> Verdict {
        Verdict::Accept
    }
    /// May it publish this stream?
    fn publish(&mut self, hub: &Hub, who: Asker, key: &StreamKey, request: &PublishRequest) -> Verdict;
    /// May it play this stream?
    fn play(&mut self, _hub: &Hub, _who: Asker, _key: &StreamKey, _request: &PlayRequest) -> Verdict {
        Verdict::Accept
    }
    /// It publishes this stream from now on, as was answered, perhaps some time ago. Returns the connection whose place it
    /// takes, which is closed then.
    ///
    /// # Errors
    /// Why it can't after all.
    fn begin(
        &mut self,
        hub: &Hub,
        connection: ConnectionId,
        key: &StreamKey,
        request: &PublishRequest,
    ) -> Result<Option<ConnectionId>, Refusal>;
    /// [`Verdict::HandOver`] was answered: the connection that asks for this stream goes on in another process.
    fn hand_over(&mut self, key: &StreamKey, socket: OwnedFd, connection: ConnectionSnapshot);
    /// A packet of an accepted publish.
    fn media(&mut self, connection: ConnectionId, msid: u32, kind: Kind, wire_ms: u32, payload: Bytes);
    /// An accepted publish ended. Returns the stream that rests now, for its viewers here.
    fn unpublish(&mut self, connection: ConnectionId, msid: u32) -> Option<StreamKey>;
    /// The first viewer of a stream is there, and has said this. Returns the ring when there is one at hand; otherwise it is
    /// brought with [`Hub::set_ring`].
    fn wanted(
        &mut self,
        audience: AudienceId,
        key: &StreamKey,
        request: ViewerRequest,
    ) -> Option<(RingReader, Wakes)>;
    /// The last viewer of a stream has gone.
    fn unwanted(&mut self, key: &StreamKey);
    /// A viewer lags by so many ms: let the ring hold more.
    fn hold(&mut self, key: &StreamKey, lag_ms: u64);
    /// Viewers of a stream whose wake-ups are [`Wakes::Paced`] gather packets for so many ms.
    fn pace(&mut self, key: &StreamKey, ms: u32);
    /// A connection to another server ([`Hub::connect_upstream`]) brings something.
    fn upstream(&mut self, _id: UpstreamId, _event: UpstreamEvent) {}
    /// The connection is gone; its publishes were ended before.
    fn closed(&mut self, connection: ConnectionId);
}
