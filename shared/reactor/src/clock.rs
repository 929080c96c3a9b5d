//! The monotonic clock: the same for all processes of a machine, so that a time written by one can be read by another.

use nix::time::{ClockId, clock_gettime};

/// Monotonic time in ns.
#[must_use]
pub fn now_ns() -> u64 {
    read(ClockId::CLOCK_MONOTONIC)
}

/// Processor time that the calling thread has used, ns.
pub(crate) fn used_ns() -> u64 {
    read(ClockId::CLOCK_THREAD_CPUTIME_ID)
}

fn read(clock: ClockId) -> u64 {
    let Ok(time) = clock_gettime(clock) else { return 0 };
    let seconds = u64::try_from(time.tv_sec()).unwrap_or(0);
    seconds.wrapping_mul(1_000_000_000).wrapping_add(u64::try_from(time.tv_nsec()).unwrap_or(0))
}

/// Monotonic time in ms.
#[must_use]
pub fn now_ms() -> u64 {
    now_ns() / 1_000_000
}
