//! Waiting for what can be seen.

use std::thread;
use std::time::{Duration, Instant};

/// How often it is looked.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// How long something that should be there soon may take on a slow, busy machine. How fast it is, benchmarks say.
pub const SOON: Duration = Duration::from_secs(60);

/// Looks until there is something.
///
/// # Panics
/// When `deadline` is over; `what` says what was missing.
pub fn wait_for<T>(what: &str, deadline: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < deadline, "{what}: not within {} ms", deadline.as_millis());
        thread::sleep(LOOK_EVERY);
    }
}

/// Looks until it is so.
///
/// # Panics
/// When [`SOON`] is over; `what` says what was missing.
pub fn wait_until(what: &str, mut look: impl FnMut() -> bool) {
    wait_for(what, SOON, || look().then_some(()));
}
