//! The clock of RTMP messages, made continuous.

/// Reads times of 32 bits, which wrap every 49.7 days, as ms that go on. Each is taken to be the one nearest to what was followed
/// last, so that a message may lie before it.
///
/// ```
/// let mut clock = media::WireClock::default();
/// assert_eq!(clock.read(0xffff_fff0), 0xffff_fff0);
/// clock.follow(0xffff_fff0);
/// assert_eq!(clock.read(0x10), 0x1_0000_0010);
/// assert_eq!(clock.read(0xffff_ff00), 0xffff_ff00, "before it");
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WireClock {
    /// The last time that was followed, ms.
    last_ms: Option<i64>,
}

impl WireClock {
    /// A time of the wire, in ms.
    #[must_use]
    pub fn read(&self, wire_ms: u32) -> i64 {
        let Some(last_ms) = self.last_ms else { return i64::from(wire_ms) };
        let last_wire = u32::try_from(last_ms & 0xffff_ffff).unwrap_or(0);
        last_ms + i64::from(wire_ms.wrapping_sub(last_wire).cast_signed())
    }

    /// The publisher's clock stands there, ms, as [`Self::read`] gave it. To be called for pictures and sounds only: what lies
    /// beside them (headers, metadata) may have any time, 0 for instance, and says nothing of the clock.
    pub fn follow(&mut self, at_ms: i64) {
        self.last_ms = Some(at_ms);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_goes_on_over_its_wraps_in_both_directions() {
        let mut clock = WireClock::default();
        let mut at_ms = 0x8000_0000_i64;
        for step_ms in [0, 0x7000_0000, 0x7000_0000, 0x7000_0000, -0x7000_0000, -0x7000_0000] {
            at_ms += step_ms;
            let wire = u32::try_from(at_ms & 0xffff_ffff).unwrap();
            assert_eq!(clock.read(wire), at_ms);
            clock.follow(at_ms);
        }
    }

    #[test]
    fn what_lies_beside_does_not_move_the_clock() {
        let mut clock = WireClock::default();
        clock.follow(0x7fff_fff0);
        // Metadata at 0 in the middle of a stream: whatever it is read as, the next picture is where it belongs.
        let _ = clock.read(0);
        assert_eq!(clock.read(0x8000_0010), 0x8000_0010);
    }
}
