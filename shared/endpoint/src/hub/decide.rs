//! What clients ask: connect, publish, play and the rest.

use std::net::TcpStream;
use std::sync::Arc;

use conf::config::Lookup;
use conf::vhost::Vhost;
use fanout::PeerRequest;
use media::StreamKey;
use mediaring::Counter;
use rtmp::{PublishRequest, RejectReason, ServerEvent};
use socket2::SockRef;

use super::{ConnectionId, Host, Hub};
use crate::connection::Connection;
use crate::end::End;
use crate::refer;

impl Hub {
    pub(super) fn event<H: Host>(&mut self, host: &mut H, key: usize, event: ServerEvent) {
        match event {
            ServerEvent::Media { msid, kind, timestamp, payload } => {
                if let Some(connection) = self.connections.get_mut(key) {
                    connection.frames += 1;
                    connection.had_media = true;
                    connection.last_media_ms = self.now_ms;
                }
                host.media(self, ConnectionId(key), msid, kind, timestamp, payload);
            }
            ServerEvent::Connect(request) => self.connect(host, key, &request),
            ServerEvent::Publish(request) => self.publish(host, key, request),
            ServerEvent::Play(request) => self.play(host, key, &request),
            ServerEvent::Unpublish { msid } => {
                if let Some(connection) = self.connections.get_mut(key) {
                    connection.publishing.retain(|known| *known != msid);
                }
                host.unpublish(self, ConnectionId(key), msid);
            }
            ServerEvent::StopPlay { msid } => self.stop_play(host, key, msid),
            ServerEvent::Pause { msid, paused, .. } => {
                self.peer_request(host, key, msid, PeerRequest::Pause(paused));
            }
            ServerEvent::ReceiveAudio { msid, on } => {
                self.peer_request(host, key, msid, PeerRequest::ReceiveAudio(on));
            }
            ServerEvent::ReceiveVideo { msid, on } => {
                self.peer_request(host, key, msid, PeerRequest::ReceiveVideo(on));
            }
            ServerEvent::Dropped { what, count } => {
                if let Some(connection) = self.connections.get(key) {
                    tracing::warn!(cid = connection.id, "left out, {count} so far: {what}");
                }
            }
            ServerEvent::Seek { .. } | ServerEvent::BufferLength { .. } | ServerEvent::Acknowledged(_) => {}
        }
    }

