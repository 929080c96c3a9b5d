//! What the master is to be told with the end of a turn.

use std::os::fd::OwnedFd;

use ipc::ChildToMaster;

/// What the master is to be told.
#[derive(Debug, Default)]
pub(crate) struct ToMaster {
    messages: Vec<(ChildToMaster, Vec<OwnedFd>)>,
    /// Links that are there (`Some`: whether rings are read over it) or have ended.
    links: Vec<(u64, Option<bool>)>,
    /// Downloads that the master keeps.
    pub(crate) kept_downloads: usize,
}

impl ToMaster {
    /// A message, with its descriptors.
    pub(crate) fn push(&mut self, message: ChildToMaster, fds: Vec<OwnedFd>) {
        self.messages.push((message, fds));
    }

    /// What a successor of this process is to know of recordings.
    pub(crate) fn remember(&mut self, notes: Option<Vec<u8>>) {
        if let Some(state) = notes {
            self.push(ChildToMaster::Remember { state }, Vec::new());
        }
    }

    /// A link is there (`Some`: whether rings are read over it), or has ended.
    pub(crate) fn link(&mut self, number: u64, reads: Option<bool>) {
        self.links.push((number, reads));
    }

    pub(crate) fn take_messages(&mut self) -> Vec<(ChildToMaster, Vec<OwnedFd>)> {
        std::mem::take(&mut self.messages)
    }

    pub(crate) fn take_links(&mut self) -> Vec<(u64, Option<bool>)> {
        std::mem::take(&mut self.links)
    }
}
