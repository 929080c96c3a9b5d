//! The channel to the master.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};

use api::SharedToken;
use conf::config::ProcessMode;
use ipc::{
    Channel, ChannelError, ChildToMaster, Common, Hello, LinkEnd, MasterToChild, Start, ToRole, find_master,
};
use mediaring::{RingError, Scoreboard, WorkRecord};
use mio::Token;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use reactor::Reactor;

/// Token of the control channel in the child's loop.
pub(crate) const CONTROL_TOKEN: Token = Token(0);

/// How often a process shows that it lives, ms.
const BEAT_MS: u64 = 100;
/// How often a process without a master looks for one, ms: for a while after the loss, and later.
const LOOK_SOON_MS: u64 = 20;
const LOOK_LATER_MS: u64 = 100;
/// How long "a while" is, ms.
const SOON_MS: u64 = 10_000;

/// Why a child can't begin.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The channel to the master failed.
    #[error("the channel to the master: {0}")]
    Channel(#[from] ChannelError),
    /// The scoreboard can't be mapped.
    #[error("the scoreboard: {0}")]
    Board(#[from] RingError),
    /// The master's first message was another.
    #[error("the master did not begin with a start message")]
    NoStart,
    /// The process is to end, and there is no master.
    #[error("terminated while there is no master")]
    Terminated,
    /// The kernel refused a descriptor.
    #[error(transparent)]
    Os(#[from] std::io::Error),
    /// The kernel refused to wait.
    #[error("poll: {0}")]
    Poll(#[from] nix::errno::Errno),
}

static TERMINATE: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);

/// Set when SIGTERM comes. It means nothing while there is a master: that decides.
#[must_use]
pub fn terminate_flag() -> &'static Arc<AtomicBool> {
    &TERMINATE
}

/// The child's end of the control channel.
#[derive(Debug)]
pub struct Control {
    /// `None` while there is no master.
    channel: Option<Channel>,
    /// Since when there has been no master, and when one is looked for again, ms.
    alone_ms: u64,
    next_try_ms: u64,
    /// It was said why no master can be looked for.
    complained: bool,
    /// The newest state that a master wants the next one to have.
    state: Vec<u8>,
    /// Links to other processes: number, and whether rings are read over it here.
    links: BTreeMap<u64, bool>,
    /// The master wants to hear again what it keeps for this process.
    keep_again: bool,
    /// The master wants this process to end.
    stopped: bool,
    /// Messages of the master that this process did not understand.
    not_understood: u64,
    /// This process takes nobody any more.
    pub draining: bool,
    /// What opens the server; only the api process knows it.
    pub token: SharedToken,
    /// What opens the private API of this process.
    pub key: SharedToken,
    /// What the master said at the beginning.
    pub start: Start,
    /// The counters of all processes.
    pub board: Arc<Scoreboard>,
    /// What this process is doing with bytes from outside, for a post-mortem.
    pub work: Arc<WorkRecord>,
}

impl Control {
    /// Waits for the master's first message.
    ///
    /// # Errors
    /// [`ControlError`] when the master goes away or says something else.
    pub fn begin(socket: OwnedFd) -> Result<Self, ControlError> {
        let mut channel = Channel::new(socket);
        loop {
            match channel.receive::<MasterToChild>()? {
                Some((MasterToChild::Start(start), fds)) => {
                    let mut fds = fds.into_iter();
                    let (Some(board), Some(work)) = (fds.next(), fds.next()) else {
                        return Err(ControlError::NoStart);
                    };
                    let (board, work) =
                        (Arc::new(Scoreboard::open(board)?), Arc::new(WorkRecord::open(work)?));
                    return Ok(Self {
                        channel: Some(channel),
                        alone_ms: 0,
                        next_try_ms: 0,
                        complained: false,
                        state: Vec::new(),
                        links: BTreeMap::new(),
                        keep_again: false,
                        stopped: false,
                        not_understood: 0,
                        draining: false,
                        token: SharedToken::new(start.token.clone()),
                        key: SharedToken::new(start.key.clone()),
                        start,
                        board,
                        work,
                    });
                }
                Some(_) => return Err(ControlError::NoStart),
                None => {
                    poll(&mut [PollFd::new(channel.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE)?;
                }
            }
        }
    }

    /// The next message for this role; `None` when none waits, or when the process is to end ([`Self::is_stopped`]). What
    /// concerns every child, and the log's part of a configuration, is done here. A message that is not for this role, or
    /// that only another version knows, is said to the master and passed over.
    ///
    /// # Errors
    /// When the channel fails. That the master has gone is no error: the process goes on serving, and
    /// [`Self::look_for_master`] finds the next one.
    pub fn receive<M: ToRole>(&mut self) -> Result<Option<(M, Vec<OwnedFd>)>, ControlError> {
        while !self.stopped {
            let received = self.receive_any();
            if self.channel.as_mut().is_some_and(Channel::take_lost) {
                tracing::warn!("no descriptor is left for what the master gives: asked for again");
                self.send(&ChildToMaster::GiveAgain, Vec::new());
            }
            let (message, fds) = match received {
                Ok(Some(received)) => received,
                Ok(None) => return Ok(None),
                Err(ControlError::Channel(ChannelError::Unknown(what))) => {
                    self.not_understood(what);
                    continue;
                }
                Err(error) => return Err(error),
            };
            if let MasterToChild::Configure { config, .. } = &message {
                crate::configure_log(&config.log);
            }
            match Common::take(message).map_err(|other| M::take(*other)) {
                Ok(common) => self.obey(common),
                Err(Ok(message)) => return Ok(Some((message, fds))),
                Err(Err(other)) => self.not_understood(other.name()),
            }
        }
        Ok(None)
    }

    fn obey(&mut self, message: Common) {
        match message {
            Common::Ping => self.send(&ChildToMaster::Pong, Vec::new()),
            Common::State(state) => self.state = state,
            Common::KeepAgain => self.keep_again = true,
            Common::Keys { token, key } => {
                self.token.set(token);
                self.key.set(key);
            }
            Common::ReopenLog => crate::reopen_log(),
            Common::Stop => self.stopped = true,
            // It has begun already.
            Common::Start => self.not_understood("Start".to_owned()),
        }
    }

    fn not_understood(&mut self, what: String) {
        self.not_understood += 1;
        let count = self.not_understood;
        if count.is_power_of_two() {
            tracing::warn!("the master says {what}, which this process does not understand ({count} so far)");
        }
        self.send(&ChildToMaster::NotUnderstood { what }, Vec::new());
    }

    /// Whether the master wants this process to end.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.stopped
    }

    fn receive_any(&mut self) -> Result<Option<(MasterToChild, Vec<OwnedFd>)>, ControlError> {
        let Some(channel) = &mut self.channel else { return Ok(None) };
        match channel.flush().and_then(|_| channel.receive()) {
            Err(ChannelError::Closed) if self.start.config.process_mode == ProcessMode::Multi => {
                tracing::warn!("the master has gone: this process goes on without it");
                self.channel = None;
                (self.alone_ms, self.next_try_ms) = (reactor::now_ms(), 0);
                Ok(None)
            }
            other => Ok(other?),
        }
    }

    /// Without a master, looks whether there is a new one; to be called with each turn of the loop. `true` when one was
    /// found, or the master wants it: it is to be told all that a master keeps, and then that this process is ready.
    ///
    /// # Errors
    /// [`ControlError::Terminated`] when SIGTERM has come and no master is there who would know what to do about it.
    pub fn look_for_master(&mut self, reactor: &Reactor) -> Result<bool, ControlError> {
        if self.channel.is_some() {
            return Ok(std::mem::take(&mut self.keep_again));
        }
        if terminate_flag().load(Ordering::Relaxed) {
            return Err(ControlError::Terminated);
        }
        let now_ms = reactor::now_ms();
        if now_ms < self.next_try_ms {
            return Ok(false);
        }
        let soon = now_ms.saturating_sub(self.alone_ms) < SOON_MS;
        self.next_try_ms = now_ms + if soon { LOOK_SOON_MS } else { LOOK_LATER_MS };
        let socket = match find_master(&self.start.family) {
            Ok(socket) => socket,
            Err(error) => {
                // None is there yet: that is what is waited for.
                let usual = [std::io::ErrorKind::ConnectionRefused, std::io::ErrorKind::NotFound];
                if !usual.contains(&error.kind()) && !std::mem::replace(&mut self.complained, true) {
                    tracing::warn!("the next master can't be looked for: {error}");
                }
                return Ok(false);
            }
        };
        let (board, work) = (self.board.fd().try_clone_to_owned(), self.work.fd().try_clone_to_owned());
        let (Ok(board), Ok(work)) = (board, work) else { return Ok(false) };
        if let Err(error) = reactor.register(socket.as_raw_fd(), CONTROL_TOKEN) {
            tracing::error!("the channel to the new master can't be watched: {error}");
            return Ok(false);
        }
        self.channel = Some(Channel::new(socket));
        self.keep_again = false;
        let hello = Hello {
            pid: std::process::id(),
            role: self.start.role,
            number: self.start.number,
            board_slot: self.start.board_slot,
            ingest: self.start.ingest.clone(),
            generation: self.start.generation,
            draining: self.draining,
            state: self.state.clone(),
            links: self.links.iter().map(|(link, reads)| LinkEnd { link: *link, reads: *reads }).collect(),
        };
        self.send(&ChildToMaster::Hello(hello), vec![board, work]);
        tracing::info!("there is a new master");
        Ok(true)
    }

    /// A link to another process is there; `reads`: rings are read over it here.
    pub fn link_up(&mut self, link: u64, reads: bool) {
        self.links.insert(link, reads);
    }

    /// A link has ended, or could not be taken: the master makes another one if the other process lives.
    pub fn link_down(&mut self, link: u64) {
        self.links.remove(&link);
        self.send(&ChildToMaster::LinkDown { link }, Vec::new());
    }

    /// Whether the master has not taken yet what it was told.
    pub(crate) fn is_behind(&self) -> bool {
        self.channel.as_ref().is_some_and(Channel::wants_write)
    }

    /// Tells the master something.
    pub fn send(&mut self, message: &ChildToMaster, fds: Vec<OwnedFd>) {
        let Some(channel) = &mut self.channel else { return };
        if let Err(error) = channel.send(message, fds) {
            // The read side sees the same and ends the process.
            tracing::debug!("the master can't be told something: {error}");
        }
    }

    /// Tells the master that the configuration of a generation is in force.
    pub fn applied(&mut self, generation: u64) {
        self.start.generation = generation;
        self.send(&ChildToMaster::Applied { generation }, Vec::new());
    }

    /// Shows that this process lives; says when the loop must turn again, monotonic ms.
    pub fn beat(&self) -> u64 {
        let now_ms = reactor::now_ms();
        self.board.beat(self.start.board_slot as usize, now_ms);
        let next_ms = now_ms + BEAT_MS;
        if self.channel.is_none() { next_ms.min(self.next_try_ms.max(now_ms + 1)) } else { next_ms }
    }

    /// The configured port of this process's private API; 0: any.
    #[must_use]
    pub fn private_api_port(&self) -> u16 {
        match self.start.config.private_api_port {
            0 => 0,
            base => u16::try_from(u32::from(base) + self.start.board_slot).unwrap_or(0),
        }
    }

    /// Name in reports, such as `stream#1`.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}#{}", self.start.role.name(), self.start.number)
    }
}

impl AsRawFd for Control {
    fn as_raw_fd(&self) -> RawFd {
        self.channel.as_ref().map_or(-1, AsRawFd::as_raw_fd)
    }
}
