//! How connections begin and end.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use conf::Config;
use mediaring::Counter;
use reactor::Token;
use rtmp::{Identity, ServerOptions, ServerSession};

use super::{ConnectionId, FIRST_TOKEN, Host, Hub};
use crate::audience::AudienceId;
use crate::connection::Connection;
use crate::end::End;

/// How long a connection that we end may take to read our last words, ms.
const LINGER_MS: u64 = 1000;

/// Fewest places for connections that have not said what they want.
const LEAST_PLACES: u32 = 64;

/// How many connections of a process may not have said what they want, over RTMP and over HTTP.
#[must_use]
pub fn unestablished_places(max_connections: u32) -> u32 {
    (max_connections / 2).max(LEAST_PLACES)
}

impl Hub {
    /// So many were accepted and let go at once, for want of descriptors.
    pub fn count_refused(&mut self, count: usize) {
        for _ in 0..count {
            self.board.add(self.board_slot, Counter::Accepted, 1);
            self.refused_at_once(&End::Full);
        }
    }

    /// Takes a connection that was accepted.
    pub fn adopt<H: Host>(&mut self, host: &mut H, socket: TcpStream, peer: SocketAddr) {
        self.board.add(self.board_slot, Counter::Accepted, 1);
        let limit = u64::from(self.config.max_connections);
        if self.refused.get(&peer.ip().to_canonical()).is_some_and(|until| *until > self.now_ms) {
            self.refused_at_once(&End::Poison);
            return;
        }
        if prepare(&socket).is_err() {
            self.refused_at_once(&End::Full);
            return;
        }
        let ip = peer.ip().to_canonical();
        self.make_room(host, ip);
        let id = self.next_id;
        self.next_id += 1;
        let mut seed = [0; 32];
        let _ = getrandom::fill(&mut seed);
        let session = ServerSession::new(
            self.now_ms,
            ServerOptions {
                limits: Arc::clone(&self.limits),
                seed,
                identity: Identity {
                    server_ip: socket
                        .local_addr()
                        .map_or_else(|_| String::new(), |local| local.ip().to_canonical().to_string()),
                    pid: std::process::id(),
                    id,
                    version: self.version.to_owned(),
                },
                out_chunk_size: self.config.chunk_size,
                out_window: 2_500_000,
                in_ack_size: 0,
            },
        );
        let mut connection = Connection::new(socket, peer, id, session, self.now_ms);
        // It is told why when it says what it wants.
        connection.refuse = self.board.established() >= limit;
        *self.unestablished.entry(ip).or_default() += 1;
        self.unestablished_total += 1;
        self.board.set(self.board_slot, Counter::Unestablished, self.unestablished_total.into());
        if let Some(key) = self.insert(connection) {
            if self.may_log() {
                tracing::info!(cid = id, "RTMP client ip={ip}:{}", peer.port());
            }
            self.readable(host, key, false);
        }
    }

    /// A connection that is not even looked at.
    fn refused_at_once(&mut self, end: &End) {
        for counter in [Counter::Refused, Counter::Ended, Counter::Errors] {
            self.board.add(self.board_slot, counter, 1);
        }
        *self.ended.entry(end.reason()).or_default() += 1;
    }

    pub(super) fn insert(&mut self, connection: Connection) -> Option<usize> {
        self.board.add(self.board_slot, Counter::Connections, 1);
        let fd = connection.fd();
        let key = self.connections.insert(connection);
        if let Err(error) = self.reactor.register(fd, Token(FIRST_TOKEN + key)) {
            tracing::error!("a connection can't be registered: {error}");
            self.connections.remove(key);
            self.board.add(self.board_slot, Counter::Connections, -1);
            return None;
        }
        self.update_deadline(key);
        Some(key)
    }

