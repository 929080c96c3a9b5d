//! HLS over HTTP: lists with the players' identities, segments from memory or disk.

use bytes::Bytes;
use conf::vhost::{HlsStorage, Vhost};
use hls::Member;
use http1::{Method, Request};

use super::files::{Missing, Wanted, gzip};
use super::server::Web;
use crate::outputs::hls::sessions::{Session, new_name};
use crate::outputs::hls::stream::HlsStream;
use crate::outputs::hls::{End, Found};

/// The parameter by which players are known.
const PARAMETER: &str = "hls_ctx";
/// How long a first segment is waited for beyond its length, ms.
const PATIENCE_MS: u64 = 5_000;

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hls {
    /// It is answered.
    Answered,
    /// It may be answered until then, ms.
    Perhaps(u64),
    /// It will be answered when a file is open.
    Later,
    /// It is none for HLS.
    Other,
}

impl Web {
    /// Streams that should have HLS get it, others lose it.
    pub(crate) fn review_hls(&mut self) {
        let config = std::sync::Arc::clone(&self.config);
        let wanted = |vhost: &str| match config.vhost(vhost) {
            conf::Lookup::Found(vhost) if vhost.hls.enabled => Some(vhost),
            _ => None,
        };
        let mut unwanted: Vec<(usize, End)> = Vec::new();
        for (feed, stream) in &mut self.hls.streams {
            if !self.owners.is_mine(&stream.key) {
                unwanted.push((*feed, End::GoesOn));
                continue;
            }
            let Some(vhost) = wanted(&stream.key.vhost) else {
                // As when nobody publishes any more, but that nobody can ask for it until then.
                unwanted.push((*feed, if stream.config.dispose_ms > 0 { End::Gone } else { End::Over }));
                continue;
            };
            if vhost.hls == stream.config {
                continue;
            }
            let rests = stream.rests_since_ms.is_some();
            if rests && self.streams.get(&stream.key) != Some(&true) {
                // Until somebody publishes it, its list and files stay what they are, and go in their time.
                stream.config.dispose_ms = vhost.hls.dispose_ms;
            } else {
                let is_there = stream.has_files_of(&vhost.hls);
                unwanted.push((*feed, if is_there { End::GoesOn } else { End::Gone }));
            }
        }
        for (feed, end) in unwanted {
            self.hls.end(feed, end);
            self.unpin(feed);
        }
        let live: Vec<_> =
            self.streams.iter().filter(|(_, live)| **live).map(|(key, _)| key.clone()).collect();
        for key in live {
            let Some(vhost) = wanted(&key.vhost).filter(|_| self.owners.is_mine(&key)) else { continue };
            // From the first packet of the publish, where that can still be had.
            let feed = self.feed(&key, 0);
            if self.hls.streams.contains_key(&feed) {
                continue;
            }
            if let Some(known) = self.feeds.get_mut(feed) {
                known.pinned = true;
                known.set_live(true, self.now_ms);
            }
            self.hls.begin(feed, &key, &vhost.hls, vhost.atc);
        }
    }

    /// Streams that rest for too long lose their files, players who do not ask any more have left.
    pub(crate) fn sweep_hls(&mut self) {
        for feed in self.hls.overdue(self.now_ms) {
            self.hls.end(feed, End::Gone);
            self.unpin(feed);
        }
        let patience: std::collections::HashMap<_, _> = self
            .hls
            .streams
            .values()
            .map(|stream| (stream.key.clone(), 3_000 * stream.playlist.position().target_s + PATIENCE_MS))
            .collect();
        self.print_hls_status();
        self.hls.sessions.expire(self.now_ms, |key| patience.get(key).copied().unwrap_or(PATIENCE_MS));
    }

    /// One line of one stream within a period: they take turns.
    fn print_hls_status(&mut self) {
        let (due_ms, written) = self.hls.status;
        if self.now_ms < due_ms || self.hls.streams.is_empty() {
            return;
        }
        let mut live: Vec<_> =
            self.hls.streams.values().filter(|stream| stream.rests_since_ms.is_none()).collect();
        live.sort_by(|a, b| a.key.cmp(&b.key));
        if let Some(stream) = live.get(written % live.len().max(1)) {
            let time_ms = self.now_ms.saturating_sub(stream.began_ms);
            let sequence = stream.playlist.position().next;
            tracing::info!("-> HLS time={time_ms}, sequence_no={sequence}, stream={}", stream.key);
        }
        self.hls.status = (self.now_ms + self.config.pithy_print.hls_ms, written + 1);
    }

