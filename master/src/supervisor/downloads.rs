//! Downloads that go on when their http process dies: the master keeps their sockets and files for its successor.

use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};

use ipc::{MasterToChild, Role};
use nix::sys::resource::{Resource, getrlimit};

use super::{Supervisor, duplicate};

/// Most downloads of all http processes that are kept.
const MOST: usize = 4096;
/// They may use up this part of the master's descriptors, two each: rings and starts of processes come first.
const SHARE: u64 = 4;
/// How often it is looked whether the clients of a process that is not there are, ms.
const LOOK_MS: u64 = 5_000;
/// Least time between two lines about downloads that are not kept, ms.
const COMPLAIN_MS: u64 = 60_000;

/// A download as its process described it.
#[derive(Debug)]
struct Download {
    state: Vec<u8>,
    socket: OwnedFd,
    file: OwnedFd,
}

/// All of them: by the number of the http process, and the id of the connection.
#[derive(Debug, Default)]
pub(super) struct Downloads {
    kept: HashMap<(u32, u64), Download>,
    looked_ms: u64,
    complained_ms: u64,
    refused: u64,
}

impl Downloads {
    pub(super) fn keep(&mut self, number: u32, id: u64, state: Vec<u8>, fds: Vec<OwnedFd>) {
        let mut fds = fds.into_iter();
        let (Some(socket), Some(file)) = (fds.next(), fds.next()) else { return };
        let most = getrlimit(Resource::RLIMIT_NOFILE)
            .map_or(MOST, |(soft, _)| usize::try_from(soft / SHARE / 2).unwrap_or(MOST).min(MOST));
        // What a successor would go on from is the newest state or none.
        self.kept.remove(&(number, id));
        if self.kept.len() >= most || ipc::in_reserve(&file) {
            self.refused += 1;
            let now_ms = reactor::now_ms();
            if now_ms.saturating_sub(self.complained_ms) >= COMPLAIN_MS {
                self.complained_ms = now_ms;
                tracing::warn!(
                    "no descriptors are left to keep more than {} downloads: {} so far would end with their process; \
                     raise `ulimit -n`",
                    self.kept.len(),
                    self.refused
                );
            }
            return;
        }
        self.kept.insert((number, id), Download { state, socket, file });
    }

    pub(super) fn forget(&mut self, number: u32, id: u64) {
        self.kept.remove(&(number, id));
    }

    /// Gives all up: something that more clients depend on needs the descriptors.
    pub(super) fn give_up(&mut self) {
        if !self.kept.is_empty() {
            tracing::warn!("{} downloads are kept no more, for want of descriptors", self.kept.len());
            self.kept.clear();
        }
    }
}

impl Supervisor {
    /// What a predecessor of this http process had begun. It stays here for the next one, too.
    pub(super) fn give_downloads(&mut self, slot: usize) {
        let Some(child) = self.children.get_mut(slot) else { return };
        let number = child.number;
        for ((_, id), download) in self.downloads.kept.iter().filter(|((owner, _), _)| *owner == number) {
            if let (Ok(socket), Ok(file)) = (duplicate(&download.socket), duplicate(&download.file)) {
                let message = MasterToChild::Download { id: *id, state: download.state.clone() };
                child.tell(&message, vec![socket, file]);
            }
        }
    }

    /// What a process died of is not given to its successor.
    pub(super) fn forget_download_of(&mut self, slot: usize, connection: u64) {
        if let Some(child) = self.children.get(slot) {
            self.downloads.forget(child.number, connection);
        }
    }

    /// Of a process that is not there nobody tells that a client has left: the kernel is asked.
    pub(super) fn look_after_downloads(&mut self) {
        let now_ms = reactor::now_ms();
        if now_ms.saturating_sub(self.downloads.looked_ms) < LOOK_MS {
            return;
        }
        self.downloads.looked_ms = now_ms;
        let children = &self.children;
        let is_there = |number: u32| {
            children
                .iter()
                .any(|child| child.role == Role::Http && child.number == number && child.is_alive())
        };
        self.downloads.kept.retain(|(number, _), download| {
            is_there(*number) || matches!(ipc::bytes_sent(download.socket.as_fd()), Ok(Some(_)))
        });
    }
}
