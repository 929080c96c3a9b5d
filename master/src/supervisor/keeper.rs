//! What the master keeps for the successors of processes that die, by kind: rings of back-sources, downloads and notes of http
//! processes. Each kind has a bound, and a replacement of what is kept always has room.

use std::collections::HashMap;
use std::os::fd::OwnedFd;

use ipc::{ChildToMaster, MasterToChild, Role, StreamInfo};

use super::child::Child;
use super::downloads::Downloads;
use super::duplicate;

/// Most rings that are kept: a back-source has far fewer before its descriptors and its memory end.
const MAX_RINGS: usize = 1 << 16;
/// Longest notes of a process, in bytes.
const MAX_NOTES: usize = 4 << 20;

/// All that is kept.
#[derive(Debug, Default)]
pub(super) struct Keeper {
    /// By stream id.
    rings: HashMap<u32, (StreamInfo, OwnedFd)>,
    downloads: Downloads,
    /// What http processes want their successors to know, by their numbers.
    notes: HashMap<u32, Vec<u8>>,
}

impl Keeper {
    /// A process says what is to be kept, or no longer. Returns whether that is its business.
    pub(super) fn take(
        &mut self,
        (role, number): (Role, u32),
        message: ChildToMaster,
        fds: Vec<OwnedFd>,
    ) -> bool {
        match (role, message) {
            (Role::BackSource, ChildToMaster::KeepRing { stream }) => self.keep_ring(stream, fds),
            (Role::BackSource, ChildToMaster::DropRing { stream_id }) => {
                self.rings.remove(&stream_id);
            }
            (Role::Http, ChildToMaster::KeepDownload { id, state }) => {
                self.downloads.keep(number, id, state, fds);
            }
            (Role::Http, ChildToMaster::DropDownload { id }) => self.downloads.forget(number, id),
            (Role::Http, ChildToMaster::Remember { state }) if state.len() <= MAX_NOTES => {
                self.notes.insert(number, state);
            }
            _ => return false,
        }
        true
    }

    fn keep_ring(&mut self, stream: StreamInfo, fds: Vec<OwnedFd>) {
        let Some(fd) = fds.into_iter().next() else { return };
        if ipc::in_reserve(&fd) {
            self.downloads.give_up();
        }
        if self.rings.len() >= MAX_RINGS && !self.rings.contains_key(&stream.stream_id) {
            tracing::error!("the ring of {} is not kept: {MAX_RINGS} are", stream.key);
            return;
        }
        self.rings.insert(stream.stream_id, (stream, fd));
    }

    /// Gives a process what its predecessors wanted to be kept, which stays here for the next one, too. Rings are given again
    /// to one that is there (`is_new`: not yet); other things only a new one can take. `shards`: of how many back-sources.
    ///
    /// # Errors
    /// When no descriptor is left for a ring.
    pub(super) fn give(&self, child: &mut Child, is_new: bool, shards: u32) -> std::io::Result<()> {
        match child.role {
            Role::BackSource => {
                for (stream, fd) in self.rings.values() {
                    if stream.key.shard(shards) == child.number {
                        child.tell(&MasterToChild::Ring { stream: stream.clone() }, vec![duplicate(fd)?]);
                    }
                }
            }
            Role::Http if is_new => {
                if let Some(state) = self.notes.get(&child.number) {
                    child.tell(&MasterToChild::Remembered { state: state.clone() }, Vec::new());
                }
                self.downloads.give(child);
            }
            _ => {}
        }
        Ok(())
    }

    /// What a process died of is not given to its successor.
    pub(super) fn forget(&mut self, role: Role, number: u32, connection: u64) {
        if role == Role::Http {
            self.downloads.forget(number, connection);
        }
    }

    /// Descriptors are needed for something that more clients depend on.
    pub(super) fn make_room(&mut self) {
        self.downloads.give_up();
    }

    /// Looks, now and then, after what nobody tells of; `is_there` says whether the http process of a number is.
    pub(super) fn look_after(&mut self, is_there: impl Fn(u32) -> bool) {
        self.downloads.look_after(is_there);
    }

    /// Streams that somebody publishes.
    pub(super) fn publishers(&self) -> usize {
        self.rings.values().filter(|(stream, _)| stream.live).count()
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use media::StreamKey;

    use super::*;

    fn ring(stream_id: u32, live: bool) -> ChildToMaster {
        let key = StreamKey { vhost: "v".into(), app: "live".into(), stream: stream_id.to_string() };
        ChildToMaster::KeepRing { stream: StreamInfo { stream_id, key, live } }
    }

    fn null() -> Vec<OwnedFd> {
        vec![File::open("/dev/null").unwrap().into()]
    }

    #[test]
    fn a_ring_is_kept_until_it_is_dropped_and_says_who_publishes() {
        let mut keeper = Keeper::default();
        let source = (Role::BackSource, 0);
        assert!(keeper.take(source, ring(1, true), null()));
        assert!(keeper.take(source, ring(2, false), null()));
        assert!(keeper.take(source, ring(3, true), Vec::new()), "without its memory it is passed over");
        assert_eq!((keeper.rings.len(), keeper.publishers()), (2, 1));
        assert!(keeper.take(source, ring(1, false), null()));
        assert_eq!((keeper.rings.len(), keeper.publishers()), (2, 0));
        assert!(keeper.take(source, ChildToMaster::DropRing { stream_id: 1 }, Vec::new()));
        assert_eq!(keeper.rings.len(), 1);
    }

    #[test]
    fn each_kind_is_the_business_of_one_role() {
        let mut keeper = Keeper::default();
        let messages: [fn() -> ChildToMaster; 5] = [
            || ring(1, true),
            || ChildToMaster::DropRing { stream_id: 1 },
            || ChildToMaster::KeepDownload { id: 1, state: Vec::new() },
            || ChildToMaster::DropDownload { id: 1 },
            || ChildToMaster::Remember { state: Vec::new() },
        ];
        for role in [Role::BackSource, Role::Stream, Role::Http, Role::Api, Role::Ingest] {
            let taken = messages.map(|message| keeper.take((role, 0), message(), null()));
            let (source, http) = (role == Role::BackSource, role == Role::Http);
            assert_eq!(taken, [source, source, http, http, http], "{role:?}");
        }
        let state = vec![0; MAX_NOTES + 1];
        assert!(!keeper.take((Role::Http, 0), ChildToMaster::Remember { state }, Vec::new()));
        assert!(!keeper.take((Role::Http, 0), ChildToMaster::Pong, Vec::new()));
    }
}