    /// Answers a request for a list or a segment.
    pub(crate) fn hls_request(
        &mut self,
        key: usize,
        vhost: &Vhost,
        request: &Request,
        until_ms: Option<u64>,
    ) -> Hls {
        let Some(found) = self.hls.find(&vhost.name, &request.path) else {
            // A list may appear with its stream.
            let is_list = request.path.components().last().is_some_and(|name| name.ends_with(".m3u8"));
            return if vhost.hls.enabled && is_list { Hls::Perhaps(0) } else { Hls::Other };
        };
        let page = request.referer.as_deref();
        let refer = &vhost.refer;
        let name = request.parameter(PARAMETER);
        let is_refused = name.as_ref().is_some_and(|name| self.hls.sessions.is_refused(name));
        if is_refused
            || !endpoint::is_page_allowed(&refer.all, page)
            || !endpoint::is_page_allowed(&refer.play, page)
        {
            self.refuse(key, 403);
            return Hls::Answered;
        }
        match found {
            Found::List(feed, member) => {
                self.list_request(key, (feed, member), vhost, request, until_ms, name)
            }
            Found::Bytes(feed, number, bytes) => {
                self.meet(key, feed, request, name.as_deref(), bytes.len() as u64);
                self.send_segment(key, request, number, bytes);
                Hls::Answered
            }
            Found::File(feed, file) => {
                let root = std::sync::Arc::from(file.root.as_path());
                let wanted = Wanted { root, below: file.below, mime: "video/MP2T", as_text: false };
                let found = match self.open_file(key, wanted) {
                    Ok(found) => found,
                    Err(Missing::Later) => return Hls::Later,
                    Err(_) => {
                        self.not_found(key, request.method);
                        return Hls::Answered;
                    }
                };
                self.meet(key, feed, request, name.as_deref(), found.len);
                self.send_file(key, request, found);
                Hls::Answered
            }
        }
    }

    fn list_request(
        &mut self,
        key: usize,
        (feed, member): (usize, Option<Member>),
        vhost: &Vhost,
        request: &Request,
        until_ms: Option<u64>,
        name: Option<String>,
    ) -> Hls {
        let Some(stream) = self.hls.streams.get(&feed) else { return Hls::Other };
        let of_member = member.unwrap_or(Member::Main);
        if !stream.has_listed(of_member) {
            let first_ms = 2 * stream.config.fragment_ms + PATIENCE_MS;
            // Counted from when it was asked first, or from when its stream began.
            let began_ms = stream.began_ms.max(until_ms.map_or(self.now_ms, |_| 0));
            return Hls::Perhaps((began_ms + first_ms).max(until_ms.unwrap_or(0)));
        }
        let vhost_of =
            |first| named_vhost(request).map(|name| format!("{first}vhost={name}")).unwrap_or_default();
        let text = match &name {
            None if member.is_none() && vhost.hls.ctx => master(stream, request, &new_name()),
            None if member.is_none() && stream.is_several() => stream.multivariant(&vhost_of('?')),
            Some(name)
                if vhost.hls.ctx && vhost.hls.ts_ctx && crate::outputs::hls::sessions::is_name(name) =>
            {
                stream.text_of(of_member, &format!("?{PARAMETER}={name}{}", vhost_of('&')))
            }
            _ => stream.text_of(of_member, &vhost_of('?')),
        };
        // One that is the same for all may be kept by whoever stands between, for half of what it takes to change.
        let kept_s = if vhost.hls.ctx { 0 } else { (stream.config.fragment_ms / 2000).max(1) };
        self.meet(key, feed, request, name.as_deref(), text.len() as u64);
        self.send_list(key, request, &text, kept_s);
        Hls::Answered
    }

    /// A player asks for something of a stream.
    fn meet(&mut self, key: usize, feed: usize, request: &Request, name: Option<&str>, bytes: u64) {
        let (Some(name), Some(connection)) = (name, self.connections.get(key)) else { return };
        let ip = connection.peer.ip();
        let id = if self.hls.sessions.knows(name) { 0 } else { self.take_id() };
        let Some(stream) = self.hls.streams.get(&feed) else { return };
        let now_ms = self.now_ms;
        self.hls.sessions.seen(name, now_ms, || Session {
            id,
            key: stream.key.clone(),
            ip,
            since_ms: now_ms,
            seen_ms: now_ms,
            bytes: 0,
            page_url: request.referer.as_deref().map(rtmp::url::mask_query),
        });
        self.hls.sessions.sent(name, bytes);
    }

