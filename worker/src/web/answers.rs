//! What is asked, and what is answered.

use bytes::Bytes;
use conf::Lookup;
use conf::vhost::Vhost;
use http1::{Method, Request, Response};
use media::StreamKey;

use super::connection::{Body, Connection, FileBody, State, Wait};
use super::file_requests::PATIENCE_MS;
use super::files::{Found, Missing};
use super::hls_requests::Hls;
use super::mount;
use super::server::Web;
use super::vod_requests::Vod;
use crate::outputs::live::packet_queue::Format;
use crate::outputs::live::viewer::{Framing, Viewer};

/// Longest target that is shown of a client.
const SHOWN_BYTES: usize = 128;

/// How long a stream is waited for of which a picture is wanted, ms: until a publish that has just begun is known here.
const PICTURE_WAIT_MS: u64 = 250;

/// What may be answered otherwise a little later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found404 {
    /// It may come.
    Perhaps,
    /// It will not.
    Never,
}

/// What became of a request for a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ByFile {
    /// It is answered.
    Answered,
    /// It will be answered when something is open, or read.
    Later,
    /// There is no such file.
    NotFound,
}

/// Endings of what is made of streams.
const ENDINGS: [&str; 8] = ["flv", "ts", "mp4", "aac", "mp3", "jpg", "jpeg", "m3u8"];

/// What a person sees where there is nothing.
const NOT_FOUND: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>404 Not Found</title>\
<h1>404 Not Found</h1><p>There is no such file, and nobody publishes a stream of that name.</p></html>\n";
const NOT_FOUND_WITH_CONSOLE: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>404 Not Found</title>\
<h1>404 Not Found</h1><p>There is no such file, and nobody publishes a stream of that name.</p>\
<p><a href=\"/console/\">What is published now</a></p></html>\n";