    /// Connections that have not said what they want have places of their own, beside those that `max_connections` counts.
    /// When these are used up the oldest goes, of the address that has most of them: whoever holds them all makes room for
    /// everybody else.
    fn make_room<H: Host>(&mut self, host: &mut H, ip: IpAddr) {
        let limits = &self.config.limits;
        let places = unestablished_places(self.config.max_connections).min(limits.unestablished_total);
        let of_one = limits.unestablished_per_ip.min(places);
        let greediest = if self.unestablished.get(&ip).copied().unwrap_or(0) >= of_one {
            Some(ip)
        } else if self.unestablished_total >= places {
            self.unestablished.iter().max_by_key(|(_, count)| **count).map(|(ip, _)| *ip)
        } else {
            None
        };
        let oldest = greediest.and_then(|greedy| {
            self.connections
                .iter()
                .filter(|(_, c)| !c.established && c.peer.ip().to_canonical() == greedy)
                .min_by_key(|(_, c)| c.id)
                .map(|(key, _)| key)
        });
        if let Some(key) = oldest {
            self.end(host, key, End::Unestablished);
        }
    }

    pub(super) fn establish(&mut self, key: usize) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        if !connection.established {
            connection.established = true;
            let ip = connection.peer.ip().to_canonical();
            self.forget_unestablished(ip);
        }
    }

    pub(super) fn forget_unestablished(&mut self, ip: IpAddr) {
        self.unestablished_total = self.unestablished_total.saturating_sub(1);
        self.board.set(self.board_slot, Counter::Unestablished, self.unestablished_total.into());
        if let Some(count) = self.unestablished.get_mut(&ip) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.unestablished.remove(&ip);
            }
        }
    }

    pub(super) fn update_deadline(&mut self, key: usize) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let Some(at) = connection.session.poll_timeout() else { return };
        if connection.deadline.is_none_or(|known| at < known) {
            connection.deadline = Some(at);
            self.deadlines.add(at, (key, connection.id));
        }
    }

    /// Ends a connection after what waits has been sent and the peer has had time to read it.
    pub fn close_softly<H: Host>(&mut self, host: &mut H, key: usize, end: End) {
        self.leave_all(host, key);
        let Some(connection) = self.connections.get_mut(key) else { return };
        if connection.closing.is_some() {
            return;
        }
        connection.closing = Some(end);
        let at = self.now_ms + LINGER_MS;
        connection.deadline = Some(at);
        self.deadlines.add(at, (key, connection.id));
        self.flush(host, key);
    }

    /// Ends a connection now.
    pub fn close<H: Host>(&mut self, host: &mut H, id: ConnectionId, end: End) {
        self.end(host, id.0, end);
    }

    /// Stops what a connection plays and publishes.
    pub(super) fn leave_all<H: Host>(&mut self, host: &mut H, key: usize) {
        while let Some(msid) =
            self.connections.get_mut(key).and_then(|c| c.playing.last()).map(|play| play.msid)
        {
            self.stop_play(host, key, msid);
        }
        while let Some(msid) = self.connections.get_mut(key).and_then(|c| c.publishing.pop()) {
            host.unpublish(self, ConnectionId(key), msid);
        }
    }

    pub(super) fn end<H: Host>(&mut self, host: &mut H, key: usize, end: End) {
        if !self.connections.contains(key) {
            return;
        }
        self.leave_all(host, key);
        host.closed(self, ConnectionId(key));
        let connection = self.connections.remove(key);
        let _ = self.reactor.deregister(connection.fd());
        self.forget(&connection, &end);
    }

    /// Whether one more line about a newcomer may be logged.
    fn may_log(&mut self) -> bool {
        let may = self.lines_left > 0;
        self.lines_left = self.lines_left.saturating_sub(1);
        self.lines_dropped += u64::from(!may);
        may
    }

    pub(super) fn forget(&mut self, connection: &Connection, end: &End) {
        self.board.add(self.board_slot, Counter::Connections, -1);
        self.board.add(self.board_slot, Counter::Ended, 1);
        if end.is_error() {
            self.board.add(self.board_slot, Counter::Errors, 1);
        }
        if !connection.established {
            self.forget_unestablished(connection.peer.ip().to_canonical());
        }
        *self.ended.entry(end.reason()).or_default() += 1;
        self.buffered = self.buffered.saturating_sub(connection.buffered);
        if !connection.established && !self.may_log() {
            return;
        }
        let seconds = self.now_ms.saturating_sub(connection.accepted_ms);
        let line = format_args!(
            "client ip={} ends: {end} ({}), after {}.{:03} s, received {} bytes, sent {} bytes, {} frames, {} dropped",
            connection.peer,
            end.reason(),
            seconds / 1000,
            seconds % 1000,
            connection.bytes_in,
            connection.bytes_out,
            connection.frames,
            connection.dropped,
        );
        if end.is_peer_error() {
            tracing::warn!(cid = connection.id, "{line}");
        } else {
            tracing::info!(cid = connection.id, "{line}");
        }
    }

    /// Goes by another configuration from now on. Clients of vhosts that it does not serve are told so and closed; nobody
    /// else notices.
    pub fn apply_config<H: Host>(&mut self, host: &mut H, config: Arc<Config>) {
        self.limits = Arc::new(session_limits(&config.limits));
        self.config = config;
        let audiences: Vec<usize> = self.audiences.iter().map(|(key, _)| key).collect();
        for key in audiences {
            self.configure(AudienceId(key));
            self.adapt_pace(host, AudienceId(key));
        }
        let mut homeless = Vec::new();
        for (key, connection) in &mut self.connections {
            connection.session.set_limits(&self.limits);
            let served =
                |name: &str| self.config.vhosts.iter().any(|vhost| vhost.enabled && vhost.name == name);
            if connection.closing.is_none() && connection.vhost.as_deref().is_some_and(|name| !served(name)) {
                homeless.push(key);
            }
        }
        for key in homeless {
            if let Some(connection) = self.connections.get_mut(key) {
                connection.session.goodbye("The vhost is gone");
            }
            self.pump(host, key);
            self.close_softly(host, key, End::VhostGone);
        }
    }

    /// Closes a connection because an operator wants it. Returns whether there is one of that id.
    pub fn kick<H: Host>(&mut self, host: &mut H, id: u64) -> bool {
        let found = self.connections.iter().find(|(_, connection)| connection.id == id);
        let Some(key) = found.filter(|(_, connection)| connection.closing.is_none()).map(|(key, _)| key)
        else {
            return false;
        };
        tracing::info!(cid = id, "kicked by an operator");
        if let Some(connection) = self.connections.get_mut(key) {
            connection.session.goodbye("Closed by an operator");
        }
        self.pump(host, key);
        self.close_softly(host, key, End::Kicked);
        true
    }

    /// Says goodbye to every client; [`Self::connection_count`] falls to 0 as they go.
    pub fn goodbye<H: Host>(&mut self, host: &mut H, description: &str) {
        let keys: Vec<usize> = self.connections.iter().map(|(key, _)| key).collect();
        for key in keys {
            if let Some(connection) = self.connections.get_mut(key) {
                connection.session.goodbye(description);
            }
            self.pump(host, key);
            self.close_softly(host, key, End::Shutdown);
        }
    }
}

