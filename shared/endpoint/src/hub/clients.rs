//! Clients come, and are sent away.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use conf::Config;
use mediaring::Counter;
use reactor::Token;
use rtmp::ServerSession;

use super::{ConnectionId, FIRST_TOKEN, Hub};
use crate::connection::Connection;
use crate::end::End;
use crate::host::Host;
use crate::newcomers::unestablished_places;
use crate::snapshot::{ConnectionSnapshot, SnapshotError};
use crate::verdict::{DecisionId, Verdict};

impl Hub {
    /// So many were accepted and let go at once, for want of descriptors.
    pub fn count_refused(&mut self, count: usize) {
        for _ in 0..count {
            self.delivery.counts.add(Counter::Accepted, 1);
            self.delivery.counts.refused_at_once(&End::Full);
        }
    }

    /// Takes nobody from this address for a while.
    pub fn refuse(&mut self, ip: IpAddr, for_ms: u64) {
        self.newcomers.refuse(ip, self.now_ms() + for_ms);
    }

    /// Takes a connection that was accepted.
    pub fn adopt<H: Host>(&mut self, host: &mut H, socket: TcpStream, peer: SocketAddr) {
        self.delivery.counts.add(Counter::Accepted, 1);
        let ip = peer.ip().to_canonical();
        if self.newcomers.is_refused(ip, self.now_ms()) {
            self.delivery.counts.refused_at_once(&End::Poison);
            return;
        }
        if prepare(&socket).is_err() {
            self.delivery.counts.refused_at_once(&End::Full);
            return;
        }
        self.make_room(host, ip);
        let config = Arc::clone(self.config());
        let now_ms = self.now_ms();
        let mut connection = self.sessions.accept(socket, peer, (&config, self.version), now_ms);
        let id = connection.id;
        // It is told why when it says what it wants.
        connection.life.refuse = self.board().established() >= u64::from(config.max_connections);
        self.newcomers.arrive(ip);
        self.count_newcomers();
        if let Some(key) = self.insert(connection) {
            if self.newcomers.lines.take() {
                tracing::info!(cid = id, "RTMP client ip={ip}:{}", peer.port());
            }
            self.with(host, key).readable(false);
        }
    }

    /// Takes over a connection that another process detached, and goes on where it stood; a question that was open is asked
    /// again here.
    ///
    /// # Errors
    /// When the snapshot can't be read; the connection is closed then.
    pub fn attach<H: Host>(
        &mut self,
        host: &mut H,
        socket: OwnedFd,
        bytes: &[u8],
    ) -> Result<(), SnapshotError> {
        let snapshot = ConnectionSnapshot::from_bytes(bytes)?;
        let mut session = ServerSession::restore(&snapshot.session)?;
        session.set_limits(self.sessions.limits());
        let socket = TcpStream::from(socket);
        if let Err(error) = prepare(&socket) {
            tracing::warn!(cid = snapshot.id, "a connection that was handed over is dead: {error}");
            return Ok(());
        }
        let pending = session.pending().cloned();
        let (connection, playing) = Connection::restore(socket, session, &snapshot, self.now_ms());
        let Some(key) = self.insert(connection) else { return Ok(()) };
        let mut client = self.with(host, key);
        for (name, viewer) in playing {
            client.join(&name, &[], |fd, key, now_ms| viewer.into_viewer(fd, key, now_ms));
        }
        if let Some(pending) = pending {
            client.ask(&pending, snapshot.decide_by_ms);
        }
        if client.pump() {
            client.readable(false);
        }
        Ok(())
    }

    /// Takes a connection out, for another process: its socket and everything else of it.
    pub fn detach<H: Host>(
        &mut self,
        host: &mut H,
        id: ConnectionId,
    ) -> Option<(OwnedFd, ConnectionSnapshot)> {
        self.with(host, id.0).detach()
    }

    /// Answers a question that was left open with [`Verdict::Later`]. Returns whether it was open: an answer that comes twice,
    /// too late, or for a client that has left does nothing.
    pub fn decide<H: Host>(&mut self, host: &mut H, id: DecisionId, verdict: Verdict) -> bool {
        let Some(open) = self.decisions.answer(id) else { return false };
        self.with(host, open.key).answer(verdict);
        true
    }

    /// Ends a connection now.
    pub fn close<H: Host>(&mut self, host: &mut H, id: ConnectionId, end: End) {
        self.with(host, id.0).end(end);
    }