impl Web {
    /// A request: answered, or looked at again for a while; `waited` says since when (ns) and until when (ms).
    pub(crate) fn request(&mut self, key: usize, request: Request, waited: Option<(u64, u64)>) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        connection.state = State::Answer(Body::Rest);
        connection.page_url = request.referer.as_deref().map(rtmp::url::mask_query);
        connection.target = shown(&request);
        if request.method == Method::Options {
            let response = self.head(200).field("Allow", "GET, HEAD, OPTIONS");
            let response = response
                .field("Access-Control-Allow-Methods", "GET, HEAD, OPTIONS")
                .field("Access-Control-Allow-Headers", "*")
                .field("Access-Control-Max-Age", 86_400);
            self.reply(key, Method::Get, response, Bytes::new());
            return;
        }
        if self.console(key, &request) {
            return;
        }
        let config = std::sync::Arc::clone(&self.config);
        let name = request.parameter("vhost").unwrap_or_else(|| request.host.clone());
        let vhost = match config.vhost(&name) {
            Lookup::Found(vhost) => Some(vhost),
            Lookup::Disabled(_) | Lookup::NotFound => None,
        };
        // No stream has such a name, but a file may.
        if let Some(plain) = without_parameters(&request) {
            return match self.file_request(key, vhost, &request) {
                ByFile::Answered => {}
                ByFile::Later => self.wait_for(key, request, waited, PATIENCE_MS),
                ByFile::NotFound => self.request(key, plain, waited),
            };
        }
        if vhost.is_some_and(|vhost| self.pass_to_owner(key, vhost, &request, waited)) {
            return;
        }
        let hls = vhost.map(|vhost| self.hls_request(key, vhost, &request, waited.map(|(_, until)| until)));
        let of_hls = match hls {
            Some(Hls::Answered) => return,
            Some(Hls::Perhaps(until_ms)) => Some(until_ms),
            Some(Hls::Later) => return self.wait_for(key, request, waited, PATIENCE_MS),
            Some(Hls::Other) | None => None,
        };
        let live = vhost.and_then(|vhost| Some((vhost, live_target(vhost, &request, &config)?)));
        if let Some((vhost, (stream, format))) = &live
            && self.streams.get(stream).copied().unwrap_or(false)
        {
            let since_ns = waited.map_or_else(reactor::now_ns, |(since_ns, _)| since_ns);
            self.watch(key, vhost, &request, (stream, *format), since_ns);
            return;
        }
        let missing = match self.file_request(key, vhost, &request) {
            ByFile::Answered => return,
            ByFile::Later => return self.wait_for(key, request, waited, PATIENCE_MS),
            ByFile::NotFound if vhost.is_some_and(|vhost| self.hls.is_past(vhost, &request.path)) => {
                Found404::Never
            }
            ByFile::NotFound if live.is_some() || of_hls.is_some() => Found404::Perhaps,
            ByFile::NotFound if self.old_names(key, &request) => return,
            ByFile::NotFound => Found404::Never,
        };
        // From when it was asked: how long a file may be looked for says nothing of how long a stream is waited for.
        let since_ns = waited.map_or_else(reactor::now_ns, |(since_ns, _)| since_ns);
        // A page that shows a picture of a stream has something better to show when nobody publishes it.
        let is_picture = request.path.components().last().is_some_and(|name| is_picture(name));
        let is_known = live.as_ref().is_some_and(|(_, (stream, _))| self.knows_streams(stream));
        let wait_ms = self.config.http_server.stream_wait_ms;
        let wait_ms = if is_picture && is_known { wait_ms.min(PICTURE_WAIT_MS) } else { wait_ms };
        let until_ms = since_ns / 1_000_000 + wait_ms;
        let until_ms = of_hls.unwrap_or(0).max(until_ms);
        if missing == Found404::Perhaps && self.now_ms < until_ms {
            if let Some(connection) = self.connections.get_mut(key) {
                connection.state = State::Answer(Body::Wait(Box::new(Wait { request, since_ns, until_ms })));
            }
            return;
        }
        self.not_found(key, request.method);
    }

    /// Answers with a file, or with what is made of one.
    fn file_request(&mut self, key: usize, vhost: Option<&Vhost>, request: &Request) -> ByFile {
        let name = vhost.map(|vhost| vhost.name.as_str());
        // As an address this is the list of the stream that is called so, not that of the one whose file is.
        if name.is_some_and(|name| self.hls.is_list_of_another(name, &request.path)) {
            return ByFile::NotFound;
        }
        match self.vod_request(key, name, request) {
            Vod::Answered => return ByFile::Answered,
            Vod::Later => return ByFile::Later,
            Vod::Other => {}
        }
        let as_text = request.accepts_gzip && request.range.is_none();
        let wanted = self.mounts.wanted(name, &request.path, as_text);
        match wanted.ok_or(Missing::NotFound).and_then(|wanted| self.open_file(key, wanted)) {
            Ok(found) => self.send_file(key, request, found),
            Err(Missing::Directory) => {
                let to = format!("{}/", encoded(request));
                let response = self.head(301).field("Location", to);
                self.reply(key, request.method, response, Bytes::new());
            }
            Err(Missing::NotFound) => return ByFile::NotFound,
            Err(Missing::Failed) => self.refuse(key, 503),
            Err(Missing::Later) => return ByFile::Later,
        }
        ByFile::Answered
    }

    /// What is asked for is on its way: it is waited for so long, then the request is refused.
    pub(crate) fn wait_for(
        &mut self,
        key: usize,
        request: Request,
        waited: Option<(u64, u64)>,
        patience_ms: u64,
    ) {
        let (since_ns, until_ms) = waited.unwrap_or_else(|| (reactor::now_ns(), self.now_ms + patience_ms));
        if self.now_ms >= until_ms {
            return self.refuse(key, 503);
        }
        if let Some(connection) = self.connections.get_mut(key) {
            connection.state = State::Answer(Body::Wait(Box::new(Wait { request, since_ns, until_ms })));
        }
    }

    /// A head with what all have.
    pub(crate) fn head(&self, status: u16) -> Response {
        let response = Response::new(status).field("Server", format!("SRS/{}", self.version));
        if self.config.http_server.crossdomain {
            response
                .field("Access-Control-Allow-Origin", "*")
                .field("Access-Control-Expose-Headers", "Content-Length, Content-Range, Date")
        } else {
            response
        }
    }

    /// Answers with a body that is at hand.
    pub(crate) fn reply(&mut self, key: usize, method: Method, response: Response, body: Bytes) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let response = response.field("Content-Length", body.len());
        connection.outbox.push(finish(response, connection.keep_alive).into_bytes());
        if method != Method::Head {
            connection.outbox.push(body);
        }
        connection.state = State::Answer(Body::Rest);
    }

    pub(crate) fn refuse(&mut self, key: usize, status: u16) {
        let text = format!("{status}\n");
        let response = self.head(status).field("Content-Type", "text/plain;charset=utf-8");
        self.reply(key, Method::Get, response, text.into());
    }

    pub(crate) fn not_found(&mut self, key: usize, method: Method) {
        let response = self.head(404).field("Content-Type", "text/html;charset=utf-8");
        let response = response.field("Cache-Control", "no-cache");
        let response = response.field("Content-Security-Policy", "default-src 'none'");
        let page = if self.config.http_server.console { NOT_FOUND_WITH_CONSOLE } else { NOT_FOUND };
        self.reply(key, method, response, Bytes::from_static(page.as_bytes()));
    }

    pub(crate) fn send_file(&mut self, key: usize, request: &Request, found: Found) {
        // A list of segments may be that of a live stream, which grows: it is asked for anew, and answered by its tag.
        let is_list = found.mime == http1::mime::of("x.m3u8");
        let response = |web: &Self, status| {
            let response = web.head(status).field("ETag", &found.tag);
            let response = if is_list { response.field("Cache-Control", "no-cache") } else { response };
            response.date("Last-Modified", found.modified_s).field("X-Content-Type-Options", "nosniff")
        };
        if http1::is_unchanged(request, &found.tag, found.modified_s) {
            let Some(connection) = self.connections.get(key) else { return };
            let head = finish(response(self, 304), connection.keep_alive);
            if let Some(connection) = self.connections.get_mut(key) {
                connection.outbox.push(head.into_bytes());
            }
            return;
        }
        let is_text = http1::mime::is_text(found.mime);
        if request.accepts_gzip
            && request.range.is_none()
            && let Some(body) = found.compressed()
        {
            let response = response(self, 200).field("Content-Type", found.mime);
            let response = response.field("Content-Encoding", "gzip").field("Vary", "Accept-Encoding");
            return self.reply(key, request.method, response, body.into());
        }
        let same = request.if_range.as_ref().is_none_or(|tag| *tag == found.tag);
        let range = request.range.filter(|_| same && request.method == Method::Get);
        let (status, first, end) = match range.map(|range| range.of(found.len)) {
            None => (200, 0, found.len),
            Some(Some((first, end))) => (206, first, end),
            Some(None) => {
                let response = self.head(416).field("Content-Range", format!("bytes */{}", found.len));
                return self.reply(key, request.method, response, Bytes::new());
            }
        };
        let mut response = response(self, status).field("Content-Type", found.mime);
        response = response.field("Accept-Ranges", "bytes").field("Content-Length", end - first);
        if is_text {
            response = response.field("Vary", "Accept-Encoding");
        }
        if status == 206 {
            response = response.field("Content-Range", format!("bytes {first}-{}/{}", end - 1, found.len));
        }
        let Some(connection) = self.connections.get_mut(key) else { return };
        connection.outbox.push(finish(response, connection.keep_alive).into_bytes());
        if request.method == Method::Head {
            return;
        }
        if let Some(part) = found.small_part(first, end) {
            connection.outbox.push(part);
        } else {
            let body = FileBody::new(found.file, (first, end), &found.root, found.is_local);
            connection.state = State::Answer(Body::File(body));
            self.keep_download(key);
        }
    }

    /// The beginning of an FLV file, then the rest of it from a place on.
    pub(crate) fn send_flv_part(
        &mut self,
        key: usize,
        request: &Request,
        found: Found,
        (head, at): (Bytes, u64),
    ) {
        let len = head.len() as u64 + found.len - at;
        let response = self.head(200).field("Content-Type", found.mime).field("Content-Length", len);
        let Some(connection) = self.connections.get_mut(key) else { return };
        connection.outbox.push(finish(response, connection.keep_alive).into_bytes());
        if request.method != Method::Head {
            connection.outbox.push(head);
            let body = FileBody::new(found.file, (at, found.len), &found.root, found.is_local);
            connection.state = State::Answer(Body::File(body));
            self.keep_download(key);
        }
    }

    fn watch(
        &mut self,
        key: usize,
        vhost: &Vhost,
        request: &Request,
        (stream, format): (&StreamKey, Format),
        since_ns: u64,
    ) {
        let page = request.referer.as_deref();
        let refer = &vhost.refer;
        if !endpoint::is_page_allowed(&refer.all, page) || !endpoint::is_page_allowed(&refer.play, page) {
            return self.refuse(key, 403);
        }
        let websocket = request.websocket_key.as_ref().filter(|_| format == Format::Flv);
        let name = request.path.components().last().map_or("", String::as_str);
        let response = match websocket {
            Some(greeting) => self
                .head(101)
                .field("Upgrade", "websocket")
                .field("Connection", "Upgrade")
                .field("Sec-WebSocket-Accept", http1::websocket::accept(greeting)),
            None => {
                let response = self.head(200).field("Content-Type", http1::mime::of(name));
                response.field("Cache-Control", "no-cache, no-store")
            }
        };
        let framing = match (websocket, request.minor) {
            (Some(_), _) => Framing::WebSocket,
            _ if is_picture(name) => Framing::Plain,
            (None, 1) => Framing::Chunked,
            (None, _) => Framing::Plain,
        };
        let Some(connection) = self.connections.get_mut(key) else { return };
        connection.keep_alive &= framing == Framing::Chunked || is_picture(name);
        let head = match framing {
            Framing::WebSocket => response.finish(),
            Framing::Chunked => finish(response.field("Transfer-Encoding", "chunked"), connection.keep_alive),
            Framing::Plain => finish(response, false),
        };
        if request.method == Method::Head {
            connection.outbox.push(head.into_bytes());
            return;
        }
        let feed = self.feed(stream, since_ns);
        let live = self.streams.get(stream).copied().unwrap_or(false);
        // It is there; only that it has something to begin with is waited for.
        let until_ms = self.now_ms + self.config.http_server.stream_wait_ms.max(10_000);
        let mut viewer = Viewer::new(feed, format, framing, head, until_ms);
        // The first fragment begins with the newest key frame.
        viewer.wants_mp3 = name.ends_with(".mp3");
        viewer.picture = is_picture(name);
        viewer.snapshot = viewer.picture || format == Format::Mp4 && request.parameter("snapshot").is_some();
        if let Some(known) = self.feeds.get_mut(feed) {
            known.set_live(live, self.now_ms);
            if !known.is_settled() {
                viewer.waits_for_all();
            }
        }
        if let Some(connection) = self.connections.get_mut(key) {
            connection.state = State::Answer(Body::Live(viewer));
        }
        self.join(key, feed, format);
    }
}