    pub(super) fn connect<H: Host>(&mut self, host: &mut H, key: usize, request: &rtmp::ConnectRequest) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let cid = connection.id;
        let url = rtmp::url::mask_query(&request.tc_url);
        let refusal = match self.config.vhost(&request.target.vhost) {
            _ if connection.refuse => Some("The server is full: max_connections is reached".to_owned()),
            Lookup::Found(vhost) if !refer::allowed(&vhost.refer.all, request.page_url.as_deref()) => {
                Some("The page is not allowed to use this server (refer)".to_owned())
            }
            Lookup::Found(vhost) => {
                connection.vhost = Some(vhost.name.as_str().into());
                tune(&connection.socket, vhost);
                connection.session.set_windows(vhost.out_ack_size, vhost.in_ack_size);
                None
            }
            Lookup::Disabled(vhost) => Some(format!("The vhost {} is disabled", vhost.name)),
            Lookup::NotFound => Some(format!("There is no vhost {}", request.target.vhost)),
        };
        match refusal {
            None => {
                tracing::info!(
                    cid,
                    "connect app, tcUrl={url}, vhost={}, app={}",
                    connection.vhost().unwrap_or(""),
                    request.target.app
                );
                if let Err(error) = connection.session.accept_connect(self.now_ms) {
                    self.end(host, key, End::Protocol(error));
                }
            }
            Some(why) => {
                tracing::warn!(cid, "connect refused, tcUrl={url}: {why}");
                if connection.refuse {
                    self.board.add(self.board_slot, Counter::Refused, 1);
                }
                connection.session.reject_connect(&why);
            }
        }
    }

    /// The resolved name of a stream that a connection asks for. A `vhost` among the stream's own parameters wins over the
    /// one it connected to, and has to let the client in like that one.
    pub(super) fn key_of(
        &self,
        key: usize,
        name: &str,
        params: &[(String, String)],
    ) -> Result<StreamKey, String> {
        let connection = self.connections.get(key).ok_or("The connection is gone")?;
        let request = connection.session.connect_request().ok_or("There was no connect")?;
        let app = request.target.app.clone();
        let stream = name.to_owned();
        let asked =
            rtmp::url::vhost_of(params).map_err(|error| format!("The stream's parameters: {error}"))?;
        let vhost = match asked {
            None => connection.vhost.as_deref().ok_or("There was no connect")?.to_owned(),
            Some(asked) => match self.config.vhost(&asked) {
                Lookup::Found(vhost) if refer::allowed(&vhost.refer.all, request.page_url.as_deref()) => {
                    vhost.name.clone()
                }
                Lookup::Found(_) => {
                    return Err("The page is not allowed to use this server (refer)".to_owned());
                }
                Lookup::Disabled(vhost) => return Err(format!("The vhost {} is disabled", vhost.name)),
                Lookup::NotFound => return Err(format!("There is no vhost {asked}")),
            },
        };
        Ok(StreamKey { vhost, app, stream })
    }

    /// The vhost of what a client plays or publishes is its vhost from now on, also where it connected to another.
    pub(super) fn enter(&mut self, key: usize, vhost: &str) {
        let config = Arc::clone(&self.config);
        let found = config.vhosts.iter().find(|known| known.name == vhost);
        if let (Some(vhost), Some(connection)) = (found, self.connections.get_mut(key))
            && connection.vhost() != Some(&*vhost.name)
        {
            connection.vhost = Some(vhost.name.as_str().into());
            tune(&connection.socket, vhost);
        }
    }

    pub(super) fn page_allowed(
        &self,
        key: usize,
        vhost: &str,
        list: impl Fn(&Vhost) -> &Vec<String>,
    ) -> bool {
        let Some(connection) = self.connections.get(key) else { return false };
        let page = connection.session.connect_request().and_then(|request| request.page_url.as_deref());
        let vhost = self.vhost(vhost);
        vhost.is_some_and(|vhost| vhost.enabled && refer::allowed(list(vhost), page))
    }

    pub(super) fn publish<H: Host>(&mut self, host: &mut H, key: usize, request: PublishRequest) {
        let name = match self.key_of(key, &request.name, &request.params) {
            Ok(name) if self.page_allowed(key, &name.vhost, |vhost| &vhost.refer.publish) => Ok(name),
            Ok(_) => Err("The page is not allowed to publish (refer_publish)".to_owned()),
            Err(why) => Err(why),
        };
        let name = match name {
            Ok(name) => name,
            Err(why) => {
                if let Some(connection) = self.connections.get_mut(key) {
                    tracing::warn!(cid = connection.id, "publish refused: {why}");
                    connection.session.reject_publish(request.msid, RejectReason::Denied, &why);
                }
                return;
            }
        };
        self.enter(key, &name.vhost);
        self.establish(key);
        host.publish(self, ConnectionId(key), name, request);
    }

    /// Accepts a publish that was asked of the host.
    pub fn accept_publish<H: Host>(&mut self, host: &mut H, id: ConnectionId, msid: u32) {
        let Some(connection) = self.connections.get(id.0) else { return };
        let chunk_size = self.chunk_size_of(connection);
        let Some(connection) = self.connections.get_mut(id.0) else { return };
        connection.session.set_out_chunk_size(chunk_size);
        connection.publishing.push(msid);
        connection.had_media = false;
        connection.last_media_ms = self.now_ms;
        match connection.session.accept_publish(self.now_ms, msid) {
            Ok(()) => {
                self.pump(host, id.0);
            }
            Err(error) => self.end(host, id.0, End::Protocol(error)),
        }
    }

    /// The chunk size that a connection's vhost asks for.
    pub(crate) fn chunk_size_of(&self, connection: &Connection) -> u32 {
        let vhost = connection.vhost.as_deref().and_then(|name| self.vhost(name));
        vhost.map_or(self.config.chunk_size, |vhost| vhost.chunk_size)
    }

    /// Refuses a publish that was asked of the host.
    pub fn reject_publish<H: Host>(&mut self, host: &mut H, id: ConnectionId, msid: u32, why: &str) {
        let Some(connection) = self.connections.get_mut(id.0) else { return };
        tracing::warn!(cid = connection.id, "publish refused: {why}");
        connection.session.reject_publish(msid, RejectReason::BadName, why);
        self.pump(host, id.0);
    }

    pub(crate) fn asked(
        &self,
        key: usize,
        name: &str,
        params: &[(String, String)],
    ) -> Result<StreamKey, String> {
        let name = self.key_of(key, name, params)?;
        if self.page_allowed(key, &name.vhost, |vhost| &vhost.refer.play) {
            Ok(name)
        } else {
            Err("The page is not allowed to play (refer_play)".to_owned())
        }
    }
}

/// Socket options of a vhost's clients. A kernel that refuses one serves without it.
fn tune(socket: &TcpStream, vhost: &Vhost) {
    let options = SockRef::from(socket);
    if let Some(nodelay) = vhost.tcp_nodelay {
        let _ = options.set_tcp_nodelay(nodelay);
    }
    if vhost.send_buffer > 0 {
        let _ = options.set_send_buffer_size(vhost.send_buffer as usize);
    }
    if vhost.tcp_notsent_lowat > 0 {
        let _ = options.set_tcp_notsent_lowat(vhost.tcp_notsent_lowat);
    }
}
