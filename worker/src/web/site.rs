//! What requests are answered from: streams, files, and what is made of them. A request goes in, what came of it comes out; nothing is
//! sent here.

use std::sync::Arc;

use bytes::Bytes;
use conf::Config;
use conf::vhost::Vhost;
use hls::Member;
use http1::Request;
use media::StreamKey;

use super::answer::{Answer, Heads, Outcome, finish};
use super::connection::Connection;
use super::console::{self, Page};
use super::file_requests::{Files, PATIENCE_MS};
use super::files::{self, Missing, Wanted};
use super::hls_requests::{self, PARAMETER};
use super::routes::{self, Route, Target, is_picture};
use super::waiters::Topic;
use super::{picture_requests, vod_requests};
use crate::outputs::hls::Found;
use crate::outputs::live::batch::Framing;
use crate::outputs::live::packet_queue::Format;
use crate::outputs::live::viewer::Viewer;
use crate::outputs::media::Media;
use crate::outputs::output::Now;
use crate::outputs::owners::file_path;
use crate::outputs::pictures::Pictures;
use crate::outputs::vod::{self, Vod, What};
use crate::reading::is_page_allowed;

/// How long a stream is waited for of which a picture is wanted, ms: until a publish that has just begun is known here.
const PICTURE_WAIT_MS: u64 = 250;
/// How long a viewer of a stream that is there waits for something to begin with, at least, ms.
const LEAST_BEGIN_MS: u64 = 10_000;

/// All that there is to be had.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) config: Arc<Config>,
    /// How answers begin.
    pub(crate) heads: Heads,
    /// Streams, and what is made of them.
    pub(crate) media: Media,
    pub(crate) vod: Vod,
    pub(crate) pictures: Pictures,
    pub(crate) files: Files,
}

/// Who asks.
pub(crate) struct Asking<'a> {
    /// Key of the connection.
    pub(crate) key: usize,
    pub(crate) connection: &'a mut Connection,
    /// Gives numbers to players.
    pub(crate) ids: &'a mut dyn FnMut() -> u64,
    pub(crate) now_ms: u64,
    /// Since when it was asked, monotonic ns.
    pub(crate) since_ns: u64,
    /// Until when it was said before that it would wait, ms.
    pub(crate) waited_until_ms: Option<u64>,
}

impl Site {
    /// Another configuration holds.
    pub(crate) fn configure(&mut self, config: Arc<Config>, now: Now) {
        self.files.configure(&config);
        self.heads = Heads::new(&self.heads.version, &config);
        self.config = Arc::clone(&config);
        self.media.configure(config, now);
    }

    /// Finds out what a request is answered with.
    ///
    /// # Errors
    /// It is to be asked for by another request.
    pub(crate) fn resolve(
        &mut self,
        asking: &mut Asking<'_>,
        request: &Request,
    ) -> Result<Outcome, Box<Request>> {
        let config = Arc::clone(&self.config);
        let vhost = routes::vhost(request, &config);
        Ok(match routes::route(request, vhost, &config) {
            Route::Options => self.heads.options().into(),
            Route::Console(page) => self.page(&page, request),
            // No stream has such a name, but a file may.
            Route::Parameters(plain, film) => match self.file(asking, vhost, request, film.as_ref()) {
                Outcome::Other => return Err(plain),
                outcome => outcome,
            },
            Route::Path(target) => self.find(asking, vhost, request, &target),
        })
    }

    fn page(&self, page: &Page, request: &Request) -> Outcome {
        match console::answer(page, request, &self.heads, &self.config) {
            Some(answer) => answer.into(),
            None => Outcome::Events(console::events_head(&self.heads.version)),
        }
    }

    /// What there is under a path: a list or segment of HLS, a live stream, a file, in this order.
    fn find(
        &mut self,
        asking: &mut Asking<'_>,
        vhost: Option<&Vhost>,
        request: &Request,
        target: &Target,
    ) -> Outcome {
        if let Some(owner) = vhost.and_then(|vhost| self.media.owners.other(vhost, &request.path))
            // Who came from another process for this is not sent on: the two would not agree for a moment after a reload.
            && !asking.connection.was_passed
        {
            return Outcome::Leave(owner);
        }
        let hls = vhost.map_or(Outcome::Other, |vhost| self.hls(asking, vhost, request));
        let (mut topics, of_hls_ms) = match hls {
            Outcome::Perhaps(topics, until_ms) => (topics, Some(until_ms)),
            Outcome::Other if target.may_be_list => (list_topics(vhost, request), Some(0)),
            Outcome::Other => (Vec::new(), None),
            outcome => return outcome,
        };
        if let Some((stream, format)) = &target.live {
            if self.media.streams.is_live(stream) {
                return if vhost.is_some_and(|vhost| may_show(vhost, request)) {
                    Outcome::Watch(stream.clone(), *format)
                } else {
                    self.heads.refusal(403).into()
                };
            }
            topics.push(Topic::Stream(stream.clone()));
        }
        match self.file(asking, vhost, request, target.film.as_ref()) {
            Outcome::Other => {}
            outcome => return outcome,
        }
        if vhost.is_some_and(|vhost| self.media.outputs.hls.is_past(vhost, &request.path)) {
            return Outcome::Other;
        }
        if topics.is_empty() {
            return target.former.as_ref().map_or(Outcome::Other, |page| self.page(page, request));
        }
        // From when it was asked: how long a file may be looked for says nothing of how long a stream is waited for.
        // A page that shows a picture of a stream has something better to show when nobody publishes it.
        let is_told = target.live.as_ref().is_some_and(|(stream, _)| self.media.streams.are_told(stream));
        let wait_ms = self.config.http_server.stream_wait_ms;
        let wait_ms = if target.is_picture && is_told { wait_ms.min(PICTURE_WAIT_MS) } else { wait_ms };
        Outcome::Perhaps(topics, (asking.since_ns / 1_000_000 + wait_ms).max(of_hls_ms.unwrap_or(0)))
    }

