//! Connections that ask for what another http process has: they go there with what they have said. Of one with TLS only the
//! bytes go there: this process stays between its client and the other.

use std::collections::HashMap;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;

use ipc::{Channel, ChannelError, HttpToHttp};
use mediaring::Counter;
use reactor::{Reactor, Token};
use serde::{Deserialize, Serialize};

use super::clients::Clients;
use super::connection::{Body, Connection, State};
use super::counters::Counters;
use super::proxy::Tunnel;
use super::server::HEAD_MS;
use super::to_master::ToMaster;
use super::transport::Transport;

/// Tokens of the channels to other http processes begin here: behind those of the links and listeners.
const FIRST_TOKEN: usize = 1024;
/// Most http processes.
const MOST: usize = 64;
/// How long a request waits for a process that is just being started again, ms.
pub(crate) const PATIENCE_MS: u64 = 5_000;

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

    /// Another http process is there, at the other end of the link of this number. Returns what it and the former link hand over.
    pub(crate) fn meet(
        &mut self,
        reactor: &Reactor,
        (number, link): (u32, u64),
        channel: OwnedFd,
        to_master: &mut ToMaster,
        now_ms: u64,
    ) -> Vec<Connection> {
        let channel = Channel::new(channel);
        let token = Token(FIRST_TOKEN + number as usize);
        // What the former link still brings.
        let mut taken = self.receive(token, to_master, now_ms);
        if let Err(error) = reactor.register(channel.as_raw_fd(), token) {
            to_master.link(link, None);
            tracing::error!("the channel to http#{number} can't be watched: {error}");
            return taken;
        }
        to_master.link(link, Some(false));
        if let Some((former, _)) = self.channels.insert(number, (link, channel)) {
            to_master.link(former, None);
        }
        taken.extend(self.receive(token, to_master, now_ms));
        taken
    }

    /// Takes what another http process hands over.
    pub(crate) fn receive(&mut self, token: Token, to_master: &mut ToMaster, now_ms: u64) -> Vec<Connection> {
        let mut taken = Vec::new();
        let Ok(number) = u32::try_from(token.0 - FIRST_TOKEN) else { return taken };
        while let Some((link, channel)) = self.channels.get_mut(&number) {
            let link = *link;
            let received = channel.flush().and_then(|_| channel.receive::<HttpToHttp>());
            if channel.take_lost() {
                tracing::warn!("no descriptor is left for what http#{number} hands over: it is closed");
            }
            match received {
                Ok(Some((HttpToHttp::Handoff { connection }, fds))) => {
                    taken.extend(fds.into_iter().next().and_then(|socket| take(&connection, socket, now_ms)));
                }
                Ok(None) => break,
                Err(ChannelError::Unknown(what)) => {
                    tracing::debug!("http#{number} of another version says {what}, which is passed over");
                }
                Err(error) => {
                    tracing::debug!("the link to http#{number} has ended: {error}");
                    self.channels.remove(&number);
                    to_master.link(link, None);
                }
            }
        }
        taken
    }

    /// Whether connections can go to the process of this number now.
    pub(crate) fn is_there(&self, number: u32) -> bool {
        self.channels.get(&number).is_some_and(|(_, channel)| !channel.is_going())
    }

    /// A connection goes to the process of this number in this turn.
    pub(crate) fn leave(&mut self, key: usize, connection: &mut Connection, number: u32) {
        connection.state = State::Answer(Body::Leaving);
        self.leaving.push((key, number));
    }

    /// Sends away who is to leave.
    pub(crate) fn send_leaving(&mut self, reactor: &Reactor, clients: &mut Clients, counters: &Counters) {
        for (key, number) in std::mem::take(&mut self.leaving) {
            let Some(connection) = clients.get_mut(key) else { continue };
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
                    clients.remove(key);
                    counters.add(Counter::Connections, -1);
                    socket
                }
                None => {
                    clients.unregistered_tunnels.push(key);
                    clients.get_mut(key).map_or_else(|| Err(std::io::ErrorKind::NotFound.into()), relay)
                }
            };
            let handed = socket.map_err(|error| error.to_string()).and_then(|socket| {
                let connection = rmp_serde::to_vec_named(&passed).map_err(|error| error.to_string())?;
                let (_, channel) = self.channels.get_mut(&number).ok_or("it has gone")?;
                channel
                    .send(&HttpToHttp::Handoff { connection }, vec![socket])
                    .map_err(|error| error.to_string())
            });
            if let Err(error) = handed {
                tracing::debug!(cid = passed.id, "a connection can't be handed to http#{number}: {error}");
            }
        }
    }
}

/// A connection as another process hands it over.
fn take(passed: &[u8], socket: OwnedFd, now_ms: u64) -> Option<Connection> {
    let passed = rmp_serde::from_slice::<Passed>(passed).ok()?;
    let socket = Transport::Plain(TcpStream::from(socket));
    let deadline_ms = now_ms + HEAD_MS;
    let mut connection =
        Connection::new(socket, passed.peer, passed.id, passed.accepted_ms, deadline_ms).ok()?;
    connection.input = passed.input;
    connection.bytes_in = passed.bytes_in;
    connection.bytes_out = passed.bytes_out;
    connection.was_passed = true;
    Some(connection)
}

/// A connection's bytes go through a pair of sockets from now on. Returns the other end.
fn relay(connection: &mut Connection) -> std::io::Result<OwnedFd> {
    let (ours, theirs) = UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    connection.keep_alive = false;
    connection.state = State::Answer(Body::Tunnel(Tunnel::relay(ours)));
    Ok(theirs.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    enum Later {
        Wave { hands: u8 },
    }

    #[test]
    fn what_another_version_says_ends_no_link() {
        let reactor = Reactor::new().unwrap();
        let (ours, theirs) = rustix::net::socketpair(
            rustix::net::AddressFamily::UNIX,
            rustix::net::SocketType::SEQPACKET,
            rustix::net::SocketFlags::NONBLOCK,
            None,
        )
        .unwrap();
        let (mut siblings, mut to_master) = (Siblings::default(), ToMaster::default());
        assert!(siblings.meet(&reactor, (1, 7), ours, &mut to_master, 0).is_empty());
        let mut theirs = Channel::new(theirs);
        theirs.send(&Later::Wave { hands: 2 }, Vec::new()).unwrap();
        let (socket, _client) = UnixStream::pair().unwrap();
        let passed = Passed {
            id: 5,
            peer: SocketAddr::from(([127, 0, 0, 1], 9)),
            accepted_ms: 0,
            input: b"GET / HTTP/1.1\r\n\r\n".to_vec(),
            bytes_in: 18,
            bytes_out: 0,
        };
        let connection = rmp_serde::to_vec_named(&passed).unwrap();
        theirs.send(&HttpToHttp::Handoff { connection }, vec![socket.into()]).unwrap();
        let taken = siblings.receive(Token(FIRST_TOKEN + 1), &mut to_master, 0);
        assert_eq!(taken.iter().map(|connection| connection.id).collect::<Vec<_>>(), [5]);
        assert!(siblings.is_there(1), "the link stands");
        assert_eq!(to_master.take_links(), [(7, Some(false))]);
        // Its end is one.
        drop(theirs);
        assert!(siblings.receive(Token(FIRST_TOKEN + 1), &mut to_master, 0).is_empty());
        assert_eq!((siblings.is_there(1), to_master.take_links()), (false, vec![(7, None)]));
    }
}
