//! What survives the death of a master: its children go on, and come to the next master's rendezvous by themselves. Each says
//! who it is, and holds the last state that its master told: the table of all processes, the configuration in force, what
//! was counted. So nothing depends on a file; who lives is asked of the kernel (`relatives`), and who does not come is
//! ended. What has changed in the configuration since is then an ordinary reload.

use std::os::fd::{AsRawFd, OwnedFd};

use conf::Config;
use ipc::{Channel, ChildToMaster, Hello, MasterToChild, Role};
use mediaring::{Scoreboard, WorkRecord};
use reactor::Token;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde::{Deserialize, Serialize};

use super::children::Child;
use super::family::Family;
use super::{FIRST_CHILD, FIRST_PIDFD, Loader, Signals, StartError, Supervisor, os, runtime};
use crate::plan::{Plan, State as SlotState};
use crate::relatives::began;
use crate::spawn::Spawner;

/// How long children may take to find a new master, ms. They look every 20 ms at first, every 100 ms later.
const PATIENCE_MS: u64 = 3_000;

/// What a master tells its children for the next.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Legacy {
    /// Of two, the one with the higher number is the newer.
    sequence: u64,
    asked: Config,
    config: Config,
    generation: u64,
    spawned: u64,
    /// When the server was started, and how many masters it has had before the one that wrote this.
    #[serde(default)]
    began_ms: u64,
    #[serde(default)]
    masters: u32,
    /// The process id of the master.
    #[serde(default)]
    pid: u32,
    children: Vec<Known>,
}

/// What goes on over the masters of a server.
#[derive(Debug)]
pub(super) struct Lineage {
    /// When the server was started, monotonic ms.
    pub(super) began_ms: u64,
    /// How many masters there were before this one, and how the last ended: how, which process, when (monotonic ms).
    pub(super) masters: u32,
    pub(super) last_master: Option<(String, u32, u64)>,
    /// How many processes were started.
    pub(super) spawned: u64,
    /// Number of what the children hold for the next master; it grows with each change.
    sequence: u64,
}

impl Lineage {
    /// Of the first master of a server.
    pub(super) fn founded() -> Self {
        Self { began_ms: reactor::now_ms(), masters: 0, last_master: None, spawned: 0, sequence: 1 }
    }

    /// Of the next one after a death.
    fn after(legacy: &Legacy) -> Self {
        let now_ms = reactor::now_ms();
        Self {
            // Masters of earlier versions did not tell it.
            began_ms: if legacy.began_ms > 0 { legacy.began_ms } else { now_ms },
            masters: legacy.masters + 1,
            last_master: Some(("death".to_owned(), legacy.pid, now_ms)),
            spawned: legacy.spawned,
            sequence: legacy.sequence,
        }
    }
}

/// A slot of the table.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Known {
    role: Role,
    number: u32,
    /// 0: nobody was there.
    pid: u32,
    restarts: u32,
    draining: bool,
    free: bool,
    ingest: Option<(String, String)>,
    #[serde(default)]
    last_end: Option<(String, u32, u64)>,
}

impl Known {
    /// What a child says of itself, where the table knows nothing of it.
    fn of(hello: &Hello) -> Self {
        Self {
            role: hello.role,
            number: hello.number,
            pid: 0,
            restarts: 0,
            draining: hello.draining,
            free: false,
            ingest: hello.ingest.clone(),
            last_end: None,
        }
    }

    /// Its process has died when no master was there to see how.
    fn died_unseen(&mut self) {
        self.restarts += 1;
        self.last_end = Some(("a death without a master".to_owned(), self.pid, reactor::now_ms()));
    }

    fn nobody() -> Self {
        let (role, number) = (Role::Ingest, u32::MAX);
        Self { role, number, pid: 0, restarts: 0, draining: false, free: true, ingest: None, last_end: None }
    }
}

/// A child that another process started.
#[derive(Debug)]
pub struct Adopted {
    pidfd: OwnedFd,
    pid: u32,
}

impl Adopted {
    fn new(pid: u32, since: u64) -> Option<Self> {
        let number = Pid::from_raw(i32::try_from(pid).ok()?)?;
        let pidfd = pidfd_open(number, PidfdFlags::empty()).ok()?;
        // Looked at again with the descriptor in hand: it is the one that is meant.
        (began(pid) == Some(since)).then_some(Self { pidfd, pid })
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether it has ended.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut [PollFd::new(&self.pidfd, PollFlags::IN)], Some(&now)).is_ok_and(|count| count > 0)
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        if let Some(signal) = rustix::process::Signal::from_named_raw(signal as i32) {
            let _ = rustix::process::pidfd_send_signal(&self.pidfd, signal);
        }
    }
}

/// A child that has come.
#[derive(Debug)]
struct Survivor {
    hello: Hello,
    channel: Channel,
    adopted: Adopted,
    work: Option<WorkRecord>,
}

/// The children of a master that died, and what it told them.
#[derive(Debug)]
pub(super) struct Survivors {
    legacy: Legacy,
    board: Option<OwnedFd>,
    came: Vec<Survivor>,
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
                    let known = expected.iter().position(|adopted| adopted.pid == peer);
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
        tracing::error!("pid {} does not answer: ended", missing.pid);
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
                survivor.adopted.pid
            );
            survivor.adopted.signal(nix::sys::signal::Signal::SIGKILL);
        }
        return None;
    };
    Some(Survivors { legacy, board, came })
}

