//! How often this process is woken for a stream: at once while there is time for it, and for what nobody watches live, or when
//! the loop has a lot to do, so that several packets are sent together.

use conf::vhost::MwLatency;

use super::server::Web;

/// Longest time that packets are gathered for viewers, ms.
const MAX_GATHER_MS: u64 = 350;
/// Wake-ups for segments and recordings alone, ms.
const UNWATCHED_MS: u64 = 200;
/// Share of a processor from which on packets are gathered for longer, and below which for less long.
const BUSY: f64 = 0.6;
const FREE: f64 = 0.3;
/// By so much with each look, ms.
const STEP_MS: u64 = 60;

impl Web {
    /// Adapts to how much of a processor this loop uses.
    pub(crate) fn adapt_gathering(&mut self, busy: f64) {
        if busy > BUSY {
            self.gather_ms = (self.gather_ms + STEP_MS).min(MAX_GATHER_MS);
        } else if busy < FREE {
            self.gather_ms = self.gather_ms.saturating_sub(STEP_MS);
        }
        let feeds: Vec<usize> = self.feeds.iter().map(|(feed, _)| feed).collect();
        feeds.into_iter().for_each(|feed| self.set_pace(feed));
    }

    /// Tells the writer of a stream how often to wake us, where that has changed.
    pub(crate) fn set_pace(&mut self, feed: usize) {
        let Some(feed) = self.feeds.get_mut(feed) else { return };
        let latency = match self.config.vhost(&feed.key.vhost) {
            conf::Lookup::Found(vhost) => vhost.mw_latency,
            _ => MwLatency::Auto,
        };
        let ms = match latency {
            _ if !feed.is_watched() => UNWATCHED_MS,
            MwLatency::Fixed(ms) => ms.min(MAX_GATHER_MS * 10),
            MwLatency::Auto => self.gather_ms,
        };
        let ms = u32::try_from(ms).unwrap_or(0);
        if feed.pace_ms != Some(ms) {
            feed.pace_ms = Some(ms);
            self.links.pace(&feed.key, ms);
        }
    }
}
