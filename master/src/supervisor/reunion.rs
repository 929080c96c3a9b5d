//! Children that come to a living master: the channel to it has broken, though both live. They are taken back as they are, and
//! given again what may have been lost with the channel.

use std::os::fd::AsRawFd;

use ipc::{Channel, ChildToMaster, Hello, MasterToChild};
use reactor::Token;

use super::{FIRST_CHILD, Supervisor};

/// Token of the rendezvous, and of all who have come there and not yet said who they are.
pub(super) const RENDEZVOUS_TOKEN: usize = 32;
pub(super) const STRANGER_TOKEN: usize = 33;
/// How long somebody may take to say who it is, and a child that has lost its channel to come, ms.
const PATIENCE_MS: u64 = 3_000;
/// Most that may take their time with that.
const MAX_STRANGERS: usize = 256;
/// Least time between two lines about descriptors that are missing, ms.
const COMPLAIN_MS: u64 = 5_000;
/// When what found no room is given or asked for again, ms.
const AGAIN_MS: u64 = 100;

/// Somebody who has not yet said who it is.
#[derive(Debug)]
pub(super) struct Stranger {
    pid: u32,
    channel: Channel,
    until_ms: u64,
}

impl Supervisor {
    /// Somebody came to the rendezvous, or says who it is.
    pub(super) fn receive_strangers(&mut self) {
        let until_ms = reactor::now_ms() + PATIENCE_MS;
        while let Some((socket, pid)) = self.family.rendezvous.as_ref().and_then(ipc::Rendezvous::accept) {
            let watched = self.reactor.register(socket.as_raw_fd(), Token(STRANGER_TOKEN));
            if self.family.strangers.len() < MAX_STRANGERS && watched.is_ok() {
                self.family.strangers.push(Stranger { pid, channel: Channel::new(socket), until_ms });
            }
        }
        for mut stranger in std::mem::take(&mut self.family.strangers) {
            match stranger.channel.receive::<ChildToMaster>() {
                Ok(Some((ChildToMaster::Hello(hello), _))) if hello.pid == stranger.pid => {
                    self.reunite(&hello, stranger.channel);
                }
                Ok(None) if stranger.until_ms > reactor::now_ms() => self.family.strangers.push(stranger),
                Ok(_) | Err(_) => {}
            }
        }
    }

    fn reunite(&mut self, hello: &Hello, mut channel: Channel) {
        let is_it = |child: &super::Child| child.is_alive() && child.last_pid() == hello.pid;
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
        self.configure_again(slot, hello.generation);
        self.give_again(slot);
        self.read_child(slot);
        self.save();
    }

    /// Tells a child the configuration in force, when it does not go by it.
    pub(super) fn configure_again(&mut self, slot: usize, known: u64) {
        let generation = self.generation;
        if let Some(child) = self.children.get_mut(slot).filter(|child| child.role != ipc::Role::Ingest)
            && known != generation
        {
            let config = Self::config_for(child.role, &self.config);
            child.tell(&MasterToChild::Configure { generation, config }, Vec::new());
        }
    }

    /// Gives a child all again that belongs to it; what it has already it leaves.
    pub(super) fn give_again(&mut self, slot: usize) {
        if let Some(child) = self.children.get_mut(slot) {
            child.give_again_ms = None;
        }
        self.links.look_again();
        if let Err(error) = self.give_all(slot) {
            self.give_again_later(slot, &error);
        }
        self.tell_processes();
    }

    /// Something could not be given for want of descriptors.
    pub(super) fn give_again_later(&mut self, slot: usize, why: &dyn std::fmt::Display) {
        let may_say = self.may_complain();
        if let Some(child) = self.children.get_mut(slot) {
            if may_say {
                tracing::warn!("{} does not get all that belongs to it, tried again: {why}", child.name());
            }
            child.give_again_ms = Some(reactor::now_ms() + AGAIN_MS);
        }
    }

    /// Whether another line about descriptors that are missing is due.
    fn may_complain(&mut self) -> bool {
        let now_ms = reactor::now_ms();
        let is_due = now_ms.saturating_sub(self.short_ms) >= COMPLAIN_MS;
        if is_due {
            self.short_ms = now_ms;
        }
        is_due
    }

    /// A child wants to be given again what has found no room in it.
    pub(super) fn wants_again(&mut self, slot: usize) {
        if let Some(child) = self.children.get_mut(slot) {
            child.give_again_ms.get_or_insert_with(|| reactor::now_ms() + AGAIN_MS);
        }
    }

    /// When [`Self::mend_children`] is due, monotonic ms.
    pub(super) fn mend_deadline(&self) -> Option<u64> {
        let own = self.children.iter().flat_map(|child| {
            let lost = child.lost_ms.map(|lost_ms| lost_ms + PATIENCE_MS);
            [lost, child.give_again_ms, child.keep_again_ms]
        });
        own.flatten().chain(self.family.strangers.iter().map(|stranger| stranger.until_ms)).min()
    }

    /// Gives and asks again for what found no room; ends children that have lost their channel and do not come.
    pub(super) fn mend_children(&mut self) {
        let now_ms = reactor::now_ms();
        self.family.strangers.retain(|stranger| stranger.until_ms > now_ms);
        for slot in 0..self.children.len() {
            let Some(child) = self.children.get_mut(slot) else { continue };
            if child.lost_ms.is_some_and(|lost_ms| now_ms >= lost_ms + PATIENCE_MS) && child.is_alive() {
                tracing::error!("{} has lost its channel and does not come again: killed", child.name());
                child.lost_ms = Some(now_ms);
                child.kill();
            }
            if child.keep_again_ms.is_some_and(|at_ms| now_ms >= at_ms) {
                child.keep_again_ms = None;
                child.tell(&MasterToChild::KeepAgain, Vec::new());
            }
            if child.give_again_ms.is_some_and(|at_ms| now_ms >= at_ms) {
                self.give_again(slot);
            }
        }
    }

    /// What a child wanted to be kept came without its descriptors.
    pub(super) fn keep_again_later(&mut self, slot: usize) {
        let may_say = self.may_complain();
        if let Some(child) = self.children.get_mut(slot) {
            if may_say {
                tracing::warn!(
                    "no descriptor is left for what {} wants to be kept: asked again",
                    child.name()
                );
            }
            child.keep_again_ms.get_or_insert_with(|| reactor::now_ms() + AGAIN_MS);
        }
    }
}
