//! All children: the table of their places, and what is told to several of them.

use std::collections::BTreeSet;

use api::State;
use conf::Config;
use ipc::{MasterToChild, ProcessInfo, Role};

use super::child::{Child, Received};
use super::configuration::{IngestName, ingest, workers};
use super::lineage::Lineage;
use crate::plan::{Plan, Slot, State as SlotState};
use crate::spawn::{Ending, Running};

/// Most messages of one child that are read in one turn: nobody who talks without end holds up the others.
const TURN_MESSAGES: usize = 256;
/// So many turns are read at once of a channel that brings nothing more: beyond what the kernel holds for it.
pub(super) const LAST_TURNS: usize = 16;
/// Least time between two lines about descriptors that are missing, ms.
const COMPLAIN_MS: u64 = 5_000;

/// The children, by slot.
#[derive(Debug)]
pub(super) struct Children {
    places: Vec<Child>,
    /// What to do with them; as many slots as places.
    pub(super) plan: Plan,
    /// Those who have said more than a turn reads.
    unread: BTreeSet<usize>,
    /// Processes that have ended but for a thread that hangs in the kernel.
    corpses: Vec<Running>,
    /// When it was last said that descriptors are missing, monotonic ms.
    complained_ms: u64,
    /// A graceful end: nobody is taken any more.
    pub(super) take_nobody: bool,
}

impl Children {
    /// Of the places of a plan.
    pub(super) fn new(plan: Plan, places: Vec<Child>) -> Self {
        Self {
            places,
            plan,
            unread: BTreeSet::new(),
            corpses: Vec::new(),
            complained_ms: 0,
            take_nobody: false,
        }
    }

    /// Of these roles and numbers, and ingests; none runs yet.
    pub(super) fn of(processes: &[(Role, u32)], ingests: Vec<IngestName>) -> Self {
        let places = processes.iter().map(|(role, number)| Child::new(*role, *number, None));
        let ingests = (0..).zip(ingests).map(|(number, name)| Child::new(Role::Ingest, number, Some(name)));
        let places: Vec<Child> = places.chain(ingests).collect();
        Self::new(Plan::new(places.iter().map(|child| (child.role, child.number))), places)
    }

    pub(super) fn get(&self, slot: usize) -> Option<&Child> {
        self.places.get(slot)
    }

    pub(super) fn get_mut(&mut self, slot: usize) -> Option<&mut Child> {
        self.places.get_mut(slot)
    }

    /// All slots.
    pub(super) fn slots(&self) -> std::ops::Range<usize> {
        0..self.places.len()
    }

