//! What this process tells of its clients and of who watches what.

use super::connection::Connection;
use super::server::Web;
use crate::outputs::live::packet_queue::Format;

impl Web {
    /// Adds what this process knows to its report.
    pub(crate) fn report(&self, process: &str, report: &mut api::Report) {
        for (_, connection) in self.connections.iter().filter(|(_, connection)| !connection.is_relayed()) {
            report.clients.push(self.client(connection, process));
        }
        for (key, feed) in &self.feeds {
            let members = self.members.get(&key);
            report.viewers.push(api::Viewers {
                vhost: feed.key.vhost.clone(),
                app: feed.key.app.clone(),
                name: feed.key.stream.clone(),
                clients: members.map_or(0, |members| members.len() as u64),
                left_out: feed.left_out().to_vec(),
            });
        }
        self.report_hls(process, report);
        self.report_recordings(process, report);
        report.ended.extend(self.ended.iter().map(|(reason, count)| ((*reason).to_owned(), *count)));
    }

    fn client(&self, connection: &Connection, process: &str) -> api::Client {
        let watched = connection.viewer().and_then(|viewer| Some((viewer, self.feeds.get(viewer.feed)?)));
        let alive_ms = self.now_ms.saturating_sub(connection.accepted_ms);
        api::Client {
            id: connection.id,
            vhost: watched.map_or_else(String::new, |(_, feed)| feed.key.vhost.clone()),
            stream: watched
                .map_or_else(String::new, |(_, feed)| format!("{}/{}", feed.key.app, feed.key.stream)),
            url: watched
                .map_or_else(String::new, |(_, feed)| format!("/{}/{}", feed.key.app, feed.key.stream)),
            name: watched.map_or_else(String::new, |(_, feed)| feed.key.stream.clone()),
            ip: connection.peer.ip().to_canonical().to_string(),
            page_url: connection.page_url.clone().unwrap_or_default(),
            swf_url: String::new(),
            tc_url: connection.target.clone(),
            kind: match watched.map(|(viewer, _)| viewer.format) {
                Some(Format::Flv) => "flv-play",
                Some(Format::Ts) => "ts-play",
                Some(Format::Mp4) => "mp4-play",
                Some(Format::RawAudio) => "audio-play",
                None => "http",
            }
            .to_owned(),
            publish: false,
            #[expect(clippy::cast_precision_loss, reason = "seconds for people")]
            alive: alive_ms as f64 / 1000.0,
            send_bytes: connection.bytes_out,
            recv_bytes: connection.bytes_in,
            kbps: api::Kbps::of(
                connection.bytes_in.saturating_sub(connection.mark.1),
                connection.bytes_out.saturating_sub(connection.mark.2),
                self.now_ms.saturating_sub(connection.mark.0),
            ),
            lag_ms: watched.map_or(0, |(viewer, feed)| viewer.lag_ms(feed)),
            dropped: watched.map_or(0, |(viewer, _)| viewer.dropped),
            jumps: watched.map_or(0, |(viewer, _)| viewer.jumps),
            process: process.to_owned(),
        }
    }
}
