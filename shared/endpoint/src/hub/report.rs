//! What a hub tells operators.

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

    /// Clients, viewers by stream and ends by reason; streams are the host's to add.
    #[must_use]
    pub fn report(&self, process: &str) -> api::Report {
        let now_ms = reactor::now_ms();
        let clients = self.connections.iter().map(|(_, connection)| {
            let request = connection.session.connect_request();
            let text = |get: fn(&rtmp::ConnectRequest) -> Option<&str>| {
                request.and_then(get).map_or_else(String::new, str::to_owned)
            };
            let play = connection.playing.first().and_then(|play| {
                let audience = self.audiences.get(play.audience.0)?;
                Some((audience, audience.viewers.get(play.viewer)?))
            });
            let stream = self.streams_of(connection).into_iter().next().unwrap_or_default();
            let alive = now_ms.saturating_sub(connection.accepted_ms);
            api::Client {
                id: connection.id,
                vhost: connection.vhost().unwrap_or("").to_owned(),
                stream,
                ip: connection.peer.ip().to_canonical().to_string(),
                page_url: text(|request| request.page_url.as_deref()),
                swf_url: text(|request| request.swf_url.as_deref()),
                tc_url: request.map_or_else(String::new, |request| rtmp::url::mask_query(&request.tc_url)),
                kind: match (play.is_some(), connection.publishing.is_empty()) {
                    (_, false) => "fmle-publish",
                    (true, _) => "play",
                    _ => "unknown",
                }
                .to_owned(),
                publish: !connection.publishing.is_empty(),
                #[expect(clippy::cast_precision_loss, reason = "seconds for people")]
                alive: alive as f64 / 1000.0,
                send_bytes: connection.bytes_out + play.map_or(0, |(_, viewer)| viewer.sent),
                recv_bytes: connection.bytes_in,
                dropped: connection.dropped + play.map_or(0, |(_, viewer)| viewer.dropped),
                jumps: play.map_or(0, |(_, viewer)| u64::from(viewer.jumps)),
                process: process.to_owned(),
            }
        });
        let viewers = self.audiences.iter().map(|(_, audience)| api::Viewers {
            vhost: audience.key.vhost.clone(),
            app: audience.key.app.clone(),
            name: audience.key.stream.clone(),
            clients: audience.viewers.len() as u64,
            send_bytes: audience.viewers.iter().map(|(_, viewer)| viewer.sent).sum::<u64>()
                + self.sent_before.get(&audience.key).copied().unwrap_or(0),
        });
        let mut viewers: Vec<api::Viewers> = viewers.collect();
        viewers.extend(self.sent_before.iter().filter(|(key, _)| self.audience(key).is_none()).map(
            |(key, sent)| api::Viewers {
                vhost: key.vhost.clone(),
                app: key.app.clone(),
                name: key.stream.clone(),
                clients: 0,
                send_bytes: *sent,
            },
        ));
        api::Report {
            process: process.to_owned(),
            pid: std::process::id(),
            clients: clients.collect(),
            streams: Vec::new(),
            viewers,
            externals: Vec::new(),
            ended: self.ended.iter().map(|(reason, count)| ((*reason).to_owned(), *count)).collect(),
        }
    }
}
