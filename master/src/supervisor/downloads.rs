//! Downloads that go on when their http process dies: the master keeps their sockets and files for its successor.

use std::collections::HashMap;
use std::os::fd::OwnedFd;

use ipc::MasterToChild;

use super::{Supervisor, duplicate};

/// Most downloads of all http processes that are kept.
const MOST: usize = 4096;

/// A download as its process described it.
#[derive(Debug)]
struct Download {
    state: Vec<u8>,
    socket: OwnedFd,
    file: OwnedFd,
}

/// All of them: by the number of the http process, and the id of the connection.
#[derive(Debug, Default)]
pub(super) struct Downloads(HashMap<(u32, u64), Download>);

impl Downloads {
    pub(super) fn keep(&mut self, number: u32, id: u64, state: Vec<u8>, fds: Vec<OwnedFd>) {
        let mut fds = fds.into_iter();
        if let (Some(socket), Some(file), true) = (fds.next(), fds.next(), self.0.len() < MOST) {
            self.0.insert((number, id), Download { state, socket, file });
        }
    }

    pub(super) fn forget(&mut self, number: u32, id: u64) {
        self.0.remove(&(number, id));
    }
}

impl Supervisor {
    /// What a predecessor of this http process had begun. It stays here for the next one, too.
    pub(super) fn give_downloads(&mut self, slot: usize) {
        let Some(child) = self.children.get_mut(slot) else { return };
        let number = child.number;
        for ((_, id), download) in self.downloads.0.iter().filter(|((owner, _), _)| *owner == number) {
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
}