    pub(super) fn iter(&self) -> std::slice::Iter<'_, Child> {
        self.places.iter()
    }

    pub(super) fn iter_mut(&mut self) -> std::slice::IterMut<'_, Child> {
        self.places.iter_mut()
    }

    /// The places with what is planned for each.
    pub(super) fn planned(&self) -> impl Iterator<Item = (&Child, &Slot)> {
        self.places.iter().zip(self.plan.slots())
    }

    /// Those of these roles.
    pub(super) fn of_roles<'c>(&'c mut self, roles: &'c [Role]) -> impl Iterator<Item = &'c mut Child> {
        self.places.iter_mut().filter(|child| roles.contains(&child.role))
    }

    /// How many places are somebody's.
    pub(super) fn taken(&self) -> usize {
        self.plan.slots().iter().filter(|slot| slot.state != SlotState::Free).count()
    }

    /// One child more; it is started with this turn.
    pub(super) fn add(&mut self, role: Role, number: u32, ingest: Option<IngestName>) {
        let slot = self.plan.add(role, number);
        let child = Child::new(role, number, ingest);
        match self.places.get_mut(slot) {
            Some(place) => *place = child,
            None => self.places.push(child),
        }
    }

    /// A child that is not wanted any more gets this order; its place is free when it has ended.
    pub(super) fn retire(&mut self, slot: usize, order: &MasterToChild) {
        self.plan.retire(slot);
        if let Some(child) = self.places.get_mut(slot) {
            child.draining = true;
            child.tell(order, Vec::new());
        }
    }

    /// A child has ended; when its place is nobody's now, no ingest belongs there.
    pub(super) fn free_place(&mut self, slot: usize) {
        if self.plan.slots().get(slot).is_some_and(|slot| slot.state == SlotState::Free)
            && let Some(child) = self.places.get_mut(slot)
        {
            child.ingest = None;
        }
    }

    fn is_wanted(&self, slot: usize) -> bool {
        self.plan.slots().get(slot).is_some_and(|slot| slot.wanted)
    }

    /// As many stream processes as the configuration asks for: those beyond that take nobody more, new ones are added.
    pub(super) fn fit_stream_processes(&mut self, config: &Config) {
        let workers = workers(config);
        let mut there = BTreeSet::new();
        for slot in self.slots() {
            let is_free =
                self.plan.slots().get(slot).is_none_or(|slot| !slot.wanted || slot.state == SlotState::Free);
            let Some(child) = self.places.get(slot).filter(|child| child.role == Role::Stream) else {
                continue;
            };
            if is_free || child.draining {
                continue;
            }
            if child.number < workers {
                there.insert(child.number);
            } else {
                self.retire(slot, &MasterToChild::Drain);
            }
        }
        for number in (0..workers).filter(|number| !there.contains(number)) {
            self.add(Role::Stream, number, None);
        }
    }

    /// Ingests that have gone or read otherwise are ended, others begun.
    pub(super) fn fit_ingests(&mut self, old: &Config, new: &Config, wanted: Vec<IngestName>) {
        let mut missing = wanted;
        for slot in self.slots() {
            let name = self.places.get(slot).and_then(|child| child.ingest.clone());
            let Some(name) = name.filter(|_| self.is_wanted(slot)) else { continue };
            let same = ingest(old, &name) == ingest(new, &name) && old.first_port() == new.first_port();
            match missing.iter().position(|known| *known == name) {
                Some(at) if same => drop(missing.swap_remove(at)),
                _ => self.retire(slot, &MasterToChild::Stop),
            }
        }
        for name in missing {
            let taken = |number| {
                let mut its = self.places.iter().filter(|child| child.role == Role::Ingest && child.is_up());
                its.any(|child| child.number == number)
            };
            let number = (0..u32::MAX).find(|number| !taken(*number)).unwrap_or(0);
            self.add(Role::Ingest, number, Some(name));
        }
    }

    /// The child that accepts meanwhile from the sockets of another one of its role.
    pub(super) fn substitute(&mut self, slot: usize, role: Role) -> Option<&mut Child> {
        let mut others = self.places.iter_mut().enumerate().filter(|(at, _)| *at != slot);
        others
            .find(|(_, child)| child.role == role && child.is_ready() && !child.draining)
            .map(|(_, child)| child)
    }

    /// What a child says next, within what a turn reads of it (`read`: how much that was).
    pub(super) fn receive(&mut self, slot: usize, read: usize, lost: &mut bool) -> Received {
        if read >= TURN_MESSAGES {
            self.unread.insert(slot);
            return Received::Nothing;
        }
        self.places.get_mut(slot).map_or(Received::Nothing, |child| child.receive(lost))
    }

    /// Whether somebody has said more than a turn reads.
    pub(super) fn has_unread(&self) -> bool {
        !self.unread.is_empty()
    }

    /// Those who have said more than a turn reads, to be read.
    pub(super) fn take_unread(&mut self) -> BTreeSet<usize> {
        std::mem::take(&mut self.unread)
    }

    /// Whether this one has said more than a turn reads.
    pub(super) fn take_unread_of(&mut self, slot: usize) -> bool {
        self.unread.remove(&slot)
    }

    /// The child in this slot, when it has ended.
    pub(super) fn ended(&mut self, slot: usize) -> Option<Ending> {
        self.places.get_mut(slot)?.ended()
    }

    /// The slots of processes of which a part hangs in the kernel: each is none any more, and a successor takes its place.
    pub(super) fn bury(&mut self) -> Vec<usize> {
        self.corpses.retain_mut(|corpse| corpse.ended().is_none());
        let mut free = Vec::new();
        for (slot, child) in self.places.iter_mut().enumerate() {
            let Some(corpse) = child.take_corpse() else { continue };
            tracing::error!("pid {} was killed, and hangs in the kernel: it is not waited for", corpse.pid());
            self.corpses.push(corpse);
            free.push(slot);
        }
        free
    }

    /// Whether another line about descriptors that are missing is due.
    pub(super) fn may_complain(&mut self) -> bool {
        let now_ms = reactor::now_ms();
        let is_due = now_ms.saturating_sub(self.complained_ms) >= COMPLAIN_MS;
        if is_due {
            self.complained_ms = now_ms;
        }
        is_due
    }

    /// All processes, and the places of those that are down.
    pub(super) fn process_list(&self, lineage: &Lineage, generation: u64) -> Vec<ProcessInfo> {
        let mut list = vec![lineage.describe(generation, self.take_nobody)];
        for (index, (child, slot)) in self.planned().enumerate() {
            let state = match slot.state {
                SlotState::Free => continue,
                SlotState::Out => State::Out,
                _ if !child.is_alive() => State::Dead,
                _ if child.draining || (self.take_nobody && child.role == Role::Stream) => State::Draining,
                _ if child.is_ready() => State::Serving,
                _ => State::Starting,
            };
            list.push(ProcessInfo {
                role: child.role,
                number: child.number,
                pid: child.last_pid(),
                restarts: slot.restarts,
                private_api_port: child.port(),
                board_slot: u32::try_from(index).ok(),
                generation: child.generation,
                state,
                started_ms: child.started_ms,
                last_end: child.last_end.clone(),
            });
        }
        list
    }
}
