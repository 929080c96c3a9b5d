//! Streams that somebody wants who is no viewer: recordings, and what they and HLS leave.

use std::sync::Arc;

use media::StreamKey;

use super::server::{Web, unix_ms};
use crate::outputs::dvr;

impl Web {
    /// Streams that should be recorded are, others no longer.
    pub(crate) fn review_dvr(&mut self) {
        let config = Arc::clone(&self.config);
        self.dvr.repair(&config, &self.hls.disk);
        let unwanted: Vec<usize> = self
            .dvr
            .recordings
            .iter()
            .filter(|(_, recording)| {
                let ordered = self.dvr.ordered.get(&recording.key).copied();
                dvr::wanted(&config, &recording.key, ordered) != Some(&recording.config)
            })
            .map(|(feed, _)| *feed)
            .collect();
        for feed in unwanted {
            self.dvr.end(feed, &mut self.hls.disk);
            self.unpin(feed);
        }
        let live: Vec<StreamKey> =
            self.streams.iter().filter(|(_, live)| **live).map(|(key, _)| key.clone()).collect();
        for key in live {
            if !self.owners.is_mine(&key) {
                continue;
            }
            let ordered = self.dvr.ordered.get(&key).copied();
            let Some(wanted) = dvr::wanted(&config, &key, ordered) else { continue };
            let feed = self.feed(&key, 0);
            if let Some(known) = self.feeds.get_mut(feed) {
                known.pinned = true;
                known.set_live(true, self.now_ms);
            }
            if self.dvr.begin(feed, &key, wanted)
                && let Some(known) = self.feeds.get(feed)
            {
                let (dvr, disk, now) = (&mut self.dvr, &mut self.hls.disk, (unix_ms(), self.now_ms));
                known.catch_up(&mut |event, lineup| dvr.take(feed, event, lineup, now, disk));
            }
        }
    }

    /// Somebody who is no viewer wants a stream no longer.
    pub(crate) fn unpin(&mut self, feed: usize) {
        let wanted = self.hls.streams.contains_key(&feed) || self.dvr.recordings.contains_key(&feed);
        if let Some(known) = self.feeds.get_mut(feed) {
            known.pinned = wanted || known.is_kept();
        }
        self.forget_unwanted(feed);
    }

    /// Of a stream that nobody publishes no sound is kept.
    pub(crate) fn end_kept(&mut self, feed: usize) {
        if let Some(known) = self.feeds.get_mut(feed) {
            known.keep(false);
        }
    }
}
