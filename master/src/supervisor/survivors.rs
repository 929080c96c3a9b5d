//! The children of a master that died: they go on, and come to the next master's rendezvous by themselves. Each says who it is, and
//! holds the last state that its master told. So nothing depends on a file; who lives is asked of the kernel
//! (`relatives`), and who does not come is ended.

use std::os::fd::OwnedFd;

use ipc::{Channel, ChildToMaster, Hello};
use mediaring::WorkRecord;

use super::adopted::Adopted;
use super::family::Family;
use super::legacy::{Known, Legacy};
use crate::relatives::began;

/// How long children may take to find a new master, ms. They look every 20 ms at first, every 100 ms later.
pub(super) const PATIENCE_MS: u64 = 3_000;

/// A child that has come.
#[derive(Debug)]
pub(super) struct Survivor {
    pub(super) hello: Hello,
    pub(super) channel: Channel,
    pub(super) adopted: Adopted,
    pub(super) work: Option<WorkRecord>,
}

/// The children of a master that died, and what it told them.
#[derive(Debug)]
pub(super) struct Survivors {
    pub(super) legacy: Legacy,
    pub(super) board: Option<OwnedFd>,
    pub(super) came: Vec<Survivor>,
}

/// Waits until all that a former master has left have come, or ended, or the time is over; who does not come is ended. `None`
/// when nobody is left who knows anything.
pub(super) fn gather(family: &Family) -> Option<Survivors> {
    let rendezvous = family.rendezvous.as_ref()?;
    if family.left.is_empty() {
        return None;
    }
    tracing::warn!("the former master has died: its {} children are taken over", family.left.len());
    let mut expected: Vec<Adopted> =
        family.left.iter().filter_map(|left| Adopted::new(left.pid, left.began)).collect();
    let until_ms = reactor::now_ms() + PATIENCE_MS;
    let (mut strangers, mut came, mut board) = (Vec::new(), Vec::new(), None);
    while !expected.is_empty() && reactor::now_ms() < until_ms {
        while let Some((socket, pid)) = rendezvous.accept() {
            strangers.push((pid, Channel::new(socket)));
        }
        for (peer, mut channel) in std::mem::take(&mut strangers) {
            match channel.receive::<ChildToMaster>() {
                Ok(Some((ChildToMaster::Hello(hello), fds))) if hello.pid == peer => {
                    let known = expected.iter().position(|adopted| adopted.pid() == peer);
                    let adopted =
                        known.map(|at| expected.swap_remove(at)).or_else(|| Adopted::new(peer, began(peer)?));
                    let mut fds = fds.into_iter();
                    let its_board = fds.next();
                    board = board.or(its_board);
                    let work = fds.next().and_then(|fd| WorkRecord::open(fd).ok());
                    came.extend(adopted.map(|adopted| Survivor { hello, channel, adopted, work }));
                }
                Ok(None) => strangers.push((peer, channel)),
                // Nobody of ours: it is let go, and looks on.
                Ok(Some(_)) | Err(_) => {}
            }
        }
        expected.retain(|adopted| !adopted.has_ended());
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    for missing in &expected {
        tracing::error!("pid {} does not answer: ended", missing.pid());
        missing.signal(nix::sys::signal::Signal::SIGKILL);
    }
    let states =
        came.iter().filter_map(|survivor| rmp_serde::from_slice::<Legacy>(&survivor.hello.state).ok());
    // Of two that are equally new the one that the api process had, which has no gaps, comes last.
    let Some(legacy) = states.max_by_key(|legacy| (legacy.sequence, legacy.asked.http_api.auth.is_some()))
    else {
        for survivor in &came {
            tracing::error!(
                "pid {} had hardly begun, and nobody knows its server: ended",
                survivor.adopted.pid()
            );
            survivor.adopted.signal(nix::sys::signal::Signal::SIGKILL);
        }
        return None;
    };
    Some(Survivors { legacy, board, came })
}

/// Puts each survivor into its slot. Of two for one slot the one stays that its master had told all; the other is ended.
pub(super) fn seat(table: &mut Vec<Known>, came: Vec<Survivor>) -> Vec<Option<Survivor>> {
    let mut seats: Vec<Option<Survivor>> = Vec::new();
    for survivor in came {
        let slot = survivor.hello.board_slot as usize;
        if slot >= super::MAX_CHILDREN {
            survivor.adopted.signal(nix::sys::signal::Signal::SIGKILL);
            continue;
        }
        while table.len() <= slot {
            table.push(Known::nobody());
        }
        while seats.len() < table.len() {
            seats.push(None);
        }
        let Some(seat) = seats.get_mut(slot) else { continue };
        let is_better = |other: &Survivor| other.hello.state.len() < survivor.hello.state.len();
        if seat.as_ref().is_none_or(is_better) {
            if let Some(former) = seat.replace(survivor) {
                former.adopted.signal(nix::sys::signal::Signal::SIGKILL);
            }
        } else {
            survivor.adopted.signal(nix::sys::signal::Signal::SIGKILL);
        }
    }
    seats.resize_with(table.len(), || None);
    for (known, seat) in table.iter_mut().zip(&seats) {
        let Some(Survivor { hello, .. }) = seat else {
            if known.pid != 0 && !known.free && !known.draining {
                known.died_unseen();
            }
            continue;
        };
        if known.free || (known.role, known.number) != (hello.role, hello.number) {
            *known = Known::of(hello);
        } else if known.pid != hello.pid && known.pid != 0 {
            // It was started again, and the table was not told any more.
            known.died_unseen();
        }
        known.draining |= hello.draining;
    }
    seats
}
