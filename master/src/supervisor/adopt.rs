//! What survives the death of a master: its children go on, and a file in the runtime directory says who they are. The next
//! master waits for them at the rendezvous, gets back what its predecessor kept (listening sockets, rings, the scoreboard),
//! and goes on where it stood. What has changed in the configuration since is then an ordinary reload.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use conf::Config;
use conf::config::ProcessMode;
use ipc::{Channel, ChildToMaster, RENDEZVOUS, Rendezvous, Role};
use mediaring::Scoreboard;
use reactor::Token;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde::{Deserialize, Serialize};

use super::children::Child;
use super::{FIRST_CHILD, FIRST_PIDFD, Loader, StartError, Supervisor, duplicate, os, runtime};
use crate::plan::{Plan, State as SlotState};
use crate::spawn::Spawner;
use crate::{inherited, listen};

/// How long children may take to find a new master, ms. They look every 100 ms.
const PATIENCE_MS: u64 = 3_000;

/// What a master leaves behind for the next.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Legacy {
    asked: Config,
    config: Config,
    generation: u64,
    spawned: u64,
    children: Vec<Known>,
}

/// A slot of the table.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Known {
    role: Role,
    number: u32,
    /// 0: nobody was there.
    pid: u32,
    /// When it began, as the kernel counts: a number that was given to another process since is not its own.
    began: u64,
    restarts: u32,
    draining: bool,
    free: bool,
    ingest: Option<(String, String)>,
}

fn file(config: &Config) -> PathBuf {
    config.runtime_dir.join("state.json")
}

/// When a process began, in ticks since boot; `None` when it is not there (or has ended and waits for its parent).
pub(super) fn began(pid: u32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = text.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    (state != "Z" && state != "X").then(|| fields.nth(18)?.parse().ok())?
}

/// The legacy of a master that died with children alive; `None` for an ordinary start.
pub(super) fn legacy(config: &Config) -> Option<Legacy> {
    if config.process_mode != ProcessMode::Multi {
        return None;
    }
    let legacy: Legacy = serde_json::from_slice(&std::fs::read(file(config)).ok()?).ok()?;
    legacy.children.iter().any(Known::is_alive).then_some(legacy)
}

