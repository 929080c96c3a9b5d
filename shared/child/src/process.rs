//! The loop of a child: what the master and operators want of it, and its role's own work, in the same order in every role.
//!
//! ```text
//! begin:  control channel · private API · (rights given up) · Ready
//! turn:   a new master, or one that wants to hear again what it keeps → keep_again, Ready
//!         messages of the master                                    → message
//!         questions of operators                                    → report, kick, record
//!         the role's own work                                       → turn
//!         end, when the master or the role wants it                 → goodbye
//!         sign of life; wait                                        → wait
//! ```
//!
//! What a role does in its own part of a turn, in this order, since the later steps build on the earlier:
//!
//! * back-source: links and readers that are ready; links that want mending; connections ([`turn`](Process::turn) of its
//!   hub); then the wake-ups of the readers of all that came in. Before it waits it may rest, so that one read brings more.
//! * stream process: links and listeners that are ready; links that are due; newcomers; connections; publishers whose
//!   back-source does not come. Over when it drains and the last client has left.
//! * http process: what threads have done, links, listeners and connections that are ready; work on streams and files; then
//!   what the master is to keep is told, in the order in which it came up.
//! * api process: counters for rates. Requests are answered by threads.
//! * ingester: a status line; its programs are looked after. A clip is played by another thread.
//!
//! Messages come before clients, so that whoever is served is served by the newest configuration, and what a new master is
//! told is what was true before it said anything itself.

use std::error::Error;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use api::{Record, RecordAnswer, Report};
use conf::config::ProcessMode;
use ipc::{ChildToMaster, ToRole};
use reactor::{Reactor, Ready};

use crate::control::{CONTROL_TOKEN, Control};
use crate::private_api::{API_TOKEN, PrivateApi, Query};
use crate::sandbox::confine;

/// What ended a wait, as far as it concerns every role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Woken {
    /// The channel to the master can be read, or written again.
    control: bool,
    /// An operator asks.
    api: bool,
}

impl Woken {
    /// By these.
    #[must_use]
    pub fn by(ready: &[Ready]) -> Self {
        let has = |token| ready.iter().any(|event| event.token == token);
        Self { control: has(CONTROL_TOKEN), api: has(API_TOKEN) }
    }
}

/// A role at work.
pub trait Process {
    /// What the master can tell it.
    type Message: ToRole;
    /// Whether operators can ask it.
    const HAS_API: bool = true;
    /// Whether it gives up the rights that it does not need, where it is a process of its own.
    const IS_CONFINED: bool = false;

    /// The channel to the master, and the loop on which it waits. Tokens 0 and 1 of that are not the role's.
    fn parts(&mut self) -> (&mut Control, &Reactor);

    /// The master says something.
    fn message(&mut self, message: Self::Message, fds: Vec<OwnedFd>);

    /// A master does not have what it is to keep for this process: all of it is told.
    fn keep_again(&mut self) {}

    /// What it knows; its connections only `with_clients`.
    fn report(&mut self, with_clients: bool) -> Report {
        let _ = with_clients;
        let process = self.parts().0.name();
        Report { process, pid: std::process::id(), ..Report::default() }
    }

    /// Closes the connection of this id. Returns whether there is one.
    fn kick(&mut self, id: u64) -> bool {
        let _ = id;
        false
    }

    /// Records a stream from now on, or no longer.
    fn record(&mut self, record: &Record) -> RecordAnswer {
        let _ = record;
        RecordAnswer::refused("this process records nothing")
    }

    /// The role's own work.
    fn turn(&mut self);

    /// Whether nothing is left to do.
    fn is_over(&self) -> bool {
        false
    }

    /// Waits until something is ready, or until this time at the latest, monotonic ms.
    ///
    /// # Errors
    /// When the kernel refuses to wait.
    fn wait(&mut self, until_ms: u64) -> io::Result<Woken>;

    /// Takes leave of its clients.
    ///
    /// # Errors
    /// When the kernel refuses to wait for them.
    fn goodbye(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Runs a process until the master ends it, or it is over.
///
/// # Errors
/// When it can't begin, the kernel refuses to wait, or the channel to the master breaks and can't be mended.
pub fn run<P: Process>(mut process: P) -> Result<(), Box<dyn Error + Send + Sync>> {
    let (control, reactor) = process.parts();
    reactor.register(control.as_raw_fd(), CONTROL_TOKEN)?;
    let api = if P::HAS_API {
        let waker = reactor.waker(API_TOKEN)?;
        Some(PrivateApi::start(control.private_api_port(), control.key.clone(), waker)?)
    } else {
        None
    };
    // In single mode this would be the whole server.
    if P::IS_CONFINED
        && control.start.config.process_mode == ProcessMode::Multi
        && let Err(error) = confine()
    {
        tracing::warn!("this process could not give up the rights that it does not need: {error}");
    }
    let ready = ChildToMaster::Ready { private_api_port: api.as_ref().map_or(0, PrivateApi::port) };
    control.send(&ready, Vec::new());
    let mut woken = Woken { control: true, api: true };
    loop {
        let (control, reactor) = process.parts();
        if control.look_for_master(reactor)? {
            process.keep_again();
            process.parts().0.send(&ready, Vec::new());
            woken.control = true;
        }
        if woken.control || process.parts().0.is_behind() {
            while let Some((message, fds)) = process.parts().0.receive()? {
                process.message(message, fds);
            }
        }
        if let Some(api) = api.as_ref().filter(|_| woken.api) {
            while let Some(query) = api.next() {
                answer(&mut process, query);
            }
        }
        process.turn();
        if process.parts().0.is_stopped() || process.is_over() {
            break;
        }
        let until_ms = process.parts().0.beat();
        woken = process.wait(until_ms)?;
    }
    Ok(process.goodbye()?)
}

fn answer<P: Process>(process: &mut P, query: Query) {
    match query {
        Query::Report { with_clients, reply } => reply.answer(process.report(with_clients)),
        Query::Kick { id, reply } => reply.answer(process.kick(id)),
        Query::Record { record, reply } => reply.answer(process.record(&record)),
    }
}
