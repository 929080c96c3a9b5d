//! The family: the processes of one server, now and under its next masters. Whoever is master holds the lock of the runtime
//! directory and the family's rendezvous, at which children come that have lost their master.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use conf::Config;
use conf::config::ProcessMode;
use ipc::Rendezvous;
use nix::fcntl::Flock;

use super::StartError;
use super::lineage::Lineage;
use super::reunion::Strangers;
use crate::relatives::{self, Relative};

/// How long the runtime directory may take to be opened.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(2);
/// How long something may still be open that a killed master had, ms.
const LEFT_OPEN_MS: u64 = 300;

/// The family, taken by this master.
#[derive(Debug)]
pub(super) struct Family {
    /// Its name; empty in single mode, where nobody outlives the master.
    pub(super) name: String,
    pub(super) runtime_dir: PathBuf,
    pub(super) rendezvous: Option<Rendezvous>,
    /// Processes that a former master has left.
    pub(super) left: Vec<Relative>,
    /// Those who have come to the rendezvous and not yet said who they are.
    pub(super) strangers: Strangers,
    /// What goes on over its masters.
    pub(super) lineage: Lineage,
    _lock: Option<Flock<File>>,
}

impl Family {
    /// Takes the runtime directory, and the family of a master that has died there, or founds one.
    ///
    /// # Errors
    /// [`StartError::Taken`] when another server uses the directory.
    pub(super) fn take(config: &Config) -> Result<Self, StartError> {
        let runtime_dir =
            std::path::absolute(&config.runtime_dir).unwrap_or_else(|_| config.runtime_dir.clone());
        let lock = lock(&runtime_dir)?;
        if config.process_mode != ProcessMode::Multi {
            return Ok(Self::new(String::new(), runtime_dir, (None, Vec::new()), lock));
        }
        let mut left = relatives::find(&runtime_dir);
        // The youngest family first: of others nobody should be left.
        left.sort_by_key(|relative| std::cmp::Reverse(relative.began));
        let mut taken = None;
        for relative in &left {
            if taken.as_ref().is_some_and(|(name, _)| *name == relative.family) {
                continue;
            }
            match open_soon(&relative.family) {
                Ok(rendezvous) if taken.is_none() => taken = Some((relative.family.clone(), rendezvous)),
                Ok(_) => {}
                // A master that lives: its directory was removed, and made again by us.
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                    return Err(StartError::Taken {
                        directory: runtime_dir,
                        by: ipc::master_of(&relative.family),
                    });
                }
                Err(source) => return Err(StartError::Os { what: "children can't be waited for", source }),
            }
        }
        let (name, rendezvous) = match taken {
            Some(taken) => taken,
            None => {
                let name = new_name().map_err(super::os("there are no random numbers"))?;
                let opened = Rendezvous::open(&name).map_err(super::os("children can't be waited for"))?;
                (name, opened)
            }
        };
        Ok(Self::new(name, runtime_dir, (Some(rendezvous), left), lock))
    }

    fn new(
        name: String,
        runtime_dir: PathBuf,
        (rendezvous, left): (Option<Rendezvous>, Vec<Relative>),
        lock: Option<Flock<File>>,
    ) -> Self {
        let (strangers, lineage) = (Strangers::default(), Lineage::founded());
        Self { name, runtime_dir, rendezvous, left, strangers, lineage, _lock: lock }
    }
}

fn new_name() -> io::Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Locks the directory itself: two servers with different pid files, or whose pid files were removed, must not share it.
/// A directory that can't be made or opened is no reason not to serve.
fn lock(directory: &Path) -> Result<Option<Flock<File>>, StartError> {
    let (told, answer) = std::sync::mpsc::channel();
    let path = directory.to_owned();
    // In a thread of its own: the directory may be on a disk that hangs.
    std::thread::spawn(move || {
        let _ = told.send(std::fs::create_dir_all(&path).and_then(|()| File::open(&path)));
    });
    let opened = answer.recv_timeout(PATIENCE).map_err(io::Error::other).and_then(|opened| opened);
    let file = match opened {
        Ok(file) => file,
        Err(error) => {
            tracing::warn!("the runtime directory {} can't be used: {error}", directory.display());
            return Ok(None);
        }
    };
    match crate::pidfile::lock_soon(file) {
        Ok(lock) => Ok(Some(lock)),
        Err((_, nix::errno::Errno::EWOULDBLOCK)) => {
            let by = relatives::find(directory).iter().find_map(|relative| ipc::master_of(&relative.family));
            Err(StartError::Taken { directory: directory.to_owned(), by })
        }
        Err((_, error)) => {
            tracing::warn!("the runtime directory {} can't be locked: {error}", directory.display());
            Ok(None)
        }
    }
}

/// Opens the rendezvous of a family. Of a master that was killed a child that was just being forked may hold it for a moment.
fn open_soon(family: &str) -> io::Result<Rendezvous> {
    let until_ms = reactor::now_ms() + LEFT_OPEN_MS;
    loop {
        match Rendezvous::open(family) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && reactor::now_ms() < until_ms => {
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
            opened => return opened,
        }
    }
}