/// Socket options that every client connection has.
pub(super) fn prepare(socket: &TcpStream) -> io::Result<()> {
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

/// The protocol's share of the configured limits.
pub(super) fn session_limits(limits: &conf::config::Limits) -> rtmp::Limits {
    rtmp::Limits {
        max_media_message: limits.max_message,
        max_command_message: limits.max_command_message,
        max_data_message: limits.max_data_message,
        chunk_size_min: limits.chunk_size_min,
        chunk_size_max: limits.chunk_size_max,
        tolerate_large_chunk_size: limits.clamp_chunk_size,
        max_csids: limits.max_csids as usize,
        max_messages_in_flight: limits.max_messages_in_flight as usize,
        max_reassembly: usize::try_from(limits.max_reassembly).unwrap_or(usize::MAX),
        handshake_timeout_ms: limits.handshake_timeout_ms,
        identify_timeout_ms: limits.identify_timeout_ms,
        max_message_streams: limits.message_streams as usize,
        max_name_bytes: limits.name_bytes as usize,
        max_pending_pongs: limits.pending_pings,
        ack_window_min: limits.ack_window_min,
        ack_window_max: limits.ack_window_max,
        amf_depth: limits.amf_depth as usize,
        amf_nodes: limits.amf_nodes as usize,
        amf_keys: limits.amf_keys as usize,
        amf_string: limits.amf_string as usize,
        amf_total: limits.amf_total as usize,
        ..rtmp::Limits::default()
    }
}
