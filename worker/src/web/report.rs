//! What this process tells of its clients and of who watches what.

use super::clients::Clients;
use super::connection::Connection;
use super::server::Web;
use super::site::Site;
use crate::outputs::media::Media;

impl Web {
    /// Adds what this process knows to its report.
    pub(crate) fn report(&self, process: &str, report: &mut api::Report) {
        for (_, connection) in self.clients.connections.iter().filter(|(_, client)| !client.is_relayed()) {
            report.clients.push(client(connection, &self.site.media, process, self.now_ms));
        }
        self.site.media.report(process, self.now(), report);
        report.ended.extend(self.counters.reasons());
    }
}

/// A connection as operators see it.
fn client(connection: &Connection, media: &Media, process: &str, now_ms: u64) -> api::Client {
    let watched = connection.viewer().and_then(|viewer| Some((viewer, media.feed(viewer.feed)?)));
    let alive_ms = now_ms.saturating_sub(connection.accepted_ms);
    api::Client {
        id: connection.id,
        vhost: watched.map_or_else(String::new, |(_, feed)| feed.key.vhost.clone()),
        stream: watched.map_or_else(String::new, |(_, feed)| format!("{}/{}", feed.key.app, feed.key.stream)),
        url: watched.map_or_else(String::new, |(_, feed)| format!("/{}/{}", feed.key.app, feed.key.stream)),
        name: watched.map_or_else(String::new, |(_, feed)| feed.key.stream.clone()),
        ip: connection.peer.ip().to_canonical().to_string(),
        page_url: connection.page_url.clone().unwrap_or_default(),
        swf_url: String::new(),
        tc_url: connection.target.clone(),
        kind: watched.map_or("http", |(viewer, _)| viewer.format.client_type()).to_owned(),
        publish: false,
        #[expect(clippy::cast_precision_loss, reason = "seconds for people")]
        alive: alive_ms as f64 / 1000.0,
        send_bytes: connection.bytes_out,
        recv_bytes: connection.bytes_in,
        kbps: connection.rates.kbps(now_ms, connection.bytes_in, connection.bytes_out),
        lag_ms: watched.map_or(0, |(viewer, feed)| {
            media.outputs.live.get(viewer.feed).map_or(0, |live| viewer.lag_ms(feed, live))
        }),
        dropped: watched.map_or(0, |(viewer, _)| viewer.dropped),
        jumps: watched.map_or(0, |(viewer, _)| viewer.jumps),
        process: process.to_owned(),
    }
}

/// Whom another configuration would touch: the viewers of each vhost that would change or go, and all of them.
pub(crate) fn preview(
    clients: &Clients,
    site: &Site,
    config: &conf::Config,
) -> (Vec<api::Touched>, api::Touched) {
    let (mut touched, mut all): (Vec<api::Touched>, _) = (Vec::new(), api::Touched::default());
    for (_, connection) in &clients.connections {
        let Some(feed) = connection.viewer().and_then(|viewer| site.media.feed(viewer.feed)) else {
            continue;
        };
        let one = api::Touched {
            clients: 1,
            ids: vec![connection.id],
            streams: vec![format!("{}/{}", feed.key.app, feed.key.stream)],
            ..api::Touched::default()
        };
        all.merge(one.clone());
        let named = |config: &conf::Config| {
            config.vhosts.iter().find(|vhost| vhost.enabled && vhost.name == feed.key.vhost).cloned()
        };
        let effect = match named(config) {
            None => api::Effect::Closes,
            new if named(&site.config) != new => api::Effect::Changes,
            Some(_) => continue,
        };
        let what = format!("vhost {}", feed.key.vhost);
        match touched.iter_mut().find(|known| known.what == what) {
            Some(known) => known.merge(one),
            None => touched.push(api::Touched { what, effect, ..one }),
        }
    }
    (touched, all)
}
