//! Recordings as operators see and order them.

use api::{Record, RecordAnswer};
use conf::vhost::DvrPlan;
use media::StreamKey;

use super::recording::Recording;
use crate::http::web::Web;

/// Finished files that are told.
const MOST_TOLD: usize = 100;
/// Orders that are kept.
const MOST_ORDERS: usize = 10_000;

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
        self.review_dvr();
        let recording = self.dvr.recordings.values().any(|recording| recording.key == key);
        let error = (recording != record.on).then(|| "nobody publishes the stream now".to_owned());
        RecordAnswer { recording, error }
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
