//! Recordings as operators see and order them.

use conf::vhost::DvrPlan;
use media::StreamKey;
use serde::{Deserialize, Serialize};

use super::recording::Recording;
use super::{Finished, Recorders};

/// Finished files that are told.
const MOST_TOLD: usize = 100;
/// Orders that are kept.
const MOST_ORDERS: usize = 10_000;

/// What a successor of this process is to know.
#[derive(Debug, Serialize, Deserialize)]
struct Known {
    ordered: Vec<(StreamKey, bool)>,
    finished: Vec<Finished>,
}

impl Recorders {
    /// An operator wants a stream of ours recorded from now on, or no longer, whatever the configuration says; until the stream is gone.
    /// `false` when too many streams have orders of their own.
    pub(crate) fn order(&mut self, key: &StreamKey, on: bool) -> bool {
        if self.ordered.len() >= MOST_ORDERS && !self.ordered.contains_key(key) {
            return false;
        }
        tracing::info!("dvr of {key}: {} by an operator", if on { "begun" } else { "ended" });
        self.ordered.insert(key.clone(), on);
        self.is_new = true;
        true
    }

    /// Whether a stream is recorded now.
    pub(crate) fn is_recorded(&self, key: &StreamKey) -> bool {
        self.recordings.values().any(|recording| recording.key == *key)
    }

    /// A stream is gone.
    pub(crate) fn forget(&mut self, key: &StreamKey) {
        self.is_new |= self.ordered.remove(key).is_some();
    }

    /// Orders are kept for these streams only.
    pub(crate) fn keep_orders(&mut self, is_kept: impl Fn(&StreamKey) -> bool) {
        let before = self.ordered.len();
        self.ordered.retain(|key, _| is_kept(key));
        self.is_new |= self.ordered.len() != before;
    }

    /// What a successor of this process is to know, where that has changed since the last call.
    pub(crate) fn new_notes(&mut self) -> Option<Vec<u8>> {
        std::mem::take(&mut self.is_new).then(|| self.notes()).flatten()
    }

    /// What a successor of this process is to know: what was ordered, and what was written.
    pub(crate) fn notes(&self) -> Option<Vec<u8>> {
        let newest = self.finished.len().saturating_sub(MOST_TOLD);
        let known = Known {
            ordered: self.ordered.iter().map(|(key, on)| (key.clone(), *on)).collect(),
            finished: self.finished.iter().skip(newest).cloned().collect(),
        };
        let notes = rmp_serde::to_vec_named(&known);
        notes.inspect_err(|error| tracing::error!("orders to record can't be kept: {error}")).ok()
    }

    /// What a predecessor was ordered, and what it wrote.
    pub(crate) fn remember(&mut self, notes: &[u8]) {
        match rmp_serde::from_slice::<Known>(notes) {
            Ok(known) => {
                self.ordered.extend(known.ordered);
                // What this process has done itself came later.
                for finished in known.finished.into_iter().rev() {
                    self.finished.push_front(finished);
                }
            }
            Err(error) => tracing::error!("what was ordered before is lost: {error}"),
        }
    }

    pub(crate) fn report_recordings(&self, process: &str, report: &mut api::Report) {
        let told = |recording: &Recording| {
            let (duration_ms, bytes) = recording.progress().unwrap_or_default();
            api::Recording {
                vhost: recording.key.vhost.clone(),
                app: recording.key.app.clone(),
                name: recording.key.stream.clone(),
                plan: match recording.config.plan {
                    DvrPlan::Session => "session",
                    DvrPlan::Segment => "segment",
                    DvrPlan::Hss => "hss",
                    DvrPlan::Append => "append",
                }
                .to_owned(),
                open: recording.progress().is_some(),
                duration_ms,
                bytes,
                by_operator: self.ordered.get(&recording.key) == Some(&true),
                left_out: recording.left_out.names().to_vec(),
                process: process.to_owned(),
            }
        };
        report.dvr.recordings = self.recordings.values().map(told).collect();
        report.dvr.recordings.sort_by(|a, b| (&a.vhost, &a.app, &a.name).cmp(&(&b.vhost, &b.app, &b.name)));
        let newest = self.finished.len().saturating_sub(MOST_TOLD);
        let finished = self.finished.iter().skip(newest).map(|finished| api::Recorded {
            vhost: finished.key.vhost.clone(),
            app: finished.key.app.clone(),
            name: finished.key.stream.clone(),
            path: finished.path.display().to_string(),
            duration_ms: finished.duration_ms,
            bytes: finished.bytes,
        });
        report.dvr.recorded = finished.collect();
    }
}
