//! Taking over the children of a master that died. What has changed in the configuration since is then an ordinary reload.

use std::os::fd::AsRawFd;

use ipc::Role;
use mediaring::Scoreboard;
use reactor::{Reactor, Token};

use super::child::Child;
use super::children::Children;
use super::configuration::{Configuration, Loader};
use super::family::Family;
use super::legacy::Known;
use super::lineage::Lineage;
use super::listening::Listening;
use super::processes::Processes;
use super::survivors::{PATIENCE_MS, Survivor, Survivors, seat};
use super::{FIRST_CHILD, FIRST_PIDFD, StartError, os};
use crate::plan::{Plan, State as SlotState};
use crate::spawn::Spawner;

/// What is planned for a place: of a master that died it is known whether somebody belongs there, and here whether it lives.
fn planned(known: &Known, is_there: bool) -> (Role, u32, u32, SlotState, bool) {
    let state = match (is_there, known.free) {
        (true, _) => SlotState::Up,
        (false, false) if !known.draining => SlotState::Down { again_ms: 0 },
        _ => SlotState::Free,
    };
    (known.role, known.number, known.restarts, state, !known.draining && !known.free)
}

/// Puts a survivor into its place, and watches it.
fn take(reactor: &Reactor, slot: usize, child: &mut Child, survivor: Survivor) -> Result<(), StartError> {
    let Survivor { hello, channel, adopted, work } = survivor;
    child.work = work;
    child.generation = hello.generation;
    let watched = reactor
        .register_readable(adopted.as_raw_fd(), Token(FIRST_PIDFD + slot))
        .and_then(|()| reactor.register(channel.as_raw_fd(), Token(FIRST_CHILD + slot)));
    watched.map_err(os("a child can't be watched"))?;
    child.take_over(adopted, channel);
    Ok(())
}

impl Processes {
    /// Takes over the children of a master that died.
    pub(super) fn adopt(
        survivors: Survivors,
        mut family: Family,
        (spawner, loader): (Spawner, Loader),
        reactor: Reactor,
    ) -> Result<Self, StartError> {
        let Survivors { legacy, board, came } = survivors;
        family.lineage = Lineage::after(&legacy);
        let mut table = legacy.children;
        let seats = seat(&mut table, came);
        let board = match board {
            Some(board) => Scoreboard::open(board)?,
            None => Scoreboard::create()?,
        };
        let plan = Plan::resume(table.iter().zip(&seats).map(|(known, seat)| planned(known, seat.is_some())));
        let places = table.iter().map(|known| {
            let mut child = Child::new(known.role, known.number, known.ingest.clone());
            child.draining = known.draining;
            child.last_end.clone_from(&known.last_end);
            child
        });
        let children = Children::new(plan, places.collect());
        let configuration = Configuration::new(legacy.asked, legacy.config, legacy.generation, loader);
        let mut processes = Self::with(configuration, family, spawner, (children, board), reactor)?;
        processes.launcher.spawned = legacy.spawned;
        let (mut unfinished, mut links) = (Vec::new(), Vec::new());
        for (slot, seat) in seats.into_iter().enumerate() {
            let Some(survivor) = seat else { continue };
            if survivor.hello.state.is_empty() {
                unfinished.push(slot);
            }
            links.extend(survivor.hello.links.iter().map(|end| (slot, *end)));
            if let Some(child) = processes.children.get_mut(slot) {
                take(&processes.reactor, slot, child, survivor)?;
            }
        }
        processes.links.restore(links);
        processes.wait_for_adopted();
        // The sockets that children brought, and new ones where nobody did.
        let configuration = &processes.configuration;
        let brought = processes.children.iter().as_slice();
        processes.listening = Listening::restore(configuration.asked(), configuration.in_force(), brought)?;
        for slot in processes.children.slots() {
            processes.complete_adopted(slot, unfinished.contains(&slot));
        }
        let count = processes.children.iter().filter(|child| child.is_ready()).count();
        let generation = processes.configuration.generation();
        tracing::info!("{count} processes go on under this master, generation {generation}");
        processes.children_changed();
        // The file may say something else by now.
        processes.reloads.ask(None);
        Ok(processes)
    }

    /// Gives a child what it has not got of a master that died meanwhile.
    fn complete_adopted(&mut self, slot: usize, unfinished: bool) {
        let Some(child) = self.children.get_mut(slot).filter(|child| child.is_up()) else { return };
        self.launcher.tell_keys(child);
        let known = child.generation;
        child.configure_again(&self.configuration, known);
        let is_beyond = child.role == Role::Stream && child.number >= self.configuration.workers();
        if child.draining || is_beyond {
            return;
        }
        let given = if unfinished { self.give_all(slot) } else { self.listening.give(child, &[]) };
        if let Err(error) = given {
            self.give_again_later(slot, &error);
        }
    }

    /// Until each has told what it keeps.
    fn wait_for_adopted(&mut self) {
        let until_ms = reactor::now_ms() + PATIENCE_MS;
        let waits = |child: &mut Child| child.is_up() && !child.is_ready() && child.ended().is_none();
        while self.children.iter_mut().any(waits) && reactor::now_ms() < until_ms {
            for slot in self.children.slots() {
                let _ = self.read_child(slot);
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    }
}
