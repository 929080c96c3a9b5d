//! How long packets are gathered for viewers before one send (`mw_latency`).

use conf::vhost::MwLatency;

/// Largest time that packets are gathered for a viewer, ms.
const MAX_GATHER_MS: u64 = 350;

/// `mw_latency auto`: at once while the loop is mostly idle, more the busier it is.
#[derive(Debug, Default)]
pub(crate) struct Gathering {
    auto_ms: u64,
}

impl Gathering {
    /// Follows the load of the loop, as a share of its time; to be called with each tick.
    pub(crate) fn adapt(&mut self, busy: f64) {
        self.auto_ms = if busy > 0.6 {
            (self.auto_ms + 30).min(MAX_GATHER_MS)
        } else if busy > 0.3 {
            (self.auto_ms + 5).min(MAX_GATHER_MS)
        } else if busy < 0.2 {
            self.auto_ms.saturating_sub(10)
        } else {
            self.auto_ms
        };
    }

    /// How long packets are gathered now, ms.
    pub(crate) fn ms(&self, latency: MwLatency) -> u64 {
        match latency {
            MwLatency::Fixed(ms) => ms.min(MAX_GATHER_MS * 10),
            MwLatency::Auto => self.auto_ms,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gathering_follows_the_load_between_its_bounds() {
        let mut gathering = Gathering::default();
        assert_eq!((gathering.ms(MwLatency::Auto), gathering.ms(MwLatency::Fixed(9_000))), (0, 3_500));
        (0..20).for_each(|_| gathering.adapt(0.9));
        assert_eq!(gathering.ms(MwLatency::Auto), MAX_GATHER_MS);
        gathering.adapt(0.25);
        assert_eq!(gathering.ms(MwLatency::Auto), MAX_GATHER_MS, "neither busy nor idle");
        (0..40).for_each(|_| gathering.adapt(0.0));
        assert_eq!(gathering.ms(MwLatency::Auto), 0);
    }
}
