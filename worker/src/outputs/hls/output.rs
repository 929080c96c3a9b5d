//! Which streams have HLS, and what is told of it.

use std::collections::HashMap;

use conf::Config;
use conf::vhost::{HlsStorage, Vhost};
use media::StreamKey;

use super::{End, HlsStreams};
use crate::disk::Disk;
use crate::outputs::event::{FeedEvent, StreamInfo};
use crate::outputs::feed::Feed;
use crate::outputs::output::{Now, Output, Surroundings};

/// A vhost, if its streams have HLS.
fn with_hls<'c>(config: &'c Config, name: &str) -> Option<&'c Vhost> {
    match config.vhost(name) {
        conf::Lookup::Found(vhost) if vhost.hls.enabled => Some(vhost),
        _ => None,
    }
}

impl Output for HlsStreams {
    fn wants(&self, key: &StreamKey, around: &Surroundings<'_>) -> bool {
        with_hls(around.config, &key.vhost).is_some() && around.owners.is_mine(key)
    }

    fn drop_unwanted(&mut self, around: &Surroundings<'_>, disk: &mut Disk) -> Vec<usize> {
        let mut unwanted: Vec<(usize, End)> = Vec::new();
        for (feed, stream) in &mut self.streams {
            if !around.owners.is_mine(&stream.naming.key) {
                unwanted.push((*feed, End::GoesOn));
                continue;
            }
            let Some(vhost) = with_hls(around.config, &stream.naming.key.vhost) else {
                // As when nobody publishes any more, but that nobody can ask for it until then.
                unwanted
                    .push((*feed, if stream.naming.config.dispose_ms > 0 { End::Gone } else { End::Over }));
                continue;
            };
            if vhost.hls == stream.naming.config {
                continue;
            }
            if stream.rests_since_ms.is_some() && !around.is_live(&stream.naming.key) {
                // Until somebody publishes it, its list and files stay what they are, and go in their time.
                stream.naming.config.dispose_ms = vhost.hls.dispose_ms;
            } else {
                let is_there = stream.naming.has_files_of(&vhost.hls);
                unwanted.push((*feed, if is_there { End::GoesOn } else { End::Gone }));
            }
        }
        for (feed, end) in &unwanted {
            self.end(*feed, *end, disk);
        }
        unwanted.into_iter().map(|(feed, _)| feed).collect()
    }

    fn begin(&mut self, id: usize, feed: &Feed, around: &Surroundings<'_>, disk: &mut Disk) {
        let Some(vhost) = with_hls(around.config, &feed.key.vhost).filter(|_| !self.has(id)) else { return };
        self.open(id, &feed.key, (&vhost.hls, vhost.atc), disk);
    }

    fn has(&self, id: usize) -> bool {
        self.streams.contains_key(&id)
    }

    fn take(&mut self, feed: usize, event: &FeedEvent, info: &StreamInfo, now: Now, disk: &mut Disk) {
        let Some(stream) = self.streams.get_mut(&feed) else { return };
        if stream.rests_since_ms.take().is_some() {
            stream.set_over(false, disk);
        }
        let changes = stream.take(event, &info.track_set, now.unix_ms, disk);
        if changes.is_unfit && !self.unfit.contains(&stream.naming.key) {
            self.unfit.push(stream.naming.key.clone());
        }
        if !changes.new.is_empty() || !changes.gone.is_empty() || !changes.lists.is_empty() {
            let vhost = stream.naming.key.vhost.clone();
            self.apply(feed, &vhost, changes);
            self.fit_into_memory(disk);
        }
    }

    fn rest(&mut self, feed: usize, now: Now, disk: &mut Disk) {
        let Some(stream) = self.streams.get_mut(&feed).filter(|stream| stream.rests_since_ms.is_none())
        else {
            return;
        };
        stream.rests_since_ms = Some(now.ms);
        let changes = stream.rest(disk);
        let vhost = stream.naming.key.vhost.clone();
        self.apply(feed, &vhost, changes);
    }

    fn report(&self, process: &str, now: Now, report: &mut api::Report) {
        let mut players: HashMap<&StreamKey, u64> = HashMap::new();
        for session in self.sessions.all() {
            *players.entry(&session.key).or_default() += 1;
        }
        for (key, clients) in players {
            let (vhost, app, name) = (key.vhost.clone(), key.app.clone(), key.stream.clone());
            report.viewers.push(api::Viewers { vhost, app, name, clients, left_out: Vec::new() });
        }
        for stream in self.streams.values() {
            let key = &stream.naming.key;
            let players = report.viewers.iter().filter(|viewers| {
                (&viewers.vhost, &viewers.app, &viewers.name) == (&key.vhost, &key.app, &key.stream)
            });
            let position = stream.playlist.position();
            report.hls.push(api::Hls {
                vhost: key.vhost.clone(),
                app: key.app.clone(),
                name: key.stream.clone(),
                url: stream.naming.asked_path().split('/').map(http1::encode).collect::<Vec<_>>().join("/"),
                storage: match stream.naming.config.storage {
                    HlsStorage::Memory => "memory",
                    HlsStorage::Disk => "disk",
                    HlsStorage::Both => "both",
                }
                .to_owned(),
                segments: stream.playlist.listed().count() as u64,
                window_ms: stream.playlist.listed().map(|listed| listed.segment.duration_ms).sum(),
                sequence: position.next,
                target_s: position.target_s,
                bytes: stream.playlist.listed().map(|listed| listed.segment.place.len()).sum(),
                clients: players.map(|viewers| viewers.clients).sum(),
                lost: stream.lost,
                refused: stream.refused,
                left_out: stream.left_out.names().to_vec(),
                renditions: stream.renditions(),
                live: stream.rests_since_ms.is_none(),
                process: process.to_owned(),
            });
        }
        report.hls.sort_by(|a, b| (&a.vhost, &a.app, &a.name).cmp(&(&b.vhost, &b.app, &b.name)));
        for session in self.sessions.all() {
            report.clients.push(api::Client {
                id: session.id,
                vhost: session.key.vhost.clone(),
                stream: format!("{}/{}", session.key.app, session.key.stream),
                ip: session.ip.to_canonical().to_string(),
                page_url: session.page_url.clone().unwrap_or_default(),
                swf_url: String::new(),
                tc_url: String::new(),
                url: format!("/{}/{}", session.key.app, session.key.stream),
                name: session.key.stream.clone(),
                kind: "hls-play".to_owned(),
                publish: false,
                #[expect(clippy::cast_precision_loss, reason = "seconds for people")]
                alive: now.ms.saturating_sub(session.since_ms) as f64 / 1000.0,
                send_bytes: session.bytes,
                recv_bytes: 0,
                kbps: api::Kbps::of(0, session.bytes, now.ms.saturating_sub(session.since_ms)),
                lag_ms: 0,
                dropped: 0,
                jumps: 0,
                process: process.to_owned(),
            });
        }
    }
}
