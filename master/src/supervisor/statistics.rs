//! The scoreboard, and the rates that follow from it.

use ipc::{ProcessInfo, Role};
use mediaring::{Counter, Scoreboard};

use super::child::Child;
use super::children::Children;

/// What is counted.
#[derive(Debug)]
pub(super) struct Statistics {
    pub(super) board: Scoreboard,
    observer: child::Observer,
}

impl Statistics {
    pub(super) fn new(board: Scoreboard) -> Self {
        Self { board, observer: child::Observer::default() }
    }

    /// When [`Self::observe`] is due, monotonic ms.
    pub(super) fn deadline(&self) -> u64 {
        self.observer.deadline()
    }

    /// Notes what is needed for rates.
    pub(super) fn observe(&mut self, list: impl FnOnce() -> Vec<ProcessInfo>) {
        if reactor::now_ms() >= self.observer.deadline() {
            self.observer.look(&list(), &self.board);
        }
    }

    /// Processes as operators see them, and what they count together.
    pub(super) fn describe(&self, list: &[ProcessInfo]) -> (Vec<api::Process>, api::Totals) {
        self.observer.describe(list, &self.board)
    }

    /// How long a child has shown no sign of life, ms. What another process could have written on the scoreboard is not enough to
    /// end one: it is asked, too.
    pub(super) fn silent_ms(&self, slot: usize, child: &Child) -> u64 {
        let now_ms = reactor::now_ms();
        let beat = self.board.last_beat(slot).min(now_ms);
        let heard = child.signs.watched_from_ms.max(child.signs.heard_ms);
        now_ms.saturating_sub(beat.max(heard))
    }

    /// Where nobody is who serves clients, there are none, whatever was written there. Those who serve them say how many.
    pub(super) fn clear_empty(&self, children: &Children) {
        for slot in 0..mediaring::SLOTS {
            let serves = children.get(slot).is_some_and(|child| {
                child.is_up() && matches!(child.role, Role::BackSource | Role::Stream | Role::Http)
            });
            if !serves {
                self.board.set(slot, Counter::Connections, 0);
            }
        }
    }
}