impl Connection {
    /// What the client of a WebSocket says meanwhile.
    pub(crate) fn hear_websocket(&mut self) -> Result<(), super::connection::Gone> {
        use http1::websocket::{Said, read};
        let is_websocket = self.viewer().is_some_and(|viewer| viewer.framing == Framing::WebSocket);
        if !is_websocket {
            return Ok(());
        }
        loop {
            match read(&self.input) {
                Said::Partial => break,
                Said::Close => return Err(super::connection::Gone::Left),
                Said::Ping(pong, taken) => {
                    self.outbox.push(pong);
                    self.input.drain(..taken);
                }
                Said::Other(taken) => drop(self.input.drain(..taken)),
            }
        }
        self.read()
    }

    /// Ends the body of a live stream. Returns whether it had begun.
    pub(crate) fn finish_live(&mut self) -> bool {
        let Some(viewer) = self.viewer() else { return true };
        let (began, framing) = (viewer.has_begun(), viewer.framing);
        self.state = State::Answer(Body::Rest);
        if began {
            match framing {
                Framing::Chunked => self.outbox.push(Bytes::from_static(http1::chunked::LAST)),
                Framing::WebSocket => self.outbox.push(Bytes::from_static(&[0x88, 0x00])),
                Framing::Plain => {}
            }
        }
        began
    }
}

