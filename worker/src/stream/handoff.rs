//! Publishers on their way to the back-source.

use endpoint::{Asker, ConnectionId, DecisionId, Hub, Otherwise, Reason, Verdict};
use media::StreamKey;

use super::StreamProcess;

/// How long a publisher may wait for a back-source that is being started again, ms.
const PATIENCE_MS: u64 = 5_000;

/// Publishers that wait for their back-source.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    waiting: Vec<(ConnectionId, DecisionId, StreamKey)>,
}

impl Waiting {
    pub(crate) fn forget(&mut self, connection: ConnectionId) {
        self.waiting.retain(|(known, ..)| *known != connection);
    }

    /// A publisher waits. It is closed when its back-source does not come in time.
    pub(crate) fn add(&mut self, who: Asker, key: &StreamKey, now_ms: u64) -> Verdict {
        self.waiting.push((who.connection, who.decision, key.clone()));
        let otherwise = Otherwise::Reject(Reason::NoSource);
        Verdict::Later { until_ms: now_ms + PATIENCE_MS, otherwise }
    }
}

impl StreamProcess {
    /// A back-source has come: publishers that waited for it go there.
    pub(crate) fn retry_waiting(&mut self, hub: &mut Hub) {
        let all = std::mem::take(&mut self.waiting.waiting);
        let (there, waiting): (Vec<_>, Vec<_>) = all.into_iter().partition(|(.., key)| self.links.is_up(key));
        self.waiting.waiting = waiting;
        for (_, decision, _) in there {
            hub.decide(self, decision, Verdict::HandOver);
        }
    }
}