    /// A list or a segment of a live stream.
    fn hls(&mut self, asking: &mut Asking<'_>, vhost: &Vhost, request: &Request) -> Outcome {
        let Some(found) = self.media.outputs.hls.find(&vhost.name, &request.path) else {
            return Outcome::Other;
        };
        let name = request.parameter(PARAMETER);
        let hls = &mut self.media.outputs.hls;
        let is_refused = name.as_ref().is_some_and(|name| hls.sessions.is_refused(name));
        if is_refused || !may_show(vhost, request) {
            return self.heads.refusal(403).into();
        }
        let (feed, answer, bytes) = match found {
            Found::List(feed, member) => {
                let Some(stream) = hls.streams.get(&feed) else { return Outcome::Other };
                if !stream.has_listed(member.unwrap_or(Member::Main)) {
                    let until_ms =
                        hls_requests::first_segment_ms(stream, asking.now_ms, asking.waited_until_ms);
                    return Outcome::Perhaps(list_topics(Some(vhost), request), until_ms);
                }
                let text = hls_requests::list(stream, member, vhost, request, name.as_deref());
                let fragment_ms = stream.naming.config.fragment_ms;
                let answer = hls_requests::list_answer(&self.heads, request, &text, vhost, fragment_ms);
                (feed, answer, text.len() as u64)
            }
            Found::Bytes(feed, number, bytes) => {
                (feed, self.heads.segment(request, number, &bytes), bytes.len() as u64)
            }
            Found::File(feed, file) => {
                let root = Arc::from(file.root.as_path());
                let wanted = Wanted { root, below: file.below, mime: "video/MP2T", as_text: false };
                match self.open(asking, wanted) {
                    Ok(found) => {
                        let bytes = found.len;
                        (feed, self.heads.file(request, found), bytes)
                    }
                    Err(Missing::Later) => return Outcome::Later(Vec::new(), PATIENCE_MS),
                    Err(_) => return self.heads.not_found().into(),
                }
            }
        };
        if let Some(name) = name {
            let ip = asking.connection.peer.ip();
            let player = (name.as_str(), ip, bytes);
            let hls = &mut self.media.outputs.hls;
            hls_requests::note_player(hls, feed, request, player, asking.now_ms, || (asking.ids)());
        }
        answer.into()
    }

    /// A file, or what is made of one.
    fn file(
        &mut self,
        asking: &mut Asking<'_>,
        vhost: Option<&Vhost>,
        request: &Request,
        film: Option<&(String, What)>,
    ) -> Outcome {
        let name = vhost.map(|vhost| vhost.name.as_str());
        // As an address this is the list of the stream that is called so, not that of the one whose file is.
        if name.is_some_and(|name| self.media.outputs.hls.is_list_of_another(name, &request.path)) {
            return Outcome::Other;
        }
        if let Some((file, what)) = film {
            match self.film(asking, name, request, (file, what)) {
                Outcome::Other => {}
                outcome => return outcome,
            }
        }
        let as_text = request.accepts_gzip && request.range.is_none();
        let wanted = self.files.wanted(name, &request.path, as_text);
        match wanted.ok_or(Missing::NotFound).and_then(|wanted| self.open(asking, wanted)) {
            Ok(found) => self.heads.file(request, found).into(),
            Err(Missing::Directory) => {
                let head = self.heads.head(301).field("Location", format!("{}/", encoded(request)));
                Answer::whole(head, Bytes::new()).into()
            }
            Err(Missing::NotFound) => Outcome::Other,
            Err(Missing::Failed) => self.heads.refusal(503).into(),
            Err(Missing::Later) => Outcome::Later(Vec::new(), PATIENCE_MS),
        }
    }

