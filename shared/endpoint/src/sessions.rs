//! New sessions: what they are told of this server, and the limits that all share.

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use conf::Config;
use rtmp::{Identity, Limits, ServerOptions, ServerSession};

use crate::connection::Connection;

/// What every session begins with.
#[derive(Debug)]
pub(crate) struct Sessions {
    /// The protocol's share of the limits, for all sessions.
    limits: Arc<Limits>,
    next_id: u64,
}

impl Sessions {
    /// Connections get ids from this one on.
    pub(crate) fn new(config: &Config, first_id: u64) -> Self {
        Self { limits: Arc::new(limits_of(config)), next_id: first_id }
    }

    pub(crate) fn limits(&self) -> &Arc<Limits> {
        &self.limits
    }

    /// Other limits hold from now on.
    pub(crate) fn configure(&mut self, config: &Config) {
        self.limits = Arc::new(limits_of(config));
    }

    /// A connection that was accepted. `version` is the server's.
    pub(crate) fn accept(
        &mut self,
        socket: TcpStream,
        peer: SocketAddr,
        (config, version): (&Config, &str),
        now_ms: u64,
    ) -> Connection {
        let id = self.next_id;
        self.next_id += 1;
        let mut seed = [0; 32];
        let _ = getrandom::fill(&mut seed);
        let local = socket.local_addr().map(|local| local.ip().to_canonical().to_string());
        let options = ServerOptions {
            limits: Arc::clone(&self.limits),
            seed,
            identity: Identity {
                server_ip: local.unwrap_or_default(),
                pid: std::process::id(),
                id,
                version: version.to_owned(),
            },
            out_chunk_size: config.chunk_size,
            out_window: 2_500_000,
            in_ack_size: 0,
        };
        Connection::new(socket, peer, id, ServerSession::new(now_ms, options), now_ms)
    }
}

/// The protocol's share of the configured limits.
fn limits_of(config: &Config) -> Limits {
    let limits = &config.limits;
    Limits {
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
        ..Limits::default()
    }
}
