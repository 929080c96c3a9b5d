//! The channel to the master.

use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;

use ipc::{Channel, ChannelError, ChildToMaster, MasterToChild, Start};
use mediaring::{RingError, Scoreboard};
use mio::Token;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

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
    /// The kernel refused to wait.
    #[error("poll: {0}")]
    Poll(#[from] nix::errno::Errno),
}

/// The child's end of the control channel.
#[derive(Debug)]
pub struct Control {
    channel: Channel,
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
                    return Ok(Self { channel, start, board: Arc::new(Scoreboard::open(board)?) });
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
    /// When the master has gone: the child ends itself then, since half a system serves nobody.
    pub fn receive(&mut self) -> Result<Option<(MasterToChild, Vec<OwnedFd>)>, ControlError> {
        self.channel.flush()?;
        Ok(self.channel.receive()?)
    }

    /// Tells the master something.
    pub fn send(&mut self, message: &ChildToMaster, fds: Vec<OwnedFd>) {
        if let Err(error) = self.channel.send(message, fds) {
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
        self.channel.as_raw_fd()
    }
}
