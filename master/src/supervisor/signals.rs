//! Signals as readable descriptors.

use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;

use reactor::{Reactor, Token};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};

use super::{StartError, os};

/// Token of the first; one for each follows.
const FIRST_TOKEN: usize = 1;
const SIGNALS: [i32; 7] = [SIGCHLD, SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2];

/// One descriptor for each signal that means something to the master.
#[derive(Debug)]
pub struct Signals(Vec<UnixStream>);

/// Listens to signals from now on: what comes while a server is being prepared, or takes over the children of another, is
/// done as soon as its loop turns. Without that a signal would end the master alone.
///
/// # Errors
/// When no descriptor is left.
pub fn listen_to_signals() -> Result<Signals, StartError> {
    let mut signals = Vec::new();
    for signal in SIGNALS {
        let (reader, writer) = UnixStream::pair().map_err(os("the server can't get a signal pipe"))?;
        reader.set_nonblocking(true).map_err(os("the server can't get a signal pipe"))?;
        signal_hook::low_level::pipe::register(signal, writer)
            .map_err(os("the server can't listen to signals"))?;
        signals.push(reader);
    }
    Ok(Signals(signals))
}

impl Signals {
    /// Watches all of them.
    pub(super) fn register(&self, reactor: &Reactor) -> Result<(), StartError> {
        for (index, signal) in self.0.iter().enumerate() {
            reactor
                .register_readable(signal.as_raw_fd(), Token(FIRST_TOKEN + index))
                .map_err(os("the server can't listen to signals"))?;
        }
        Ok(())
    }

    /// Which signal has come by a token, however often.
    pub(super) fn take(&mut self, token: usize) -> Option<i32> {
        let index = token.checked_sub(FIRST_TOKEN)?;
        let reader = self.0.get_mut(index)?;
        let mut buffer = [0; 64];
        while matches!(reader.read(&mut buffer), Ok(1..)) {}
        SIGNALS.get(index).copied()
    }
}
