//! Publishers on their way to the back-source.

use endpoint::{ConnectionId, End, Hub};
use media::StreamKey;

use super::StreamProcess;

/// How long a publisher may wait for a back-source that is being started again, ms.
const PATIENCE_MS: u64 = 5_000;

/// Publishers that wait.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    waiting: Vec<(ConnectionId, StreamKey, u64)>,
}

impl Waiting {
    pub(crate) fn forget(&mut self, connection: ConnectionId) {
        self.waiting.retain(|(known, ..)| *known != connection);
    }
}

impl StreamProcess {
    /// Gives a publisher to the back-source of its stream: socket, session, and the bytes that were not yet read. When
    /// that back-source is not there, the publisher waits a while: nothing more is read from it.
    pub(crate) fn hand_over(&mut self, hub: &mut Hub, connection: ConnectionId, key: StreamKey) {
        if !self.links.is_up(&key) {
            let until = hub.now_ms() + PATIENCE_MS;
            hub.wake_at(until);
            self.waiting.waiting.push((connection, key, until));
            return;
        }
        let Some((socket, snapshot)) = hub.detach(self, connection) else { return };
        reactor::crash_point("detached");
        let cid = snapshot.id;
        if self.links.hand_over(&key, socket, snapshot.to_bytes()) {
            tracing::debug!(
                cid,
                "the publisher of {key} goes on in back-source {}",
                self.links.shard_of(&key)
            );
        } else {
            tracing::warn!(cid, "the publisher of {key} is lost: its back-source took it no more");
        }
    }

    pub(crate) fn retry_waiting(&mut self, hub: &mut Hub) {
        for (connection, key, _) in std::mem::take(&mut self.waiting.waiting) {
            self.hand_over(hub, connection, key);
        }
    }

    pub(crate) fn give_up_waiting(&mut self, hub: &mut Hub) {
        let now_ms = hub.now_ms();
        while let Some(at) = self.waiting.waiting.iter().position(|(.., until)| *until <= now_ms) {
            let (connection, ..) = self.waiting.waiting.swap_remove(at);
            hub.close(self, connection, End::NoSource);
        }
    }
}