    fn send_list(&mut self, key: usize, request: &Request, text: &str, kept_s: u64) {
        let kept = if kept_s == 0 { "no-cache".to_owned() } else { format!("max-age={kept_s}") };
        let response = self.head(200).field("Content-Type", http1::mime::of("x.m3u8"));
        let response = response.field("Cache-Control", kept).field("Vary", "Accept-Encoding");
        if request.accepts_gzip && text.len() > 512 {
            let response = response.field("Content-Encoding", "gzip");
            return self.reply(key, request.method, response, gzip(text.as_bytes()).into());
        }
        self.reply(key, request.method, response, Bytes::copy_from_slice(text.as_bytes()));
    }

    fn send_segment(&mut self, key: usize, request: &Request, number: u64, bytes: Bytes) {
        let len = bytes.len() as u64;
        let range = request.range.filter(|_| request.method == Method::Get);
        let response = |web: &Self, status| {
            let response = web.head(status).field("Content-Type", "video/MP2T");
            response.field("Cache-Control", "max-age=60").field("ETag", format!("\"{number:x}-{len:x}\""))
        };
        match range.map(|range| range.of(len)) {
            None => {
                let response = response(self, 200).field("Accept-Ranges", "bytes");
                self.reply(key, request.method, response, bytes);
            }
            Some(Some((first, end))) => {
                let size = |at| usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
                let part = bytes.slice(size(first)..size(end));
                let response = response(self, 206);
                let response = response.field("Content-Range", format!("bytes {first}-{}/{len}", end - 1));
                self.reply(key, request.method, response, part);
            }
            Some(None) => {
                let response = self.head(416).field("Content-Range", format!("bytes */{len}"));
                self.reply(key, request.method, response, Bytes::new());
            }
        }
    }

    /// Adds the players of HLS to a report.
    pub(crate) fn report_hls(&self, process: &str, report: &mut api::Report) {
        let mut players: std::collections::HashMap<&media::StreamKey, u64> = std::collections::HashMap::new();
        for session in self.hls.sessions.all() {
            *players.entry(&session.key).or_default() += 1;
        }
        for (key, clients) in players {
            let (vhost, app, name) = (key.vhost.clone(), key.app.clone(), key.stream.clone());
            report.viewers.push(api::Viewers { vhost, app, name, clients, left_out: Vec::new() });
        }
        for stream in self.hls.streams.values() {
            let key = &stream.key;
            let players = report.viewers.iter().filter(|viewers| {
                (&viewers.vhost, &viewers.app, &viewers.name) == (&key.vhost, &key.app, &key.stream)
            });
            let position = stream.playlist.position();
            report.hls.push(api::Hls {
                vhost: key.vhost.clone(),
                app: key.app.clone(),
                name: key.stream.clone(),
                url: stream.asked_path().split('/').map(http1::encode).collect::<Vec<_>>().join("/"),
                storage: match stream.config.storage {
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
        for session in self.hls.sessions.all() {
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
                alive: self.now_ms.saturating_sub(session.since_ms) as f64 / 1000.0,
                send_bytes: session.bytes,
                recv_bytes: 0,
                kbps: api::Kbps::of(0, session.bytes, self.now_ms.saturating_sub(session.since_ms)),
                lag_ms: 0,
                dropped: 0,
                jumps: 0,
                process: process.to_owned(),
            });
        }
    }
}

/// The vhost that a request names in its query: what its list names has to be asked for in the same vhost.
pub(crate) fn named_vhost(request: &Request) -> Option<String> {
    request.parameter("vhost").map(|name| http1::encode(&name))
}

/// A list of the list, which is the same again, or of all lists, with an identity for the player.
fn master(stream: &HlsStream, request: &Request, name: &str) -> String {
    let own = request.path.components().last().map_or_else(String::new, |name| http1::encode(name));
    let rate = stream.bits_per_second();
    let is_plain = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '<' | '>' | '\\');
    let rest = if request.query.is_empty() || !request.query.chars().all(is_plain) {
        String::new()
    } else {
        format!("&{}", request.query)
    };
    if stream.has_choice() {
        return stream.multivariant(&format!("?{PARAMETER}={name}{rest}"));
    }
    format!(
        "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH={rate},AVERAGE-BANDWIDTH={rate}\n{own}?{PARAMETER}={name}{rest}\n"
    )
}