    /// Goes by another configuration from now on. Clients of vhosts that it does not serve are told so and closed; nobody
    /// else notices.
    pub fn apply_config<H: Host>(&mut self, host: &mut H, config: Arc<Config>) {
        self.sessions.configure(&config);
        self.delivery.config = Arc::clone(&config);
        for id in self.delivery.audiences.ids() {
            self.delivery.configure(id);
            self.adapt_pace(host, id);
        }
        let is_served = |name: &str| config.vhosts.iter().any(|vhost| vhost.enabled && vhost.name == name);
        let mut homeless = Vec::new();
        for (key, connection) in self.delivery.connections.iter_mut() {
            connection.session.set_limits(self.sessions.limits());
            if connection.life.closing.is_none() && connection.vhost().is_some_and(|name| !is_served(name)) {
                homeless.push(key);
            }
        }
        for key in homeless {
            self.with(host, key).part("The vhost is gone", End::VhostGone);
        }
    }

    /// Closes a connection because an operator wants it. Returns whether there is one of that id.
    pub fn kick<H: Host>(&mut self, host: &mut H, id: u64) -> bool {
        let found = self.delivery.connections.find(id);
        let Some((key, _)) = found.filter(|(_, connection)| connection.life.closing.is_none()) else {
            return false;
        };
        tracing::info!(cid = id, "kicked by an operator");
        self.with(host, key).part("Closed by an operator", End::Kicked);
        true
    }

    /// Says goodbye to every client; [`Self::connection_count`] falls to 0 as they go.
    pub fn goodbye<H: Host>(&mut self, host: &mut H, description: &str) {
        for key in self.delivery.connections.keys() {
            self.with(host, key).part(description, End::Shutdown);
        }
    }

    pub(crate) fn insert(&mut self, connection: Connection) -> Option<usize> {
        let (fd, is_new) = (connection.fd(), !connection.life.established);
        let ip = connection.peer.ip().to_canonical();
        let key = self.delivery.connections.insert(connection);
        if let Err(error) = self.reactor.register(fd, Token(FIRST_TOKEN + key)) {
            tracing::error!("a connection can't be registered: {error}");
            self.delivery.connections.remove(key);
            if is_new {
                self.newcomers.leave(ip);
                self.count_newcomers();
            }
            return None;
        }
        self.delivery.counts.add(Counter::Connections, 1);
        self.delivery.connections.update_deadline(key);
        Some(key)
    }

    /// Connections that have not said what they want have places of their own, beside those that `max_connections` counts.
    /// When these are used up the oldest goes, of the address that has most of them: whoever holds them all makes room for
    /// everybody else.
    fn make_room<H: Host>(&mut self, host: &mut H, ip: IpAddr) {
        let limits = &self.config().limits;
        let places = unestablished_places(self.config().max_connections).min(limits.unestablished_total);
        let Some(greedy) = self.newcomers.greediest(ip, limits.unestablished_per_ip, places) else { return };
        let is_one = |c: &Connection| !c.life.established && c.peer.ip().to_canonical() == greedy;
        let all = self.delivery.connections.iter().filter(|(_, connection)| is_one(connection));
        let oldest = all.min_by_key(|(_, connection)| connection.id).map(|(key, _)| key);
        if let Some(key) = oldest {
            self.with(host, key).end(End::Unestablished);
        }
    }

    /// A connection has said what it wants.
    pub(crate) fn establish(&mut self, key: usize) {
        let Some(connection) = self.delivery.connections.get_mut(key) else { return };
        if !connection.life.established {
            connection.life.established = true;
            self.newcomers.leave(connection.peer.ip().to_canonical());
            self.count_newcomers();
        }
    }

    /// A connection has gone without having said what it wants.
    pub(crate) fn forget_newcomer(&mut self, connection: &Connection) {
        self.newcomers.leave(connection.peer.ip().to_canonical());
        self.count_newcomers();
    }

    fn count_newcomers(&self) {
        self.delivery.counts.set(Counter::Unestablished, self.newcomers.total().into());
    }
}

/// Socket options that every client connection has.
pub(crate) fn prepare(socket: &TcpStream) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    let options = socket2::SockRef::from(socket);
    // Urgent bytes stay in the stream: what the kernel counts is then what we read.
    options.set_out_of_band_inline(true)?;
    options.set_tcp_nodelay(true)?;
    options.set_keepalive(true)?;
    let _ = options.set_tcp_keepalive(
        &socket2::TcpKeepalive::new()
            .with_time(Duration::from_secs(15))
            .with_interval(Duration::from_secs(5)),
    );
    let _ = options.set_tcp_user_timeout(Some(Duration::from_secs(30)));
    Ok(())
}
