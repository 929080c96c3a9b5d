//! Children that come to a living master: the channel to it has broken, though both live. They are taken back as they are, and
//! given again what may have been lost with the channel.

use std::os::fd::AsRawFd;

use ipc::{Channel, ChildToMaster, Hello, MasterToChild, Rendezvous};
use reactor::{Reactor, Token};

use super::FIRST_CHILD;
use super::child::Child;
use super::processes::Processes;

/// Token of the rendezvous, and of all who have come there and not yet said who they are.
pub(super) const RENDEZVOUS_TOKEN: usize = 32;
pub(super) const STRANGER_TOKEN: usize = 33;
/// How long somebody may take to say who it is, ms.
const PATIENCE_MS: u64 = 3_000;
/// Most that may take their time with that.
const MAX_STRANGERS: usize = 256;

/// Somebody who has not yet said who it is.
#[derive(Debug)]
struct Stranger {
    pid: u32,
    channel: Channel,
    until_ms: u64,
}

/// Those who have come to the rendezvous and not yet said who they are.
#[derive(Debug, Default)]
pub(super) struct Strangers(Vec<Stranger>);

impl Strangers {
    /// When the next one has had its time, monotonic ms.
    pub(super) fn deadline(&self) -> Option<u64> {
        self.0.iter().map(|stranger| stranger.until_ms).min()
    }

    /// Who has had its time without a word is let go.
    pub(super) fn forget_silent(&mut self, now_ms: u64) {
        self.0.retain(|stranger| stranger.until_ms > now_ms);
    }

    /// Takes who has come, as far as there is room.
    fn accept(&mut self, rendezvous: &Rendezvous, reactor: &Reactor) {
        let until_ms = reactor::now_ms() + PATIENCE_MS;
        while let Some((socket, pid)) = rendezvous.accept() {
            let watched = reactor.register(socket.as_raw_fd(), Token(STRANGER_TOKEN));
            if self.0.len() < MAX_STRANGERS && watched.is_ok() {
                self.0.push(Stranger { pid, channel: Channel::new(socket), until_ms });
            }
        }
    }

    /// Those who have said by now who they are. Who says something else is let go.
    fn take_known(&mut self) -> Vec<(Hello, Channel)> {
        let mut known = Vec::new();
        for mut stranger in std::mem::take(&mut self.0) {
            match stranger.channel.receive::<ChildToMaster>() {
                Ok(Some((ChildToMaster::Hello(hello), _))) if hello.pid == stranger.pid => {
                    known.push((hello, stranger.channel));
                }
                Ok(None) if stranger.until_ms > reactor::now_ms() => self.0.push(stranger),
                Ok(_) | Err(_) => {}
            }
        }
        known
    }
}

impl Processes {
    /// Somebody came to the rendezvous, or says who it is.
    pub(super) fn receive_strangers(&mut self) {
        if let Some(rendezvous) = &self.family.rendezvous {
            self.family.strangers.accept(rendezvous, &self.reactor);
        }
        for (hello, channel) in self.family.strangers.take_known() {
            self.reunite(&hello, channel);
        }
    }

    fn reunite(&mut self, hello: &Hello, mut channel: Channel) {
        let is_it = |child: &Child| child.is_alive() && child.last_pid() == hello.pid;
        let Some(slot) = self.children.iter().position(is_it) else {
            tracing::error!("pid {} ({}) belongs to nobody here: ended", hello.pid, hello.role.name());
            let _ = channel.send(&MasterToChild::Stop, Vec::new());
            // What it is told stays readable when this end is closed.
            return;
        };
        // What it said over the former channel comes before what it says now.
        self.read_last(slot);
        let _ = self.reactor.deregister(channel.as_raw_fd());
        if let Err(error) = self.reactor.register(channel.as_raw_fd(), Token(FIRST_CHILD + slot)) {
            return tracing::error!("a child that has come back can't be watched: {error}");
        }
        let Some(child) = self.children.get_mut(slot) else { return };
        tracing::warn!("{} (pid {}) has lost its channel and comes again", child.name(), hello.pid);
        child.take_back(channel);
        self.links.compare(slot, &hello.links);
        child.configure_again(&self.configuration, hello.generation);
        self.give_again(slot);
        self.read_child(slot);
        self.family.lineage.has_changed();
    }

    /// Gives a child all again that belongs to it; what it has already it leaves.
    fn give_again(&mut self, slot: usize) {
        if let Some(child) = self.children.get_mut(slot) {
            child.gives_again();
        }
        self.links.look_again();
        if let Err(error) = self.give_all(slot) {
            self.give_again_later(slot, &error);
        }
        self.tell_processes();
    }

    /// Something could not be given for want of descriptors.
    pub(super) fn give_again_later(&mut self, slot: usize, why: &dyn std::fmt::Display) {
        let may_say = self.children.may_complain();
        if let Some(child) = self.children.get_mut(slot) {
            if may_say {
                tracing::warn!("{} does not get all that belongs to it, tried again: {why}", child.name());
            }
            child.give_again_soon();
        }
    }

    /// What a child wanted to be kept came without its descriptors.
    pub(super) fn keep_again_later(&mut self, slot: usize) {
        let may_say = self.children.may_complain();
        if let Some(child) = self.children.get_mut(slot) {
            if may_say {
                tracing::warn!(
                    "no descriptor is left for what {} wants to be kept: asked again",
                    child.name()
                );
            }
            child.keep_again_soon();
        }
    }

    /// When [`Self::mend_children`] is due, monotonic ms.
    pub(super) fn mend_deadline(&self) -> Option<u64> {
        self.children.iter().filter_map(Child::mend_deadline).chain(self.family.strangers.deadline()).min()
    }

    /// Gives and asks again for what found no room; ends children that have lost their channel and do not come.
    pub(super) fn mend_children(&mut self) {
        let now_ms = reactor::now_ms();
        self.family.strangers.forget_silent(now_ms);
        for slot in self.children.slots() {
            if self.children.get_mut(slot).is_some_and(|child| child.mend(now_ms)) {
                self.give_again(slot);
            }
        }
    }
}
