//! Times of transport streams.

use std::ops::{Add, Mul, Sub};

/// Ticks of 90 kHz on a line that does not wrap; what is written has the lowest 33 bits (ISO/IEC 13818-1, 2.4.3.7). Where the
/// line ends it stands still.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Ticks(i64);

impl Ticks {
    /// None.
    pub const ZERO: Self = Self(0);
    /// The least step.
    pub const ONE: Self = Self(1);

    /// So many milliseconds.
    ///
    /// ```
    /// assert_eq!(ts::Ticks::of_ms(1000).count(), 90_000);
    /// ```
    #[must_use]
    pub const fn of_ms(ms: i64) -> Self {
        Self(ms.saturating_mul(90))
    }

    /// So many ticks.
    #[must_use]
    pub const fn new(count: i64) -> Self {
        Self(count)
    }

    /// How many there are.
    #[must_use]
    pub const fn count(self) -> i64 {
        self.0
    }

    /// As it is written: 33 bits.
    #[must_use]
    pub const fn wrapped(self) -> u64 {
        self.0.rem_euclid(1 << 33).cast_unsigned()
    }
}

impl Add for Ticks {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl Sub for Ticks {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl Mul<i64> for Ticks {
    type Output = Self;

    fn mul(self, times: i64) -> Self {
        Self(self.0.saturating_mul(times))
    }
}
