//! What children say, and what they are given.

use std::os::fd::OwnedFd;

use ipc::{ChildToMaster, MasterToChild, ProcessInfo, Role};

use super::child::Received;
use super::children::LAST_TURNS;
use super::processes::Processes;
use super::{legacy, listening, watch};
use crate::plan::Event;
use crate::spawn::Ending;

impl Processes {
    /// Starts the child of a slot and gives it all it needs.
    pub(super) fn start(&mut self, slot: usize) {
        let Err(error) = self.try_start(slot) else { return };
        let Some(child) = self.children.get_mut(slot) else { return };
        tracing::error!("{} can't be started: {error}", child.name());
        if child.is_alive() {
            // It is there, and knows only half: its end is worked off like any other's.
            child.kill();
            return;
        }
        child.clear();
        if error.raw_os_error().is_some_and(|code| [nix::libc::EMFILE, nix::libc::ENFILE].contains(&code)) {
            self.keeper.make_room();
        }
        self.listening.lend(&mut self.children, slot);
        self.handle(Event::NotStarted { slot });
    }

    fn try_start(&mut self, slot: usize) -> std::io::Result<()> {
        let Some(child) = self.children.get_mut(slot) else { return Ok(()) };
        let board = &self.statistics.board;
        self.launcher.start((slot, child), &self.configuration, board, &self.reactor)?;
        reactor::crash_point("started");
        if let Err(error) = self.give_all(slot) {
            // It is there, and gets the rest when there is room.
            self.give_again_later(slot, &error);
        }
        reactor::crash_point("connected-one");
        // The links to the others, and what the next master must know, follow with the end of this turn.
        self.links.look_again();
        self.children_changed();
        Ok(())
    }

    /// All that belongs to a child beside its links. Given again it changes nothing: what the child has it leaves.
    pub(super) fn give_all(&mut self, slot: usize) -> std::io::Result<()> {
        let Some(child) = self.children.get_mut(slot) else { return Ok(()) };
        if matches!(child.role, Role::Stream | Role::Http) {
            self.watch.tell_refused(child);
        }
        self.listening.give(child, &[])?;
        listening::take_back(&mut self.children, slot);
        let Some(child) = self.children.get_mut(slot) else { return Ok(()) };
        if matches!(child.role, Role::Api | Role::Http) {
            self.reloads.tell_last(child);
        }
        let is_new = child.state_told == 0 && !child.is_ready();
        // Before it learns which streams there are.
        self.keeper.give(child, is_new, self.configuration.in_force().backsources)
    }

    /// Who is there, or in which state, is another than it was: those who show it are told at once, and the children with the end
    /// of this turn, for a master that comes after us.
    pub(super) fn children_changed(&mut self) {
        self.tell_processes();
        self.family.lineage.has_changed();
    }

    /// All processes as operators see them.
    pub(super) fn process_list(&self) -> Vec<ProcessInfo> {
        self.children.process_list(&self.family.lineage, self.configuration.generation())
    }

    /// Tells the processes that show it who is there.
    pub(super) fn tell_processes(&mut self) {
        let list = self.process_list();
        for child in self.children.of_roles(&[Role::Api, Role::Http]) {
            child.tell(&MasterToChild::Processes(list.clone()), Vec::new());
        }
    }

    /// Tells the children what the next master must know.
    pub(super) fn tell_state(&mut self) {
        if self.family.rendezvous.is_some() {
            let (lineage, spawned) = (&self.family.lineage, self.launcher.spawned);
            legacy::tell(&mut self.children, &self.configuration, lineage, spawned);
        }
    }

    /// Reads what a child says, up to the turn's bound. Returns whether its channel has ended.
    pub(super) fn read_child(&mut self, slot: usize) -> bool {
        for read in 0.. {
            let mut lost = false;
            let received = self.children.receive(slot, read, &mut lost);
            if lost {
                self.keep_again_later(slot);
            }
            match received {
                Received::Message(message, fds) => self.child_says(slot, message, fds),
                Received::Unknown => {}
                Received::Nothing => return false,
                Received::Ended => return true,
            }
        }
        false
    }

    /// Reads all that a child has said over a channel that brings nothing more: its last words may be many.
    pub(super) fn read_last(&mut self, slot: usize) {
        for _ in 0..LAST_TURNS {
            self.read_child(slot);
            if !self.children.take_unread_of(slot) {
                return;
            }
        }
    }

    /// Goes on with what former turns have left unread.
    pub(super) fn read_rest(&mut self) {
        for slot in self.children.take_unread() {
            self.read_child(slot);
        }
    }

    fn child_says(&mut self, slot: usize, message: ChildToMaster, fds: Vec<OwnedFd>) {
        let Some(child) = self.children.get_mut(slot) else { return };
        match message {
            ChildToMaster::Ready { private_api_port } => {
                child.serves(private_api_port);
                self.tell_processes();
            }
            ChildToMaster::Applied { generation } => self.reloads.applied(slot, child, generation),
            ChildToMaster::Previewed { id, touched, all } => {
                self.previews.answer((slot, child), id, touched, all);
            }
            ChildToMaster::Pong => {}
            // Known here already.
            ChildToMaster::Listening { .. } if self.served => {}
            ChildToMaster::Listening { addresses } => {
                child.listening = addresses.into_iter().zip(fds).collect();
            }
            ChildToMaster::LinkDown { link } => self.links.ended(link, reactor::now_ms()),
            ChildToMaster::GiveAgain => child.give_again_soon(),
            ChildToMaster::NotUnderstood { what } => child.does_not_understand(&what),
            message @ (ChildToMaster::KeepRing { .. }
            | ChildToMaster::DropRing { .. }
            | ChildToMaster::KeepDownload { .. }
            | ChildToMaster::DropDownload { .. }
            | ChildToMaster::Remember { .. }) => {
                if !self.keeper.take((child.role, child.number), message, fds) {
                    child.end_for_nonsense();
                }
            }
            ChildToMaster::Hello(_) => child.end_for_nonsense(),
        }
    }

    /// The log files were renamed: new ones everywhere.
    pub(super) fn reopen_logs(&mut self) {
        crate::logging::reopen();
        self.children.iter_mut().for_each(|child| child.tell(&MasterToChild::ReopenLog, Vec::new()));
        tracing::info!("the log is open again");
    }

    /// A process has ended.
    pub(super) fn has_ended(&mut self, slot: usize, ending: Ending) {
        // Its last words may be a ring that its successor needs.
        self.read_last(slot);
        let is_stopping = self.children.plan.is_stopping();
        let Some(child) = self.children.get_mut(slot) else { return };
        child.clear();
        child.last_end = Some((ending.to_string(), child.last_pid(), reactor::now_ms()));
        if child.draining {
            tracing::info!("{} (pid {}) has ended: its last client has left", child.name(), child.last_pid());
        } else if !is_stopping {
            tracing::error!("{} (pid {}) has ended by {ending}", child.name(), child.last_pid());
        }
        if let Some(ip) = self.watch.post_mortem(child, ending, &mut self.keeper) {
            watch::refuse(&mut self.children, ip);
        }
        reactor::crash_point("reaped");
        self.statistics.board.release(slot);
        self.links.forget(slot);
        self.reloads.not_waited_for(slot);
        let killed = ending.signal == Some(nix::sys::signal::Signal::SIGKILL as i32);
        self.handle(Event::Ended { slot, code: ending.code, killed });
        self.children.free_place(slot);
        self.children_changed();
    }
}