/// Puts each survivor into its slot. Of two for one slot the one stays that its master had told all; the other is ended.
fn seat(table: &mut Vec<Known>, came: Vec<Survivor>) -> Vec<Option<Survivor>> {
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

impl Supervisor {
    /// Takes over the children of a master that died.
    pub(super) fn adopt(
        survivors: Survivors,
        family: Family,
        with: (Spawner, Loader, Signals),
    ) -> Result<Self, StartError> {
        let Survivors { legacy, board, came } = survivors;
        let lineage = Lineage::after(&legacy);
        let mut table = legacy.children;
        let seats = seat(&mut table, came);
        let board = match board {
            Some(board) => Scoreboard::open(board)?,
            None => Scoreboard::create()?,
        };
        let slots = table.iter().zip(&seats).map(|(known, seat)| {
            let state = match (seat, known.free) {
                (Some(_), _) => SlotState::Up,
                (None, false) if !known.draining => SlotState::Down { again_ms: 0 },
                _ => SlotState::Free,
            };
            (known.role, known.number, known.restarts, state, !known.draining && !known.free)
        });
        let plan = Plan::resume(slots);
        let mut supervisor = Self::with(legacy.asked, legacy.config, family, with, plan, board)?;
        (supervisor.generation, supervisor.lineage) = (legacy.generation, lineage);
        let mut unfinished = Vec::new();
        let mut links = Vec::new();
        for (slot, (known, seat)) in table.into_iter().zip(seats).enumerate() {
            let mut child = Child::new(known.role, known.number, known.ingest);
            child.draining = known.draining;
            child.last_end = known.last_end;
            if let Some(Survivor { hello, channel, adopted, work }) = seat {
                child.work = work;
                if hello.state.is_empty() {
                    unfinished.push(slot);
                }
                links.extend(hello.links.iter().map(|end| (slot, *end)));
                child.generation = hello.generation;
                supervisor
                    .reactor
                    .register_readable(adopted.pidfd.as_raw_fd(), Token(FIRST_PIDFD + slot))
                    .map_err(os("a child can't be watched"))?;
                supervisor
                    .reactor
                    .register(channel.as_raw_fd(), Token(FIRST_CHILD + slot))
                    .map_err(os("a child can't be watched"))?;
                child.take_over(adopted, channel);
            }
            supervisor.children.push(child);
        }
        supervisor.links.restore(links);
        supervisor.wait_for_adopted();
        supervisor.take_listeners_back()?;
        for slot in 0..supervisor.children.len() {
            supervisor.complete_adopted(slot, unfinished.contains(&slot));
        }
        let (count, generation) =
            (supervisor.children.iter().filter(|child| child.is_ready()).count(), supervisor.generation);
        tracing::info!("{count} processes go on under this master, generation {generation}");
        supervisor.tell_processes();
        supervisor.save();
        // The file may say something else by now.
        supervisor.ask_reload(None);
        Ok(supervisor)
    }

    /// Gives a child what it has not got of a master that died meanwhile.
    fn complete_adopted(&mut self, slot: usize, unfinished: bool) {
        let workers = runtime::workers(&self.config);
        let token = self.token.clone();
        let Some(child) = self.children.get_mut(slot).filter(|child| child.is_up()) else { return };
        let key = token.of_process(child.role.name(), child.number);
        let token = if child.role == Role::Api { token } else { api::Token::default() };
        child.tell(&MasterToChild::Keys { token, key }, Vec::new());
        let known = child.generation;
        let takes_nobody = child.draining || (child.role == Role::Stream && child.number >= workers);
        self.configure_again(slot, known);
        if takes_nobody {
            return;
        }
        let given = if unfinished { self.give_all(slot) } else { self.give_listeners(slot) };
        if let Err(error) = given {
            self.give_again_later(slot, &error);
        }
    }

    /// Until each has told what it keeps.
    fn wait_for_adopted(&mut self) {
        let until_ms = reactor::now_ms() + PATIENCE_MS;
        let waits = |child: &mut Child| child.is_up() && !child.is_ready() && child.ended().is_none();
        while self.children.iter_mut().any(waits) && reactor::now_ms() < until_ms {
            for slot in 0..self.children.len() {
                let _ = self.read_child(slot);
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    }

    /// What has changed is told to the children with the next turn, for a master that comes after us.
    pub(super) fn save(&mut self) {
        self.lineage.sequence += 1;
    }

    /// Tells the children what the next master must know.
    pub(super) fn tell_state(&mut self) {
        let sequence = self.lineage.sequence;
        let lags = |child: &Child| child.is_up() && child.state_told != sequence && !child.is_behind();
        if self.family.rendezvous.is_none() || !self.children.iter().any(lags) {
            return;
        }
        let table = self.children.iter().zip(self.plan.slots()).map(|(child, slot)| Known {
            role: child.role,
            number: child.number,
            pid: if child.is_alive() { child.last_pid() } else { 0 },
            restarts: slot.restarts,
            draining: child.draining,
            free: slot.state == SlotState::Free,
            ingest: child.ingest.clone(),
            last_end: child.last_end.clone(),
        });
        let legacy = Legacy {
            sequence,
            asked: self.asked.clone(),
            config: self.config.clone(),
            generation: self.generation,
            spawned: self.lineage.spawned,
            began_ms: self.lineage.began_ms,
            masters: self.lineage.masters,
            pid: std::process::id(),
            children: table.collect(),
        };
        let Ok(whole) = rmp_serde::to_vec_named(&legacy) else { return };
        let (asked, config) = (legacy.asked.without_secrets(), legacy.config.without_secrets());
        let Ok(state) = rmp_serde::to_vec_named(&Legacy { asked, config, ..legacy }) else { return };
        reactor::crash_point("before-save");
        for child in self.children.iter_mut().filter(|child| lags(child)) {
            let state = if child.role == Role::Api { &whole } else { &state };
            child.tell(&MasterToChild::State { state: state.clone() }, Vec::new());
            child.state_told = sequence;
        }
    }
}
