//! What to do with the children: a table of slots, and what each event means for it. Pure: time comes in, actions go out.
//!
//! A child that ends is started again: at once the first time, with growing pauses when deaths follow each other, and
//! slowly (but for ever) when they exceed the restart intensity. Children that are killed from outside count only when
//! many of them had hardly begun. A child that ends with [`DO_NOT_RESPAWN`] stays down.

use std::collections::VecDeque;

use ipc::Role;

/// Exit code of a child that must not be started again: its own configuration is at fault.
pub const DO_NOT_RESPAWN: i32 = 78;

/// Deaths within this time count together, ms.
const WINDOW_MS: u64 = 10_000;
/// More deaths than this within the window degrade the slot to slow retries.
const INTENSITY: usize = 5;
/// Pauses before the second, third, … start within the window, ms.
const PAUSES_MS: [u64; INTENSITY] = [0, 50, 100, 250, 500];
/// A child that is killed sooner than this had hardly begun, ms.
const EARLY_MS: u64 = 250;
/// So many of them within the window are started again at once; more are treated as if they died by themselves.
const EARLY_KILLS: usize = 100;
/// Pause of a degraded slot, ms.
const DEGRADED_MS: u64 = 3_000;
/// How long children may take to end when they are asked to, ms.
const STOP_MS: u64 = 5_000;

/// State of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It runs.
    Up,
    /// It is to be started at this time, ms.
    Down {
        /// When.
        again_ms: u64,
    },
    /// It stays down.
    Out,
    /// Nobody belongs here; the place may be taken.
    Free,
}

/// A place for a child.
#[derive(Debug, Clone)]
pub struct Slot {
    /// What the child is for.
    pub role: Role,
    /// Its number among those of its role.
    pub number: u32,
    /// How often it was started again.
    pub restarts: u32,
    /// State.
    pub state: State,
    /// It is to be there; otherwise it is not started again.
    pub wanted: bool,
    started_ms: u64,
    /// Early deaths by somebody else's hand, when they were.
    kills: VecDeque<u64>,
    deaths: VecDeque<u64>,
}

impl Slot {
    fn new(role: Role, number: u32) -> Self {
        let state = State::Down { again_ms: 0 };
        Self {
            role,
            number,
            restarts: 0,
            state,
            wanted: true,
            started_ms: 0,
            kills: VecDeque::new(),
            deaths: VecDeque::new(),
        }
    }
}

/// Something happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The child in this slot ended.
    Ended {
        /// Index of the slot.
        slot: usize,
        /// Exit code, if it was not a signal.
        code: Option<i32>,
        /// By SIGKILL: somebody else's doing, not a fault of the child.
        killed: bool,
    },
    /// The child in this slot could not be started.
    NotStarted {
        /// Index of the slot.
        slot: usize,
    },
    /// The whole is to end.
    Stop,
    /// Time has passed.
    Tick,
}

/// Something is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Start the child in this slot.
    Start(usize),
    /// Ask it to end.
    AskToEnd(usize),
    /// End it with SIGKILL.
    Kill(usize),
    /// Say that this slot dies too often.
    Degraded(usize),
    /// All are down: exit.
    Exit,
}

/// The table.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    slots: Vec<Slot>,
    stop_until_ms: Option<u64>,
}

impl Plan {
    /// A plan for these children; none runs yet.
    #[must_use]
    pub fn new(children: impl IntoIterator<Item = (Role, u32)>) -> Self {
        let slots = children.into_iter().map(|(role, number)| Slot::new(role, number)).collect();
        Self { slots, stop_until_ms: None }
    }

    /// A plan that goes on where another stood: role, number, restarts, state and whether it is wanted, of each slot.
    #[must_use]
    pub fn resume(slots: impl IntoIterator<Item = (Role, u32, u32, State, bool)>) -> Self {
        let slots = slots
            .into_iter()
            .map(|(role, number, restarts, state, wanted)| Slot {
                restarts,
                state,
                wanted,
                ..Slot::new(role, number)
            })
            .collect();
        Self { slots, stop_until_ms: None }
    }