impl Known {
    fn is_alive(&self) -> bool {
        self.pid != 0 && began(self.pid) == Some(self.began)
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

/// Who came, by process id, and the scoreboard.
type Gathered = (Vec<(u32, Channel)>, Option<OwnedFd>);

/// Waits until all have come, or the time is over. Returns who came, and the scoreboard.
fn gather(path: &Path, mut expected: BTreeSet<u32>) -> std::io::Result<Gathered> {
    let rendezvous = Rendezvous::open(path)?;
    let until_ms = reactor::now_ms() + PATIENCE_MS;
    let (mut strangers, mut known, mut board) = (Vec::new(), Vec::new(), None);
    while !expected.is_empty() && reactor::now_ms() < until_ms {
        while let Some((socket, pid)) = rendezvous.accept() {
            strangers.push((pid, Channel::new(socket)));
        }
        for (peer, mut channel) in std::mem::take(&mut strangers) {
            match channel.receive::<ChildToMaster>() {
                Ok(Some((ChildToMaster::Hello { pid }, fds))) if pid == peer && expected.remove(&pid) => {
                    board = board.or_else(|| fds.into_iter().next());
                    known.push((pid, channel));
                }
                Ok(None) => strangers.push((peer, channel)),
                // Nobody of ours: it is let go, and looks on.
                Ok(Some(_)) | Err(_) => {}
            }
        }
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    let _ = std::fs::remove_file(path);
    Ok((known, board))
}

impl Supervisor {
    /// Takes over the children of a master that died.
    pub(super) fn adopt(legacy: Legacy, spawner: Spawner, loader: Loader) -> Result<Self, StartError> {
        let Legacy { asked, config, generation, spawned, children: table } = legacy;
        tracing::warn!("the former master has died: its children are taken over");
        let alive: Vec<Option<Adopted>> = table
            .iter()
            .map(|known| known.is_alive().then(|| Adopted::new(known.pid, known.began)).flatten())
            .collect();
        let expected = alive.iter().flatten().map(Adopted::pid).collect();
        let path = config.runtime_dir.join(RENDEZVOUS);
        let (channels, board) = gather(&path, expected).map_err(os("children can't be waited for"))?;
        let board = match board {
            Some(board) => Scoreboard::open(board)?,
            None => Scoreboard::create()?,
        };
        let slots = table.iter().zip(&alive).map(|(known, alive)| {
            let state = match (alive, known.free) {
                (Some(_), _) => SlotState::Up,
                (None, false) if !known.draining => SlotState::Down { again_ms: 0 },
                _ => SlotState::Free,
            };
            (known.role, known.number, known.restarts, state, !known.draining && !known.free)
        });
        let plan = Plan::resume(slots);
        let mut supervisor = Self::with(asked, config, spawner, loader, plan, board)?;
        (supervisor.generation, supervisor.spawned) = (generation, spawned);
        let mut channels = channels;
        for (slot, (known, alive)) in table.into_iter().zip(alive).enumerate() {
            let mut child = Child::new(known.role, known.number, known.ingest);
            child.draining = known.draining;
            child.generation = generation;
            if let Some(adopted) = alive {
                supervisor
                    .reactor
                    .register_readable(adopted.pidfd.as_raw_fd(), Token(FIRST_PIDFD + slot))
                    .map_err(os("a child can't be watched"))?;
                let channel = channels
                    .iter()
                    .position(|(pid, _)| *pid == known.pid)
                    .map(|at| channels.swap_remove(at).1);
                match &channel {
                    Some(channel) => supervisor
                        .reactor
                        .register(channel.as_raw_fd(), Token(FIRST_CHILD + slot))
                        .map_err(os("a child can't be watched"))?,
                    None => {
                        tracing::error!("{} (pid {}) does not answer: ended", child.name(), known.pid);
                        adopted.signal(nix::sys::signal::Signal::SIGKILL);
                    }
                }
                child.take_over(adopted, channel);
            }
            supervisor.children.push(child);
        }
        supervisor.wait_for_adopted();
        supervisor.take_listeners_back()?;
        let count = supervisor.children.iter().filter(|child| child.is_ready()).count();
        tracing::info!("{count} processes go on under this master, generation {generation}");
        supervisor.tell_processes();
        supervisor.save();
        // The file may say something else by now.
        supervisor.ask_reload(None);
        Ok(supervisor)
    }

    /// Until each has told what it keeps.
    fn wait_for_adopted(&mut self) {
        let until_ms = reactor::now_ms() + PATIENCE_MS;
        let waits = |child: &Child| child.is_up() && !child.is_ready();
        while self.children.iter().any(waits) && reactor::now_ms() < until_ms {
            for slot in 0..self.children.len() {
                let _ = self.read_child(slot);
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    }

    /// The sockets of an address, one for each process of a role: those that they brought, and new ones.
    pub(super) fn brought(
        &self,
        role: Role,
        workers: u32,
        address: SocketAddr,
    ) -> Result<Vec<OwnedFd>, StartError> {
        let of = |number: u32| {
            let mut its = self
                .children
                .iter()
                .filter(|child| child.role == role && child.number == number && !child.draining);
            its.find_map(|child| brought(child, address))
        };
        let brought: Vec<Option<OwnedFd>> = (0..workers).map(of).collect();
        // Of a child that died, too, the service manager has what waits in its socket.
        let mut passed = inherited::take_beside(address, brought.iter().flatten()).into_iter();
        let mut sockets = Vec::new();
        for socket in brought {
            match socket.or_else(|| passed.next()) {
                Some(socket) => sockets.push(socket),
                None => sockets.append(&mut listen::more(address, 1)?),
            }
        }
        Ok(sockets)
    }

    /// The listening sockets: those that children brought, and new ones where nobody did.
    fn take_listeners_back(&mut self) -> Result<(), StartError> {
        let workers = runtime::workers(&self.config);
        let mut rtmp = Vec::new();
        for listen in &self.config.listen {
            rtmp.push((listen.address, self.brought(Role::Stream, workers, listen.address)?));
        }
        self.rtmp = rtmp;
        if self.config.http_api.enabled {
            let address = self.config.http_api.listen;
            let socket = self.children.iter().find_map(|child| brought(child, address));
            self.api = match socket {
                Some(socket) => {
                    drop(inherited::take(address));
                    Some((address, socket))
                }
                None => listen::shared(address, 1)?.1.pop().map(|socket| (address, socket)),
            };
        }
        if self.config.exporter.enabled {
            let address = self.config.exporter.listen;
            let socket = self.children.iter().find_map(|child| brought(child, address));
            self.metrics = match socket {
                Some(socket) => {
                    drop(inherited::take(address));
                    Some((address, socket))
                }
                None => listen::shared(address, 1)?.1.pop().map(|socket| (address, socket)),
            };
        }
        self.take_web_back()?;
        for child in &mut self.children {
            child.listening.clear();
        }
        Ok(())
    }

    /// Writes down who is there, for a master that comes after us.
    pub(super) fn save(&self) {
        if self.config.process_mode != ProcessMode::Multi {
            return;
        }
        let children = self
            .children
            .iter()
            .zip(self.plan.slots())
            .map(|(child, slot)| Known {
                role: child.role,
                number: child.number,
                pid: if child.is_up() { child.last_pid() } else { 0 },
                began: child.began,
                restarts: slot.restarts,
                draining: child.draining,
                free: slot.state == SlotState::Free,
                ingest: child.ingest.clone(),
            })
            .collect();
        let legacy = Legacy {
            asked: self.asked.clone(),
            config: self.config.clone(),
            generation: self.generation,
            spawned: self.spawned,
            children,
        };
        runtime::write_whole(&file(&self.config), &legacy);
    }

    /// An orderly end leaves nobody behind.
    pub(super) fn forget_legacy(&self) {
        let _ = std::fs::remove_file(file(&self.config));
    }
}

fn brought(child: &Child, address: SocketAddr) -> Option<OwnedFd> {
    child.listening.iter().find(|(known, _)| *known == address).and_then(|(_, socket)| duplicate(socket).ok())
}
