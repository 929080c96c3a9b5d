//! What a process tells operators of its connections and audiences.

use api::Kbps;

use crate::audiences::Audiences;
use crate::connection::Connection;
use crate::connections::Connections;
use crate::viewer::Viewer;

/// A look at all connections of a process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Overview<'a> {
    pub(crate) connections: &'a Connections,
    pub(crate) audiences: &'a Audiences,
    /// Time of this turn, monotonic ms.
    pub(crate) now_ms: u64,
}

impl Overview<'_> {
    /// `app/stream` of all that a connection plays, then of what it publishes.
    pub(crate) fn streams_of(&self, connection: &Connection) -> Vec<String> {
        let audiences = self.audiences.viewers_of(connection).map(|(audience, _)| audience);
        let mut streams: Vec<String> =
            audiences.map(|audience| format!("{}/{}", audience.key.app, audience.key.stream)).collect();
        let app = connection.session.connect_request().map_or("", |request| &request.target.app);
        streams.extend(connection.session.publishing().iter().map(|(_, name)| format!("{app}/{name}")));
        streams
    }

    /// All clients. `process` is this one's name.
    pub(crate) fn clients(&self, process: &str) -> Vec<api::Client> {
        self.connections.iter().map(|(_, connection)| self.client(connection, process)).collect()
    }

    /// How many viewers each stream has here.
    pub(crate) fn viewers(&self) -> Vec<api::Viewers> {
        let viewers = self.audiences.iter().map(|audience| api::Viewers {
            vhost: audience.key.vhost.clone(),
            app: audience.key.app.clone(),
            name: audience.key.stream.clone(),
            clients: audience.viewers.len() as u64,
            left_out: Vec::new(),
        });
        viewers.collect()
    }

    fn client(&self, connection: &Connection, process: &str) -> api::Client {
        let now_ms = reactor::now_ms();
        let traffic = &connection.traffic;
        let request = connection.session.connect_request();
        let text = |get: fn(&rtmp::ConnectRequest) -> Option<&str>| {
            request.and_then(get).map_or_else(String::new, rtmp::url::mask_query)
        };
        let plays: Vec<_> = self.audiences.viewers_of(connection).collect();
        let stream = self.streams_of(connection).into_iter().next().unwrap_or_default();
        let name = stream.rsplit('/').next().unwrap_or("").to_owned();
        let sum = |get: fn(&Viewer) -> u64| plays.iter().map(|(_, viewer)| get(viewer)).sum::<u64>();
        let send_bytes = traffic.bytes_out + sum(|viewer| viewer.sent);
        let [mark, _] = traffic.marks;
        api::Client {
            id: connection.id,
            vhost: connection.vhost().unwrap_or("").to_owned(),
            url: if stream.is_empty() { String::new() } else { format!("/{stream}") },
            stream,
            name,
            ip: connection.peer.ip().to_canonical().to_string(),
            page_url: text(|request| request.page_url.as_deref()),
            swf_url: text(|request| request.swf_url.as_deref()),
            tc_url: request.map_or_else(String::new, |request| rtmp::url::mask_query(&request.tc_url)),
            kind: match (plays.is_empty(), connection.publishing.is_empty()) {
                (_, false) => "fmle-publish",
                (false, _) => "play",
                _ => "unknown",
            }
            .to_owned(),
            publish: !connection.publishing.is_empty(),
            #[expect(clippy::cast_precision_loss, reason = "seconds for people")]
            alive: now_ms.saturating_sub(connection.life.accepted_ms) as f64 / 1000.0,
            send_bytes,
            recv_bytes: traffic.bytes_in,
            kbps: Kbps::of(
                traffic.bytes_in.saturating_sub(mark.bytes.0),
                send_bytes.saturating_sub(mark.bytes.1),
                now_ms.saturating_sub(mark.at_ms),
            ),
            lag_ms: plays.iter().map(|(audience, viewer)| audience.lag_ms(viewer)).max().unwrap_or(0),
            dropped: traffic.dropped + sum(|viewer| viewer.cursor.dropped()),
            jumps: sum(|viewer| u64::from(viewer.cursor.jumps())),
            process: process.to_owned(),
        }
    }
}
