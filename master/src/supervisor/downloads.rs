//! Downloads that go on when their http process dies: the master keeps their sockets and files for its successor.

use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};

use ipc::MasterToChild;
use nix::sys::resource::{Resource, getrlimit};

use super::child::Child;
use super::duplicate;

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
        let most = getrlimit(Resource::RLIMIT_NOFILE)
            .map_or(MOST, |(soft, _)| usize::try_from(soft / SHARE / 2).unwrap_or(MOST).min(MOST));
        self.keep_within(most, (number, id), state, fds);
    }

    /// As [`Self::keep`], with this bound. What replaces a download that is kept has its place.
    fn keep_within(&mut self, most: usize, key: (u32, u64), state: Vec<u8>, fds: Vec<OwnedFd>) {
        let mut fds = fds.into_iter();
        let (Some(mut socket), Some(mut file)) = (fds.next(), fds.next()) else { return };
        // What a successor would go on from is the newest state or none.
        let is_replaced = self.kept.remove(&key).is_some();
        if is_replaced
            && ipc::in_reserve(&file)
            && let (Ok(lower_socket), Ok(lower_file)) = (duplicate(&socket), duplicate(&file))
        {
            // Those of the former state are free now, and not in the reserve.
            (socket, file) = (lower_socket, lower_file);
        }
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
        self.kept.insert(key, Download { state, socket, file });
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

    /// Tells an http process what its predecessors had begun.
    pub(super) fn give(&self, child: &mut Child) {
        let number = child.number;
        for ((_, id), download) in self.kept.iter().filter(|((owner, _), _)| *owner == number) {
            if let (Ok(socket), Ok(file)) = (duplicate(&download.socket), duplicate(&download.file)) {
                let message = MasterToChild::Download { id: *id, state: download.state.clone() };
                child.tell(&message, vec![socket, file]);
            }
        }
    }

    /// Of a process that is not there nobody tells that a client has left: the kernel is asked.
    pub(super) fn look_after(&mut self, is_there: impl Fn(u32) -> bool) {
        let now_ms = reactor::now_ms();
        if now_ms.saturating_sub(self.looked_ms) < LOOK_MS {
            return;
        }
        self.looked_ms = now_ms;
        self.kept.retain(|(number, _), download| {
            is_there(*number) || matches!(ipc::bytes_sent(download.socket.as_fd()), Ok(Some(_)))
        });
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn a_replacement_has_its_place_where_nothing_more_is_kept() {
        let mut downloads = Downloads::default();
        let null = || vec![File::open("/dev/null").unwrap().into(), File::open("/dev/null").unwrap().into()];
        downloads.keep_within(2, (0, 1), vec![1], null());
        downloads.keep_within(2, (0, 2), vec![2], null());
        downloads.keep_within(2, (0, 3), vec![3], null());
        downloads.keep_within(2, (0, 1), vec![11], null());
        let mut kept: Vec<_> =
            downloads.kept.iter().map(|(key, download)| (*key, download.state.clone())).collect();
        kept.sort();
        assert_eq!(kept, [((0, 1), vec![11]), ((0, 2), vec![2])]);
        assert_eq!(downloads.refused, 1);
    }
}
