//! Recordings as operators see and order them.

use api::{Record, RecordAnswer};
use conf::vhost::DvrPlan;
use media::StreamKey;
use serde::{Deserialize, Serialize};

use super::Finished;
use super::recording::Recording;
use crate::web::server::Web;

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

impl Web {
    /// Records a stream from now on, or no longer, whatever the configuration says; until the stream is gone.
    pub(crate) fn record(&mut self, record: &Record) -> RecordAnswer {
        let (app, stream) = (record.app.clone(), record.name.clone());
        let key = StreamKey { vhost: record.vhost.clone(), app, stream };
        if !self.streams.contains_key(&key) {
            return RecordAnswer::refused("there is no such stream");
        }
        if !self.owners.is_mine(&key) {
            return RecordAnswer::refused(api::ELSEWHERE);
        }
        if self.dvr.ordered.len() >= MOST_ORDERS && !self.dvr.ordered.contains_key(&key) {
            return RecordAnswer::refused("too many streams have orders of their own");
        }
        tracing::info!("dvr of {key}: {} by an operator", if record.on { "begun" } else { "ended" });
        self.dvr.ordered.insert(key.clone(), record.on);
        self.dvr.is_new = true;
        self.review_dvr();
        let recording = self.dvr.recordings.values().any(|recording| recording.key == key);
        let error = (recording != record.on).then(|| "nobody publishes the stream now".to_owned());
        RecordAnswer { recording, error }
    }

    /// What was ordered and what was written is told to the master when it changes, for a successor of this process.
    pub(crate) fn tell_new_records(&mut self) {
        if std::mem::take(&mut self.dvr.is_new) {
            self.tell_records();
        }
    }

    pub(crate) fn tell_records(&mut self) {
        let newest = self.dvr.finished.len().saturating_sub(MOST_TOLD);
        let known = Known {
            ordered: self.dvr.ordered.iter().map(|(key, on)| (key.clone(), *on)).collect(),
            finished: self.dvr.finished.iter().skip(newest).cloned().collect(),
        };
        match rmp_serde::to_vec_named(&known) {
            Ok(state) => self.to_master.push((ipc::ChildToMaster::Remember { state }, Vec::new())),
            Err(error) => tracing::error!("orders to record can't be kept: {error}"),
        }
    }

    /// What a predecessor was ordered, and what it wrote.
    pub(crate) fn remember_records(&mut self, state: &[u8]) {
        match rmp_serde::from_slice::<Known>(state) {
            Ok(known) => {
                self.dvr.ordered.extend(known.ordered);
                self.dvr.finished.extend(known.finished);
                self.review_dvr();
            }
            Err(error) => tracing::error!("what was ordered before is lost: {error}"),
        }
    }

    /// All streams of a back-source are known: orders for others are over.
    pub(crate) fn forget_orders(&mut self, shard: u32) {
        let shards = self.config.backsources.max(1);
        let streams = &self.streams;
        let before = self.dvr.ordered.len();
        self.dvr.ordered.retain(|key, _| key.shard(shards) != shard || streams.contains_key(key));
        self.dvr.is_new |= self.dvr.ordered.len() != before;
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
                by_operator: self.dvr.ordered.get(&recording.key) == Some(&true),
                left_out: recording.left_out.names().to_vec(),
                process: process.to_owned(),
            }
        };
        report.dvr.recordings = self.dvr.recordings.values().map(told).collect();
        report.dvr.recordings.sort_by(|a, b| (&a.vhost, &a.app, &a.name).cmp(&(&b.vhost, &b.app, &b.name)));
        let newest = self.dvr.finished.len().saturating_sub(MOST_TOLD);
        let finished = self.dvr.finished.iter().skip(newest).map(|finished| api::Recorded {
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