pub(crate) fn finish(response: Response, keep_alive: bool) -> String {
    response.field("Connection", if keep_alive { "keep-alive" } else { "close" }).finish()
}

/// The stream and format that a path means, if the vhost shows streams over HTTP.
fn live_target(vhost: &Vhost, request: &Request, config: &conf::Config) -> Option<(StreamKey, Format)> {
    if !vhost.http_remux.enabled {
        return None;
    }
    let (app, stream, ending) = mount::stream_of(&vhost.http_remux.mount, request.path.components())?;
    let format = match ending.as_str() {
        "flv" => Format::Flv,
        "ts" => Format::Ts,
        "mp4" => Format::Mp4,
        "aac" | "mp3" => Format::RawAudio,
        "jpg" | "jpeg" if vhost.http_remux.snapshot_ffmpeg.is_some() => Format::Mp4,
        _ => return None,
    };
    let most = config.limits.name_bytes as usize;
    (app.len() <= most && stream.len() <= most)
        .then(|| (StreamKey { vhost: vhost.name.clone(), app, stream }, format))
}

/// The same request with the parameters in its query that its last component has: escaped, or behind a sign that ends no path,
/// ahead of the ending or behind it. `None` where it has none.
fn without_parameters(request: &Request) -> Option<Request> {
    let is_ending = |ending: &str| ENDINGS.iter().any(|known| known.eq_ignore_ascii_case(ending));
    let ending_of = |name: &str| {
        name.rsplit_once('.').map_or(
            name.len(),
            |(stem, ending)| {
                if is_ending(ending) { stem.len() } else { name.len() }
            },
        )
    };
    let last = request.path.components().last()?;
    let (written, ending) = last.split_at_checked(ending_of(last))?;
    let (name, params) = rtmp::url::split_name(written)?;
    let has_ending = ending_of(&name) < name.len();
    let path = request.path.with_last(&if has_ending { name } else { name + ending })?;
    let queries = [request.query.clone(), params];
    let query = queries.into_iter().filter(|query| !query.is_empty()).collect::<Vec<_>>().join("&");
    Some(Request { path, query, ..request.clone() })
}

/// Whether a name is that of a picture of a stream.
fn is_picture(name: &str) -> bool {
    name.ends_with(".jpg") || name.ends_with(".jpeg")
}

/// What is shown of a request: its path, without what may be a secret.
fn shown(request: &Request) -> String {
    let mut text = request.path.text();
    let mut end = SHOWN_BYTES.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    rtmp::url::mask_path(&text)
}

/// A path as a URL has it.
fn encoded(request: &Request) -> String {
    request.path.components().iter().map(|component| format!("/{}", http1::encode(component))).collect()
}
