//! Streams with HLS that nobody publishes and a former process had.

use std::sync::Arc;

use media::StreamKey;

use super::Web;

impl Web {
    /// Goes on with the lists that a former process left, once it is known which.
    pub(crate) fn go_on_with_rested(&mut self) {
        if std::mem::take(&mut self.hls.rested.are_due) {
            let config = Arc::clone(&self.config);
            for key in self.hls.unclaimed() {
                match config.vhost(&key.vhost) {
                    conf::Lookup::Found(vhost) if vhost.hls.enabled && self.owners.is_mine(&key) => {
                        self.hls.look_for(key, &vhost.hls, vhost.atc);
                    }
                    _ => {}
                }
            }
        }
        for left in std::mem::take(&mut self.hls.rested.found) {
            let feed = self.resting_feed(&left.stream.key);
            // Somebody may have begun to publish it meanwhile.
            if !self.hls.streams.contains_key(&feed) && self.hls.adopt(feed, left, self.now_ms) {
                if let Some(known) = self.feeds.get_mut(feed) {
                    known.pinned = true;
                }
            } else {
                self.unpin(feed);
            }
        }
    }

    /// The feed of a stream; one that is new is read when somebody publishes the stream.
    fn resting_feed(&mut self, key: &StreamKey) -> usize {
        if let Some(feed) = self.feed_of.get(key) {
            return *feed;
        }
        let feed = self.insert_feed(key, 0);
        if let Some(known) = self.feeds.get_mut(feed) {
            known.set_live(false, self.now_ms);
        }
        feed
    }
}
