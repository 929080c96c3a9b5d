//! Starting children: as processes, or, in single mode, as threads. The rest of the master does not know the difference.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;

use ipc::Role;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::logging::Settings;
use ipc::IDENTITY_VARIABLE;

use crate::relatives::{Identity, TITLE};
use crate::supervisor::Adopted;

/// What a role does with its channel to the master.
pub type RoleMain = fn(OwnedFd) -> Result<(), Box<dyn std::error::Error + Send + Sync>>;

/// How a child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ending {
    /// By itself, with this exit code.
    pub code: Option<i32>,
    /// By this signal.
    pub signal: Option<i32>,
}

impl std::fmt::Display for Ending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.code, self.signal.map(Signal::try_from)) {
            (Some(code), _) => write!(f, "exit code {code}"),
            (None, Some(Ok(signal))) => write!(f, "{signal}"),
            (None, _) => f.write_str("a signal"),
        }
    }
}

/// A child that runs.
#[derive(Debug)]
pub enum Running {
    /// A process.
    Process(Child),
    /// A process that another master started.
    Adopted(Adopted),
    /// A thread.
    Thread(JoinHandle<i32>),
}

impl Running {
    /// Process id; in single mode our own.
    #[must_use]
    pub fn pid(&self) -> u32 {
        match self {
            Self::Process(child) => child.id(),
            Self::Adopted(adopted) => adopted.pid(),
            Self::Thread(_) => std::process::id(),
        }
    }

    /// Whether it has ended, and how.
    pub fn ended(&mut self) -> Option<Ending> {
        match self {
            Self::Process(child) => {
                let status = child.try_wait().ok().flatten()?;
                Some(Ending { code: status.code(), signal: status.signal() })
            }
            // How it ended is told to its parent only.
            Self::Adopted(adopted) => adopted.has_ended().then_some(Ending { code: None, signal: None }),
            Self::Thread(thread) => thread.is_finished().then_some(Ending { code: Some(1), signal: None }),
        }
    }

    /// Sends it a signal, where that is possible.
    pub fn signal(&self, signal: Signal) {
        match self {
            Self::Process(child) => {
                if let Ok(pid) = i32::try_from(child.id()) {
                    // Not yet waited for, so the number is still its own.
                    let _ = kill(Pid::from_raw(pid), signal);
                }
            }
            Self::Adopted(adopted) => adopted.signal(signal),
            Self::Thread(_) => {}
        }
    }

    /// Ends it at once, where that is possible.
    pub fn kill(&self) {
        self.signal(Signal::SIGKILL);
    }
}

/// How children are started.
#[derive(Debug)]
pub enum Spawner {
    /// fork and exec of our own executable.
    Processes {
        /// How they log.
        log: Settings,
        /// They have nothing of the terminal or pipe at which the server was started: whoever started a daemon there must
        /// not wait for them.
        detached: bool,
    },
    /// Threads of this process.
    Threads {
        /// What each role does.
        main: fn(Role) -> Option<RoleMain>,
    },
}

impl Spawner {
    /// Starts a child with its end of the control channel.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn spawn(
        &self,
        role: Role,
        number: u32,
        (family, runtime_dir): (&str, &Path),
        control: OwnedFd,
    ) -> io::Result<Running> {
        let name = format!("{}#{number}", role.name());
        match self {
            Self::Processes { log, detached } => {
                let mut command = Command::new("/proc/self/exe");
                std::os::unix::process::CommandExt::arg0(&mut command, format!("{TITLE}{name}"));
                let identity = Identity {
                    role: role.name().to_owned(),
                    name,
                    family: family.to_owned(),
                    runtime_dir: runtime_dir.to_owned(),
                    log_file: log.file.clone(),
                    log_level: format!("{:?}", log.level).to_lowercase(),
                    log_utc: log.utc,
                };
                command.env(IDENTITY_VARIABLE, serde_json::to_string(&identity)?);
                // One heap a process: the loops are single-threaded, and API threads that come and go would each leave one behind.
                command.env("MALLOC_ARENA_MAX", "1");
                if *detached {
                    command.stdout(Stdio::null()).stderr(Stdio::null());
                }
                command.stdin(Stdio::from(control)).env_remove(crate::daemon::ENVIRONMENT);
                for name in crate::systemd::PRIVATE_VARIABLES {
                    command.env_remove(name);
                }
                Ok(Running::Process(command.spawn()?))
            }
            Self::Threads { main } => {
                let main = main(role).ok_or_else(|| io::Error::other("this role has no thread form"))?;
                let thread =
                    std::thread::Builder::new().name(name.clone()).spawn(move || match main(control) {
                        Ok(()) => 0,
                        Err(error) => {
                            tracing::error!("{name} ends: {error}");
                            1
                        }
                    })?;
                Ok(Running::Thread(thread))
            }
        }
    }
}