    /// The list or a segment of a file, or an FLV file from a place in it.
    fn film(
        &mut self,
        asking: &mut Asking<'_>,
        vhost: Option<&str>,
        request: &Request,
        (name, what): (&str, &What),
    ) -> Outcome {
        let path = request.path.with_last(name);
        let Some(wanted) = path.and_then(|path| self.files.wanted(vhost, &path, false)) else {
            return Outcome::Other;
        };
        let found = match self.open(asking, wanted) {
            Ok(found) => found,
            Err(Missing::Later) => return Outcome::Later(Vec::new(), PATIENCE_MS),
            Err(_) => return Outcome::Other,
        };
        let film = (found.tag.clone(), what.clone());
        let Ok(file) = found.file.try_clone() else { return Outcome::Other };
        match self.vod.get(&film, file, name) {
            vod::State::Made(made) => vod_requests::answer(&self.heads, request, found, what, made).into(),
            vod::State::Asked => Outcome::Later(vec![Topic::Film(film)], PATIENCE_MS),
            vod::State::Busy => Outcome::Later(vec![Topic::Film(film), Topic::AnyFilm], PATIENCE_MS),
        }
    }

    fn open(&mut self, asking: &mut Asking<'_>, wanted: Wanted) -> Result<files::Found, Missing> {
        self.files.open(asking.key, asking.connection, wanted, asking.now_ms)
    }

    /// The beginning of an answer with a live stream, and how its body is framed. The answer may be the connection's last.
    pub(crate) fn live_head(
        &self,
        connection: &mut Connection,
        request: &Request,
        format: Format,
    ) -> (String, Framing) {
        let websocket = request.websocket_key.as_ref().filter(|_| format == Format::Flv);
        let name = request.path.components().last().map_or("", String::as_str);
        let head = match websocket {
            Some(greeting) => self
                .heads
                .head(101)
                .field("Upgrade", "websocket")
                .field("Connection", "Upgrade")
                .field("Sec-WebSocket-Accept", http1::websocket::accept(greeting)),
            None => {
                let head = self.heads.head(200).field("Content-Type", http1::mime::of(name));
                head.field("Cache-Control", "no-cache, no-store")
            }
        };
        let framing = match (websocket, request.minor) {
            (Some(_), _) => Framing::WebSocket,
            _ if is_picture(name) => Framing::Plain,
            (None, 1) => Framing::Chunked,
            (None, _) => Framing::Plain,
        };
        connection.keep_alive &= framing == Framing::Chunked || is_picture(name);
        let head = match framing {
            Framing::WebSocket => head.finish(),
            Framing::Chunked => finish(head.field("Transfer-Encoding", "chunked"), connection.keep_alive),
            Framing::Plain => finish(head, false),
        };
        (head, framing)
    }

    /// The viewer that a request makes of a connection.
    pub(crate) fn viewer(
        &mut self,
        request: &Request,
        (stream, format): (&StreamKey, Format),
        (head, framing): (String, Framing),
        since_ns: u64,
        now: Now,
    ) -> Viewer {
        let name = request.path.components().last().map_or("", String::as_str);
        let feed = self.media.watch(stream, since_ns, now);
        // The stream is there; that there is something to begin with is waited for.
        let until_ms = now.ms + self.config.http_server.stream_wait_ms.max(LEAST_BEGIN_MS);
        let mut viewer = Viewer::new(feed, format, framing, head, until_ms);
        // The first fragment begins with the newest key frame.
        viewer.wants_mp3 = name.ends_with(".mp3");
        viewer.picture = is_picture(name);
        viewer.snapshot = viewer.picture || format == Format::Mp4 && request.parameter("snapshot").is_some();
        if self.media.feed(feed).is_some_and(|feed| !feed.is_settled()) {
            viewer.waits_for_all();
        }
        viewer
    }

    /// A picture is made of a movie that begins with a key frame of a stream; the answer, if it is there already or can't be had.
    pub(crate) fn picture(
        &mut self,
        whom: (usize, u64),
        stream: &StreamKey,
        movie: Vec<u8>,
    ) -> Option<Answer> {
        let vhost = self.config.vhosts.iter().find(|known| known.name == stream.vhost);
        let program = vhost.and_then(|vhost| vhost.http_remux.snapshot_ffmpeg.clone());
        let made = self.pictures.of(whom, program.as_deref(), stream.to_string(), movie)?;
        Some(picture_requests::answer(&self.heads, made))
    }
}

/// Whether the page that a request comes from may show streams of a vhost.
fn may_show(vhost: &Vhost, request: &Request) -> bool {
    let page = request.referer.as_deref();
    is_page_allowed(&vhost.refer.all, page) && is_page_allowed(&vhost.refer.play, page)
}

/// A list that is not there yet: it may come under the name of its stream, or under that of its file.
fn list_topics(vhost: Option<&Vhost>, request: &Request) -> Vec<Topic> {
    let Some(vhost) = vhost else { return Vec::new() };
    let mut paths = vec![request.path.components().join("/"), file_path(&request.path)];
    paths.dedup();
    paths.into_iter().map(|path| Topic::List(vhost.name.clone(), path)).collect()
}

/// A path as a URL has it.
fn encoded(request: &Request) -> String {
    request.path.components().iter().map(|component| format!("/{}", http1::encode(component))).collect()
}
