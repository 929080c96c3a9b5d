//! The clocks: monotonic nanoseconds for everything, and the way to them from the kernel's receive timestamps, which are
//! wall time.

use nix::time::{ClockId, clock_gettime};

fn read(clock: ClockId) -> u64 {
    let Ok(time) = clock_gettime(clock) else { return 0 };
    let seconds = u64::try_from(time.tv_sec()).unwrap_or(0);
    seconds * 1_000_000_000 + u64::try_from(time.tv_nsec()).unwrap_or(0)
}

/// Nanoseconds of `CLOCK_MONOTONIC`: the same in all processes of a machine.
#[must_use]
pub fn now_ns() -> u64 {
    read(ClockId::CLOCK_MONOTONIC)
}

/// Milliseconds of the same clock.
#[must_use]
pub fn now_ms() -> u64 {
    now_ns() / 1_000_000
}

/// What to take away from a wall time to get monotonic time, ns. Measured anew for each window: wall time may be set.
#[must_use]
pub fn wall_offset_ns() -> u64 {
    let before = read(ClockId::CLOCK_MONOTONIC);
    let wall = read(ClockId::CLOCK_REALTIME);
    let after = read(ClockId::CLOCK_MONOTONIC);
    wall.saturating_sub(before / 2 + after / 2)
}