    /// A place for one more child, which is started with the next event.
    pub fn add(&mut self, role: Role, number: u32) -> usize {
        let slot = Slot::new(role, number);
        match self.slots.iter().position(|slot| slot.state == State::Free) {
            Some(index) => {
                if let Some(place) = self.slots.get_mut(index) {
                    *place = slot;
                }
                index
            }
            None => {
                self.slots.push(slot);
                self.slots.len() - 1
            }
        }
    }

    /// This child is not wanted any more: its place is free when it has ended.
    pub fn retire(&mut self, index: usize) {
        if let Some(slot) = self.slots.get_mut(index) {
            slot.wanted = false;
            if slot.state != State::Up {
                slot.state = State::Free;
            }
        }
    }

    /// The table.
    #[must_use]
    pub fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// Whether the whole is ending.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.stop_until_ms.is_some()
    }

    /// When [`Event::Tick`] is due, ms.
    #[must_use]
    pub fn next_deadline(&self) -> Option<u64> {
        let starts = self.slots.iter().filter_map(|slot| match slot.state {
            State::Down { again_ms } if self.stop_until_ms.is_none() => Some(again_ms),
            _ => None,
        });
        starts.chain(self.stop_until_ms).min()
    }

    /// What an event means.
    pub fn handle(&mut self, now_ms: u64, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        match event {
            Event::Ended { slot, code, killed } => {
                if let Some(slot) =
                    self.slots.get_mut(slot).filter(|slot| slot.state == State::Up && slot.wanted)
                {
                    slot.restarts += u32::from(code != Some(DO_NOT_RESPAWN));
                }
                self.ended(now_ms, slot, code, killed, &mut actions);
            }
            Event::NotStarted { slot } => self.ended(now_ms, slot, None, false, &mut actions),
            Event::Stop => {
                if self.stop_until_ms.is_none() {
                    self.stop_until_ms = Some(now_ms + STOP_MS);
                    actions.extend(self.up().map(Action::AskToEnd));
                }
            }
            Event::Tick => {}
        }
        if let Some(until) = self.stop_until_ms {
            if self.up().next().is_none() {
                actions.push(Action::Exit);
            } else if now_ms >= until {
                self.stop_until_ms = Some(now_ms + STOP_MS);
                actions.extend(self.up().map(Action::Kill));
            }
            return actions;
        }
        for (index, slot) in self.slots.iter_mut().enumerate() {
            if let State::Down { again_ms } = slot.state
                && again_ms <= now_ms
            {
                slot.state = State::Up;
                slot.started_ms = now_ms;
                actions.push(Action::Start(index));
            }
        }
        actions
    }

    fn up(&self) -> impl Iterator<Item = usize> {
        self.slots.iter().enumerate().filter(|(_, slot)| slot.state == State::Up).map(|(index, _)| index)
    }

    fn ended(
        &mut self,
        now_ms: u64,
        index: usize,
        code: Option<i32>,
        killed: bool,
        actions: &mut Vec<Action>,
    ) {
        let Some(slot) = self.slots.get_mut(index) else { return };
        if slot.state != State::Up {
            return;
        }
        if !slot.wanted {
            slot.state = State::Free;
            return;
        }
        if code == Some(DO_NOT_RESPAWN) {
            slot.state = State::Out;
            return;
        }
        slot.deaths.retain(|at| now_ms.saturating_sub(*at) < WINDOW_MS);
        if killed {
            // A child that serves well between such deaths is started at once however many there are.
            slot.kills.retain(|at| now_ms.saturating_sub(*at) < WINDOW_MS);
            if now_ms.saturating_sub(slot.started_ms) < EARLY_MS {
                slot.kills.push_back(now_ms);
            }
            if slot.kills.len() <= EARLY_KILLS {
                slot.state = State::Down { again_ms: now_ms };
                return;
            }
        }
        let pause = PAUSES_MS.get(slot.deaths.len()).copied();
        slot.deaths.push_back(now_ms);
        slot.state = State::Down { again_ms: now_ms + pause.unwrap_or(DEGRADED_MS) };
        if pause.is_none() {
            actions.push(Action::Degraded(index));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Plan {
        let mut plan = Plan::new([(Role::BackSource, 0), (Role::Stream, 0)]);
        assert_eq!(plan.handle(0, Event::Tick), [Action::Start(0), Action::Start(1)]);
        plan
    }

    #[test]
    fn a_child_that_dies_is_started_at_once() {
        let mut plan = plan();
        assert_eq!(plan.handle(10, Event::Ended { slot: 1, code: None, killed: false }), [Action::Start(1)]);
        assert_eq!(plan.slots()[1].restarts, 1);
    }

    #[test]
    fn deaths_in_a_row_are_answered_more_and_more_slowly_but_for_ever() {
        let mut plan = plan();
        let mut now = 0;
        let mut pauses = Vec::new();
        for _ in 0..12 {
            let mut actions = plan.handle(now, Event::Ended { slot: 1, code: Some(1), killed: false });
            let died = now;
            while !actions.contains(&Action::Start(1)) {
                now = plan.next_deadline().unwrap();
                actions = plan.handle(now, Event::Tick);
            }
            pauses.push(now - died);
        }
        assert_eq!(pauses[..6], [0, 50, 100, 250, 500, 3000]);
        assert!(pauses.iter().all(|pause| *pause <= 3000));
        // After a quiet time it is as new.
        assert_eq!(
            plan.handle(now + 60_000, Event::Ended { slot: 1, code: None, killed: false }),
            [Action::Start(1)]
        );
    }

    #[test]
    fn who_is_killed_from_outside_is_started_at_once_unless_it_had_hardly_begun() {
        let mut plan = plan();
        let mut now = 0;
        let killed = Event::Ended { slot: 1, code: None, killed: true };
        for _ in 0..100 {
            now += EARLY_MS;
            assert_eq!(plan.handle(now, killed), [Action::Start(1)]);
        }
        // Killed as soon as it begins: at once for a while, then slowly, never in a busy loop.
        for _ in 0..EARLY_KILLS {
            assert_eq!(plan.handle(now, killed), [Action::Start(1)]);
        }
        let degraded = (0..=INTENSITY).any(|_| {
            let actions = plan.handle(now, killed);
            now = plan.next_deadline().unwrap_or(now);
            plan.handle(now, Event::Tick);
            actions.contains(&Action::Degraded(1))
        });
        assert!(degraded);
    }

    #[test]
    fn a_start_that_fails_is_no_restart() {
        let mut plan = plan();
        let mut now = 10;
        plan.handle(now, Event::Ended { slot: 1, code: None, killed: true });
        for _ in 0..4 {
            plan.handle(now, Event::NotStarted { slot: 1 });
            now = plan.next_deadline().unwrap_or(now);
            plan.handle(now, Event::Tick);
        }
        assert_eq!(plan.slots()[1].restarts, 1);
    }

    #[test]
    fn a_child_may_ask_not_to_be_started() {
        let mut plan = plan();
        assert!(
            plan.handle(10, Event::Ended { slot: 0, code: Some(DO_NOT_RESPAWN), killed: false }).is_empty()
        );
        assert_eq!(plan.next_deadline(), None);
    }

    #[test]
    fn a_retired_child_is_not_started_again_and_its_place_is_taken_by_the_next() {
        let mut plan = plan();
        plan.retire(1);
        assert!(plan.handle(10, Event::Ended { slot: 1, code: Some(0), killed: false }).is_empty());
        assert_eq!(plan.slots()[1].state, State::Free);
        assert_eq!(plan.add(Role::Ingest, 4), 1);
        assert_eq!(plan.handle(20, Event::Tick), [Action::Start(1)]);
        assert_eq!(plan.add(Role::Stream, 1), 2);
        assert_eq!(plan.handle(30, Event::Tick), [Action::Start(2)]);
    }

    #[test]
    fn stopping_asks_then_kills_and_starts_nobody() {
        let mut plan = plan();
        assert_eq!(plan.handle(10, Event::Stop), [Action::AskToEnd(0), Action::AskToEnd(1)]);
        assert!(plan.handle(20, Event::Ended { slot: 0, code: Some(0), killed: false }).is_empty());
        let until = plan.next_deadline().unwrap();
        assert_eq!(plan.handle(until, Event::Tick), [Action::Kill(1)]);
        assert_eq!(
            plan.handle(until + 1, Event::Ended { slot: 1, code: None, killed: false }),
            [Action::Exit]
        );
    }
}
