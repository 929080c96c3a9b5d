//! The channel to the master.

use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};

use conf::config::ProcessMode;
use ipc::{Channel, ChannelError, ChildToMaster, MasterToChild, RENDEZVOUS, Start, find_master};
use mediaring::{RingError, Scoreboard};
use mio::Token;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use reactor::Reactor;

/// Token of the control channel in the child's loop.
pub const CONTROL_TOKEN: Token = Token(0);

/// How often a process shows that it lives, ms.
const BEAT_MS: u64 = 100;

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
    next_try_ms: u64,
    /// What the master said at the beginning.
    pub start: Start,
    /// The counters of all processes.
    pub board: Arc<Scoreboard>,
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
                    let board = fds.into_iter().next().ok_or(ControlError::NoStart)?;
                    let board = Arc::new(Scoreboard::open(board)?);
                    return Ok(Self { channel: Some(channel), next_try_ms: 0, start, board });
                }
                Some(_) => return Err(ControlError::NoStart),
                None => {
                    poll(&mut [PollFd::new(channel.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE)?;
                }
            }
        }
    }

    /// The next message; `None` when none waits.
    ///
    /// # Errors
    /// When the channel fails. That the master has gone is no error: the process goes on serving, and
    /// [`Self::look_for_master`] finds the next one.
    pub fn receive(&mut self) -> Result<Option<(MasterToChild, Vec<OwnedFd>)>, ControlError> {
        loop {
            match self.receive_any()? {
                Some((MasterToChild::Ping, _)) => self.send(&ChildToMaster::Pong, Vec::new()),
                other => return Ok(other),
            }
        }
    }

    fn receive_any(&mut self) -> Result<Option<(MasterToChild, Vec<OwnedFd>)>, ControlError> {
        let Some(channel) = &mut self.channel else { return Ok(None) };
        match channel.flush().and_then(|_| channel.receive()) {
            Err(ChannelError::Closed) if self.start.config.process_mode == ProcessMode::Multi => {
                tracing::warn!("the master has gone: this process goes on without it");
                self.channel = None;
                self.next_try_ms = 0;
                Ok(None)
            }
            other => Ok(other?),
        }
    }

    /// Without a master, looks whether there is a new one; to be called with each turn of the loop. `true` when one was
    /// found: it is to be told all that a master keeps, and then that this process is ready.
    ///
    /// # Errors
    /// [`ControlError::Terminated`] when SIGTERM has come and no master is there who would know what to do about it.
    pub fn look_for_master(&mut self, reactor: &Reactor) -> Result<bool, ControlError> {
        if self.channel.is_some() {
            return Ok(false);
        }
        if terminate_flag().load(Ordering::Relaxed) {
            return Err(ControlError::Terminated);
        }
        let now_ms = reactor::now_ms();
        if now_ms < self.next_try_ms {
            return Ok(false);
        }
        self.next_try_ms = now_ms + BEAT_MS;
        let path = self.start.config.runtime_dir.join(RENDEZVOUS);
        let Ok(socket) = find_master(&path) else { return Ok(false) };
        if let Err(error) = reactor.register(socket.as_raw_fd(), CONTROL_TOKEN) {
            tracing::error!("the channel to the new master can't be watched: {error}");
            return Ok(false);
        }
        let board = self.board.fd().try_clone_to_owned()?;
        self.channel = Some(Channel::new(socket));
        self.send(&ChildToMaster::Hello { pid: std::process::id() }, vec![board]);
        tracing::info!("there is a new master");
        Ok(true)
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

    /// Shows that this process lives; says when it must do so again, monotonic ms.
    pub fn beat(&self) -> u64 {
        let now_ms = reactor::now_ms();
        self.board.beat(self.start.board_slot as usize, now_ms);
        now_ms + BEAT_MS
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
        format!("{}#{}", self.start.role.name(), self.start.slot)
    }
}

impl AsRawFd for Control {
    fn as_raw_fd(&self) -> RawFd {
        self.channel.as_ref().map_or(-1, AsRawFd::as_raw_fd)
    }
}
