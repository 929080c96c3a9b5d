//! Listening sockets, and what to do when the kernel has no descriptor left.

use std::fs::File;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};

use reactor::{Reactor, Token};

/// First token of the listeners.
const FIRST_LISTENER_TOKEN: usize = 256;
const MAX_LISTENERS: usize = 256;
/// How long accepting rests when no descriptor is left, ms.
const REST_MS: u64 = 100;
/// Most that are told in one turn that there is no place: until then they have descriptors of the reserve.
const MOST_TOLD: usize = 8;
/// Least time between two log lines about it, ms.
const COMPLAIN_MS: u64 = 5_000;

#[derive(Debug)]
struct Listener {
    socket: TcpListener,
    /// As the master named it.
    address: SocketAddr,
    token: Token,
    ready: bool,
    /// It belongs to the process of this number.
    lent: Option<u32>,
}

/// The listening sockets of a process: bound by the master, accepted from here.
#[derive(Debug)]
pub(crate) struct Listeners {
    listeners: Vec<Listener>,
    /// Most connections accepted in one turn.
    per_turn: u32,
    rest_until_ms: u64,
    complained_ms: u64,
    /// Held so that there is one descriptor to accept and close a connection with when all others are used.
    reserve: Option<File>,
    /// Accepted though there was no place: they can be told so.
    turned_away: Vec<(SocketAddr, TcpStream)>,
    /// Most of these in one turn, and how long accepting rests behind them, ms.
    most_turned_away: (usize, u64),
}

impl Listeners {
    pub(crate) fn new(per_turn: u32) -> Self {
        let reserve = File::open("/dev/null").ok();
        Self {
            listeners: Vec::new(),
            per_turn: per_turn.max(1),
            rest_until_ms: 0,
            complained_ms: 0,
            reserve,
            turned_away: Vec::new(),
            most_turned_away: (1, REST_MS),
        }
    }

    /// The same for a protocol in which they can be told: nobody has to wait for that.
    pub(crate) fn telling(mut self) -> Self {
        self.most_turned_away = (MOST_TOLD, 0);
        self
    }

    /// Accepts from these from now on.
    pub(crate) fn add(&mut self, reactor: &Reactor, addresses: &[SocketAddr], sockets: Vec<OwnedFd>) {
        self.add_of(reactor, addresses, sockets, None);
    }

    /// Accepts from those of another process, too, until [`Self::give_back`].
    pub(crate) fn borrow(
        &mut self,
        reactor: &Reactor,
        slot: u32,
        addresses: &[SocketAddr],
        sockets: Vec<OwnedFd>,
    ) {
        self.give_back(reactor, slot);
        self.add_of(reactor, addresses, sockets, Some(slot));
    }

    /// Accepts no more from those of another process; who waits there is its business.
    pub(crate) fn give_back(&mut self, reactor: &Reactor, slot: u32) {
        self.listeners.retain(|listener| {
            let goes = listener.lent == Some(slot);
            if goes {
                let _ = reactor.deregister(listener.socket.as_raw_fd());
            }
            !goes
        });
    }

    fn add_of(
        &mut self,
        reactor: &Reactor,
        addresses: &[SocketAddr],
        sockets: Vec<OwnedFd>,
        lent: Option<u32>,
    ) {
        for (socket, address) in sockets.into_iter().zip(addresses) {
            // A master that was not heard to the end gives all again.
            if self.listeners.iter().any(|known| known.address == *address && known.lent == lent) {
                continue;
            }
            let socket = TcpListener::from(socket);
            let token = Token(FIRST_LISTENER_TOKEN + self.free_place());
            let watched = socket
                .set_nonblocking(true)
                .and_then(|()| reactor.register_readable(socket.as_raw_fd(), token));
            match watched {
                Ok(()) if self.listeners.len() < MAX_LISTENERS => {
                    self.listeners.push(Listener { socket, address: *address, token, ready: true, lent });
                }
                Ok(()) => tracing::error!("too many listeners: {address} is not served"),
                Err(error) => tracing::error!("{address} can't be served: {error}"),
            }
        }
    }

    /// A listener's token is ready.
    pub(crate) fn ready(&mut self, token: Token) {
        if let Some(listener) = self.listeners.iter_mut().find(|listener| listener.token == token) {
            listener.ready = true;
        }
    }

    /// The lowest number that no listener's token has.
    fn free_place(&self) -> usize {
        let taken = |place: usize| {
            self.listeners.iter().any(|listener| listener.token.0 == FIRST_LISTENER_TOKEN + place)
        };
        (0..MAX_LISTENERS).find(|place| !taken(*place)).unwrap_or(MAX_LISTENERS)
    }

