//! The processes that read one stream's ring, and when each is woken.

/// Longest time between two wake-ups that a reader can ask for, ms.
const MAX_PACE_MS: u64 = 5_000;

/// A process that reads a stream's ring.
#[derive(Debug, Clone, Copy)]
struct Subscription {
    /// Key among the readers.
    reader: usize,
    /// It wants to be woken at most once in so many ms.
    pace_ms: u64,
    woken_ms: u64,
    /// Position of the ring's head when it was woken.
    woken_at: u64,
    /// It is to be woken when its time has come.
    pending: bool,
}

/// Whom to wake of a stream's readers.
#[derive(Debug, Default)]
pub(crate) struct Wakes {
    /// Now.
    pub(crate) now: Vec<usize>,
    /// When somebody is due later, ms; only for what was not said before.
    pub(crate) later_ms: Option<u64>,
}

/// All readers of one stream.
#[derive(Debug, Default)]
pub(crate) struct Subscribers(Vec<Subscription>);

impl Subscribers {
    /// A process reads from now on. `false` when it did already.
    pub(crate) fn add(&mut self, reader: usize) -> bool {
        if self.0.iter().any(|known| known.reader == reader) {
            return false;
        }
        self.0.push(Subscription { reader, pace_ms: 0, woken_ms: 0, woken_at: 0, pending: false });
        true
    }

    pub(crate) fn remove(&mut self, reader: usize) {
        self.0.retain(|known| known.reader != reader);
    }

    /// A reader gathers packets for so long, ms.
    pub(crate) fn set_pace(&mut self, reader: usize, ms: u32) {
        if let Some(known) = self.0.iter_mut().find(|known| known.reader == reader) {
            known.pace_ms = u64::from(ms).min(MAX_PACE_MS);
        }
    }

    /// For how long each gathers, ms.
    pub(crate) fn paces(&self) -> impl Iterator<Item = u64> {
        self.0.iter().map(|known| known.pace_ms)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Their keys.
    pub(crate) fn iter(&self) -> impl Iterator<Item = usize> {
        self.0.iter().map(|known| known.reader)
    }

    /// Whom to wake: the ring has advanced (`is_new`), or a time that was said has come. Those who gather are woken when
    /// their time has come, or early when a quarter of the ring, `quarter` bytes, has been written since. `rests_ms` is what
    /// rests of the loop add: together with it nobody waits longer than was asked for. `head` is the ring's position.
    pub(crate) fn wakes(
        &mut self,
        now_ms: u64,
        is_new: bool,
        rests_ms: u64,
        (head, quarter): (u64, u64),
    ) -> Wakes {
        let mut wakes = Wakes::default();
        for reader in &mut self.0 {
            let due_ms = reader.woken_ms + reader.pace_ms.saturating_sub(rests_ms);
            let waits = is_new || reader.pending;
            if waits && (due_ms <= now_ms || head.saturating_sub(reader.woken_at) > quarter) {
                (reader.woken_ms, reader.woken_at, reader.pending) = (now_ms, head, false);
                wakes.now.push(reader.reader);
            } else if is_new && !reader.pending {
                reader.pending = true;
                wakes.later_ms = Some(wakes.later_ms.map_or(due_ms, |known: u64| known.min(due_ms)));
            } else if reader.pending && !is_new {
                wakes.later_ms = Some(wakes.later_ms.map_or(due_ms, |known: u64| known.min(due_ms)));
            }
        }
        wakes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_gathers_is_woken_when_its_time_has_come_or_the_ring_fills() {
        let mut readers = Subscribers::default();
        assert!(readers.add(1) && readers.add(2) && !readers.add(2));
        readers.set_pace(2, 350);
        assert_eq!(readers.wakes(1000, true, 0, (1_000, 10_000)).now, [1, 2]);
        let wakes = readers.wakes(1040, true, 0, (2_000, 10_000));
        assert_eq!((wakes.now, wakes.later_ms), (vec![1], Some(1350)));
        assert_eq!(readers.wakes(1080, true, 0, (3_000, 10_000)).later_ms, None, "said once");
        assert_eq!(readers.wakes(1350, false, 0, (3_000, 10_000)).now, [2]);
        assert_eq!(
            readers.wakes(1400, true, 0, (14_000, 10_000)).now,
            [1, 2],
            "a quarter of the ring is there"
        );
        // What rests of the loop add is taken off.
        assert_eq!(readers.wakes(1410, true, 50, (15_000, 10_000)).later_ms, Some(1700));
        assert_eq!(readers.wakes(1700, false, 50, (15_000, 10_000)).now, [2]);
    }
}
