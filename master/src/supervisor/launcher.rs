//! Starting a child: its process, its channel, and all that it begins with.

use std::io;
use std::os::fd::AsRawFd;
use std::path::PathBuf;

use ipc::{Channel, MasterToChild, Role, Start};
use mediaring::{Scoreboard, WorkRecord};
use reactor::{Reactor, Token};

use super::child::Child;
use super::configuration::{Configuration, for_role};
use super::{FIRST_CHILD, duplicate};
use crate::spawn::Spawner;

/// Ids of connections: each start of a process has a block of its own.
const ID_BLOCK: u64 = 1_000_000;

/// What starts children.
#[derive(Debug)]
pub(super) struct Launcher {
    spawner: Spawner,
    /// Name and runtime directory of the family to which children belong.
    family: (String, PathBuf),
    /// What opens private APIs.
    token: api::Token,
    /// How many processes were started, by former masters, too.
    pub(super) spawned: u64,
}

impl Launcher {
    pub(super) fn new(spawner: Spawner, family: (String, PathBuf), token: api::Token) -> Self {
        Self { spawner, family, token, spawned: 0 }
    }

    /// What opens private APIs.
    pub(super) fn token(&self) -> &api::Token {
        &self.token
    }

    /// What a process opens: everything, for the api process; and the key of its own private API.
    fn keys(&self, role: Role, number: u32) -> (api::Token, api::Token) {
        let token = if role == Role::Api { self.token.clone() } else { api::Token::default() };
        (token, self.token.of_process(role.name(), number))
    }

    /// Tells a child of a former master its keys.
    pub(super) fn tell_keys(&self, child: &mut Child) {
        let (token, key) = self.keys(child.role, child.number);
        child.tell(&MasterToChild::Keys { token, key }, Vec::new());
    }

    /// Starts the child of a slot, and tells it how to begin.
    ///
    /// # Errors
    /// When the kernel refuses; the child may be there, and know nothing.
    pub(super) fn start(
        &mut self,
        (slot, child): (usize, &mut Child),
        configuration: &Configuration,
        board: &Scoreboard,
        reactor: &Reactor,
    ) -> io::Result<()> {
        let (ours, theirs) = Channel::pair()?;
        let board = duplicate(board.fd())?;
        let work = WorkRecord::create()?;
        let work_of_child = duplicate(work.fd())?;
        let (role, number) = (child.role, child.number);
        let (family, runtime_dir) = &self.family;
        let running = self.spawner.spawn(role, number, (family, runtime_dir), theirs)?;
        reactor::crash_point("spawned");
        child.begin(running, work);
        reactor.register(ours.as_raw_fd(), Token(FIRST_CHILD + slot))?;
        child.connect(Channel::new(ours));
        tracing::info!("{} is pid {}", child.name(), child.last_pid());
        let generation = configuration.generation();
        let (token, key) = self.keys(role, number);
        let start = Start {
            role,
            number,
            board_slot: u32::try_from(slot).unwrap_or(u32::MAX),
            first_connection_id: self.spawned * ID_BLOCK + 100,
            generation,
            config: for_role(role, configuration.in_force()),
            ingest: child.ingest.clone(),
            token,
            key,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            family: family.clone(),
        };
        (child.started_ms, child.generation) = (reactor::now_ms(), generation);
        self.spawned += 1;
        child.tell(&MasterToChild::Start(start), vec![board, work_of_child]);
        Ok(())
    }
}