    /// Accepts on these no more. Returns whoever waited in their backlogs.
    pub(crate) fn remove(
        &mut self,
        reactor: &Reactor,
        addresses: &[SocketAddr],
    ) -> Vec<(TcpStream, SocketAddr)> {
        let mut waiting = Vec::new();
        self.listeners.retain(|listener| {
            let goes = addresses.contains(&listener.address);
            if goes {
                while let Ok(connection) = listener.socket.accept() {
                    waiting.push(connection);
                }
                let _ = reactor.deregister(listener.socket.as_raw_fd());
            }
            !goes
        });
        waiting
    }

    /// Where it is accepted, with a duplicate of each socket.
    pub(crate) fn duplicates(&self) -> (Vec<SocketAddr>, Vec<OwnedFd>) {
        let one = |listener: &Listener| Some((listener.address, listener.socket.try_clone().ok()?.into()));
        self.listeners.iter().filter(|listener| listener.lent.is_none()).filter_map(one).unzip()
    }

    /// As [`Self::remove`], all of them.
    pub(crate) fn remove_all(&mut self, reactor: &Reactor) -> Vec<(TcpStream, SocketAddr)> {
        let addresses: Vec<SocketAddr> = self.listeners.iter().map(|listener| listener.address).collect();
        self.remove(reactor, &addresses)
    }

    /// When to call [`Self::accept`] again though no token is ready, ms.
    pub(crate) fn again_ms(&self) -> Option<u64> {
        self.listeners.iter().any(|listener| listener.ready).then_some(self.rest_until_ms)
    }

    /// Those for whom there was no descriptor, and where they came: to be told, and let go before the next accept.
    pub(crate) fn take_turned_away(&mut self) -> Vec<(SocketAddr, TcpStream)> {
        std::mem::take(&mut self.turned_away)
    }

    /// Accepts what waits, up to the turn's bound.
    pub(crate) fn accept(&mut self) -> Vec<(TcpStream, SocketAddr)> {
        self.accept_at().into_iter().map(|(_, socket, peer)| (socket, peer)).collect()
    }

    /// The same, with where each was accepted.
    pub(crate) fn accept_at(&mut self) -> Vec<(SocketAddr, TcpStream, SocketAddr)> {
        let mut accepted = Vec::new();
        let now_ms = reactor::now_ms();
        if now_ms < self.rest_until_ms {
            return accepted;
        }
        if self.reserve.is_none() {
            self.reserve = File::open("/dev/null").ok();
        }
        let mut left = self.per_turn;
        let (most_turned_away, rest_ms) = self.most_turned_away;
        for listener in &mut self.listeners {
            while listener.ready && left > 0 && self.turned_away.len() < most_turned_away {
                match listener.socket.accept() {
                    Ok((socket, _)) if ipc::in_reserve(&socket) => {
                        self.rest_until_ms = now_ms + rest_ms;
                        self.turned_away.push((listener.address, socket));
                        if now_ms.saturating_sub(self.complained_ms) >= COMPLAIN_MS {
                            self.complained_ms = now_ms;
                            tracing::error!(
                                "no connection can be accepted: only {} descriptors are left; raise `ulimit -n`, or lower \
                                 max_connections",
                                ipc::RESERVED
                            );
                        }
                    }
                    Ok((socket, peer)) => {
                        reactor::crash_point("accepted");
                        accepted.push((listener.address, socket, peer));
                        left -= 1;
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => listener.ready = false,
                    Err(error) if is_exhausted(&error) => {
                        // One client learns at once that there is no place; the next, when that one's descriptor is free.
                        drop(self.reserve.take());
                        let refused = listener.socket.accept();
                        if refused.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
                            // The kernel says that there is no descriptor before it looks whether anybody waits.
                            listener.ready = false;
                            continue;
                        }
                        let is_refused = refused.is_ok();
                        self.rest_until_ms = now_ms + if is_refused { rest_ms } else { REST_MS };
                        self.turned_away.extend(refused.map(|(socket, _)| (listener.address, socket)));
                        if now_ms.saturating_sub(self.complained_ms) >= COMPLAIN_MS {
                            self.complained_ms = now_ms;
                            tracing::error!(
                                "no connection can be accepted: {error} (refused one: {is_refused})"
                            );
                        }
                        return accepted;
                    }
                    // The client gave up between its SYN and now, or a signal came: the next one.
                    Err(error) => {
                        tracing::debug!("accept: {error}");
                        left -= 1;
                    }
                }
            }
        }
        accepted
    }
}

/// No descriptor or no memory is left: EMFILE, ENFILE, ENOBUFS, ENOMEM.
fn is_exhausted(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(24 | 23 | 105 | 12))
}
