//! What a hub tells operators.

use api::Kbps;

use super::Hub;
use crate::connection::Connection;

impl Hub {
    /// `app/stream` of all that a connection plays, then of what it publishes.
    pub(super) fn streams_of(&self, connection: &Connection) -> Vec<String> {
        let audiences = connection.playing.iter().filter_map(|play| self.audiences.get(play.audience.0));
        let mut streams: Vec<String> =
            audiences.map(|audience| format!("{}/{}", audience.key.app, audience.key.stream)).collect();
        let app = connection.session.connect_request().map_or("", |request| &request.target.app);
        streams.extend(connection.session.publishing().iter().map(|(_, name)| format!("{app}/{name}")));
        streams
    }

    /// Clients (when they are asked for), viewers by stream and ends by reason; streams are the host's to add.
    #[must_use]
    pub fn report(&self, process: &str, with_clients: bool) -> api::Report {
        let clients = self.connections.iter().filter(|_| with_clients);
        let viewers = self.audiences.iter().map(|(_, audience)| api::Viewers {
            vhost: audience.key.vhost.clone(),
            app: audience.key.app.clone(),
            name: audience.key.stream.clone(),
            clients: audience.viewers.len() as u64,
            left_out: Vec::new(),
        });
        api::Report {
            process: process.to_owned(),
            pid: std::process::id(),
            clients: clients.map(|(_, connection)| self.client(connection, process)).collect(),
            streams: Vec::new(),
            viewers: viewers.collect(),
            externals: Vec::new(),
            hls: Vec::new(),
            dvr: api::Dvr::default(),
            ended: self.ended.iter().map(|(reason, count)| ((*reason).to_owned(), *count)).collect(),
        }
    }

    fn client(&self, connection: &Connection, process: &str) -> api::Client {
        let now_ms = reactor::now_ms();
        let request = connection.session.connect_request();
        let text = |get: fn(&rtmp::ConnectRequest) -> Option<&str>| {
            request.and_then(get).map_or_else(String::new, rtmp::url::mask_query)
        };
        let plays = connection.playing.iter().filter_map(|play| {
            let audience = self.audiences.get(play.audience.0)?;
            Some((audience, audience.viewers.get(play.viewer)?))
        });
        let plays: Vec<_> = plays.collect();
        let stream = self.streams_of(connection).into_iter().next().unwrap_or_default();
        let name = stream.rsplit('/').next().unwrap_or("").to_owned();
        let sum =
            |get: fn(&crate::viewer::Viewer) -> u64| plays.iter().map(|(_, viewer)| get(viewer)).sum::<u64>();
        let send_bytes = connection.bytes_out + sum(|viewer| viewer.sent);
        let [mark, _] = connection.marks;
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
            alive: now_ms.saturating_sub(connection.accepted_ms) as f64 / 1000.0,
            send_bytes,
            recv_bytes: connection.bytes_in,
            kbps: Kbps::of(
                connection.bytes_in.saturating_sub(mark.bytes.0),
                send_bytes.saturating_sub(mark.bytes.1),
                now_ms.saturating_sub(mark.at_ms),
            ),
            lag_ms: plays.iter().map(|(audience, viewer)| audience.lag_ms(viewer)).max().unwrap_or(0),
            dropped: connection.dropped + sum(|viewer| viewer.cursor.dropped()),
            jumps: sum(|viewer| u64::from(viewer.cursor.jumps())),
            process: process.to_owned(),
        }
    }
}
