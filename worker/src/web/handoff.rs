//! Connections that ask for what another http process has: they go there with what they have said. Of one with TLS only the
//! bytes go there: this process stays between its client and the other.

use std::collections::HashMap;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;

use conf::vhost::Vhost;
use http1::Request;
use ipc::{Channel, HttpToHttp};
use mediaring::Counter;
use reactor::{Reactor, Token};
use serde::{Deserialize, Serialize};

use super::connection::{Body, Connection, State};
use super::proxy::Tunnel;
use super::server::{HEAD_MS, Web};
use super::transport::Transport;

/// Tokens of the channels to other http processes begin here: behind those of the links and listeners.
const FIRST_TOKEN: usize = 1024;
/// Most http processes.
const MOST: usize = 64;
/// How long a request waits for a process that is just being started again, ms.
const PATIENCE_MS: u64 = 5_000;

/// A connection as it is handed over.
#[derive(Debug, Serialize, Deserialize)]
struct Passed {
    id: u64,
    peer: SocketAddr,
    accepted_ms: u64,
    /// The request and what was read behind it.
    #[serde(with = "serde_bytes")]
    input: Vec<u8>,
    bytes_in: u64,
    bytes_out: u64,
}

/// The other http processes.
#[derive(Debug, Default)]
pub(crate) struct Siblings {
    /// By number: that of the link, and the channel.
    channels: HashMap<u32, (u64, Channel)>,
    /// Connections that leave in this turn, and where to.
    leaving: Vec<(usize, u32)>,
}

impl Siblings {
    /// Whether a token is that of a channel to one of them.
    pub(crate) fn owns(token: Token) -> bool {
        (FIRST_TOKEN..FIRST_TOKEN + MOST).contains(&token.0)
    }

    /// Whether somebody waits to leave.
    pub(crate) fn is_busy(&self) -> bool {
        !self.leaving.is_empty()
    }
}

impl Web {
    /// Another http process is there, at the other end of the link of this number.
    pub(crate) fn meet_sibling(&mut self, reactor: &Reactor, slot: u32, link: u64, channel: OwnedFd) {
        let channel = Channel::new(channel);
        let token = Token(FIRST_TOKEN + slot as usize);
        // What the former link still brings.
        self.hear_sibling(reactor, token);
        if let Err(error) = reactor.register(channel.as_raw_fd(), token) {
            self.link_notes.push((link, None));
            return tracing::error!("the channel to http#{slot} can't be watched: {error}");
        }
        self.link_notes.push((link, Some(false)));
        if let Some((former, _)) = self.siblings.channels.insert(slot, (link, channel)) {
            self.link_notes.push((former, None));
        }
        self.recheck_waiting = true;
        self.hear_sibling(reactor, token);
    }

    /// Takes what another http process hands over.
    pub(crate) fn hear_sibling(&mut self, reactor: &Reactor, token: Token) {
        let Ok(slot) = u32::try_from(token.0 - FIRST_TOKEN) else { return };
        loop {
            let Some((link, channel)) = self.siblings.channels.get_mut(&slot) else { return };
            let link = *link;
            let received = channel.flush().and_then(|_| channel.receive::<HttpToHttp>());
            if channel.take_lost() {
                tracing::warn!("no descriptor is left for what http#{slot} hands over: it is closed");
            }
            match received {
                Ok(Some((HttpToHttp::Handoff { connection }, fds))) => {
                    if let Some(socket) = fds.into_iter().next() {
                        self.take_in(reactor, &connection, socket);
                    }
                }
                Ok(None) => return,
                Err(error) => {
                    tracing::debug!("the link to http#{slot} has ended: {error}");
                    self.siblings.channels.remove(&slot);
                    self.link_notes.push((link, None));
                    return;
                }
            }
        }
    }

    fn take_in(&mut self, reactor: &Reactor, passed: &[u8], socket: OwnedFd) {
        let Ok(passed) = rmp_serde::from_slice::<Passed>(passed) else { return };
        let socket = Transport::Plain(TcpStream::from(socket));
        let deadline_ms = self.now_ms + HEAD_MS;
        let Ok(mut connection) =
            Connection::new(socket, passed.peer, passed.id, passed.accepted_ms, deadline_ms)
        else {
            return;
        };
        connection.input = passed.input;
        connection.bytes_in = passed.bytes_in;
        connection.bytes_out = passed.bytes_out;
        connection.was_passed = true;
        self.begin(reactor, connection);
    }

    /// A request for what another process has goes there. `false` when it is to be answered here.
    pub(crate) fn pass_to_owner(
        &mut self,
        key: usize,
        vhost: &Vhost,
        request: &Request,
        waited: Option<(u64, u64)>,
    ) -> bool {
        let Some(connection) = self.connections.get_mut(key) else { return false };
        // Who came from another process for this is not sent on: the two would not agree for a moment after a reload.
        let Some(owner) = self.owners.other(vhost, &request.path).filter(|_| !connection.was_passed) else {
            return false;
        };
        if self.siblings.channels.get(&owner).is_some_and(|(_, channel)| !channel.is_going()) {
            connection.state = State::Answer(Body::Leaving);
            self.siblings.leaving.push((key, owner));
            return true;
        }
        self.wait_for(key, request.clone(), waited, PATIENCE_MS);
        true
    }

    /// Sends away who is to leave.
    pub(crate) fn send_leaving(&mut self, reactor: &Reactor) {
        for (key, owner) in std::mem::take(&mut self.siblings.leaving) {
            let Some(connection) = self.connections.get_mut(key) else { continue };
            if !matches!(connection.state, State::Answer(Body::Leaving)) {
                continue;
            }
            let mut input = std::mem::take(&mut connection.head);
            input.append(&mut connection.input);
            let passed = Passed {
                id: connection.id,
                peer: connection.peer,
                accepted_ms: connection.accepted_ms,
                input,
                bytes_in: connection.bytes_in,
                bytes_out: connection.bytes_out,
            };
            let socket = match connection.plain() {
                Some(socket) => {
                    let _ = reactor.deregister(socket.as_raw_fd());
                    let socket = socket.as_fd().try_clone_to_owned();
                    self.connections.remove(key);
                    self.board.add(self.slot, Counter::Connections, -1);
                    socket
                }
                None => self.relay(key),
            };
            let handed = socket.map_err(|error| error.to_string()).and_then(|socket| {
                let connection = rmp_serde::to_vec_named(&passed).map_err(|error| error.to_string())?;
                let (_, channel) = self.siblings.channels.get_mut(&owner).ok_or("it has gone")?;
                channel
                    .send(&HttpToHttp::Handoff { connection }, vec![socket])
                    .map_err(|error| error.to_string())
            });
            if let Err(error) = handed {
                tracing::debug!(cid = passed.id, "a connection can't be handed to http#{owner}: {error}");
            }
        }
    }

    /// A connection's bytes go through a pair of sockets from now on. Returns the other end.
    fn relay(&mut self, key: usize) -> std::io::Result<OwnedFd> {
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        if let Some(connection) = self.connections.get_mut(key) {
            connection.keep_alive = false;
            connection.state = State::Answer(Body::Tunnel(Tunnel::relay(ours)));
            self.unregistered_tunnels.push(key);
        }
        Ok(theirs.into())
    }
}
