//! One request: what it is for, and what it is answered with.

use http1::{Method, Request};
use media::StreamKey;

use super::Web;
use crate::outputs::live::packet_queue::Format;
use crate::web::answer::{Answer, Outcome};
use crate::web::connection::{Body, State, Wait};
use crate::web::readers::Completion;
use crate::web::site::Asking;
use crate::web::waiters::Topic;
use crate::web::{handoff, picture_requests};

/// Longest target that is shown of a client.
const SHOWN_BYTES: usize = 128;
/// Since when a request waits (monotonic ns), and until when it was said that it would (ms).
type Waited = Option<(u64, u64)>;

impl Web {
    /// Looks at a request again that waits.
    pub(crate) fn ask_again(&mut self, key: usize) {
        if let Some(wait) = self.clients.take_waiting(key) {
            self.request(key, wait.request, Some((wait.since_ns, wait.until_ms)));
            self.serve(key, false);
        }
    }

    /// A request: answered, or looked at again later.
    pub(crate) fn request(&mut self, key: usize, request: Request, waited: Waited) {
        let Some(connection) = self.clients.get_mut(key) else { return };
        connection.state = State::Answer(Body::Rest);
        connection.page_url = request.referer.as_deref().map(rtmp::url::mask_query);
        connection.target = shown(&request);
        let since_ns = waited.map_or_else(reactor::now_ns, |(since_ns, _)| since_ns);
        let (now_ms, waited_until_ms) = (self.now_ms, waited.map(|(_, until_ms)| until_ms));
        let outcome = {
            let (connections, mut ids) = self.clients.with_ids();
            let Some(connection) = connections.get_mut(key) else { return };
            let ids = &mut ids;
            let mut asking = Asking { key, connection, ids, now_ms, since_ns, waited_until_ms };
            self.site.resolve(&mut asking, &request)
        };
        match outcome {
            Ok(outcome) => self.follow(key, request, waited, outcome),
            // No file has such a name: it means this.
            Err(plain) => self.request(key, *plain, waited),
        }
    }

    /// Does what came of a request.
    fn follow(&mut self, key: usize, request: Request, waited: Waited, outcome: Outcome) {
        let since_ns = waited.map_or_else(reactor::now_ns, |(since_ns, _)| since_ns);
        match outcome {
            Outcome::Answer(answer) => self.give(key, answer, &request),
            Outcome::Watch(stream, format) => self.watch(key, &request, (&stream, format), since_ns),
            Outcome::Events(head) => {
                let Some(connection) = self.clients.get_mut(key) else { return };
                let is_head = request.method == Method::Head;
                if !self.event_pages.begin(key, connection, head, is_head) {
                    self.give(key, self.site.heads.refusal(503), &request);
                }
            }
            Outcome::Leave(owner) => match self.clients.get_mut(key) {
                Some(connection) if self.siblings.is_there(owner) => {
                    self.siblings.leave(key, connection, owner);
                }
                _ => {
                    let later = Outcome::Later(vec![Topic::Sibling(owner)], handoff::PATIENCE_MS);
                    self.follow(key, request, waited, later);
                }
            },
            Outcome::Later(topics, patience_ms) => {
                let until_ms = waited.map_or(self.now_ms + patience_ms, |(_, until_ms)| until_ms);
                if self.now_ms >= until_ms {
                    return self.give(key, self.site.heads.refusal(503), &request);
                }
                self.wait(key, request, since_ns, (topics, until_ms));
            }
            Outcome::Perhaps(topics, until_ms) if self.now_ms < until_ms => {
                self.wait(key, request, since_ns, (topics, until_ms));
            }
            Outcome::Perhaps(..) | Outcome::Other => self.give(key, self.site.heads.not_found(), &request),
        }
    }

    fn give(&mut self, key: usize, answer: Answer, request: &Request) {
        let Some(connection) = self.clients.get_mut(key) else { return };
        connection.give(answer, request.method == Method::Head);
        self.to_master.keep_download(connection, &self.site.config);
    }

    /// A request waits for one of these topics, until then.
    fn wait(&mut self, key: usize, request: Request, since_ns: u64, (topics, until_ms): (Vec<Topic>, u64)) {
        let Some(connection) = self.clients.get_mut(key) else { return };
        connection.state = State::Answer(Body::Wait(Box::new(Wait { request, since_ns, until_ms })));
        self.clients.waiters.add(key, topics, until_ms);
    }

    /// A viewer of a stream that somebody publishes.
    fn watch(
        &mut self,
        key: usize,
        request: &Request,
        (stream, format): (&StreamKey, Format),
        since_ns: u64,
    ) {
        let now = self.now();
        let Some(connection) = self.clients.get_mut(key) else { return };
        let (head, framing) = self.site.live_head(connection, request, format);
        if request.method == Method::Head {
            connection.outbox.push(head.into_bytes());
            return;
        }
        let viewer = self.site.viewer(request, (stream, format), (head, framing), since_ns, now);
        let feed = viewer.feed;
        connection.state = State::Answer(Body::Live(viewer));
        self.clients.join(key, feed);
        self.site.media.join(feed, format);
        self.clients.run(key);
    }

    /// The key frame of somebody who wants a picture is in the outbox: it goes to the thread instead.
    pub(crate) fn make_picture(&mut self, key: usize) {
        let Some(connection) = self.clients.get_mut(key) else { return };
        let Some((feed, format)) = connection.feed() else { return };
        let movie = connection.outbox.take_all();
        let whom = (key, connection.id);
        connection.state = State::Answer(Body::Picture);
        let stream = self.site.media.note_picture(feed);
        self.leave(key, feed, format);
        let answer = match stream {
            Some(stream) => self.site.picture(whom, &stream, movie),
            None => Some(self.site.heads.refusal(404)),
        };
        if let Some(answer) = answer {
            self.show(key, answer);
        }
    }

    /// Takes the pictures that were made.
    pub(crate) fn take_pictures(&mut self) {
        for ((key, id), made) in self.site.pictures.drain() {
            let waits = self.clients.same_mut((key, id)).map(|connection| &connection.state);
            if matches!(waits, Some(State::Answer(Body::Picture))) {
                self.show(key, picture_requests::answer(&self.site.heads, made));
                self.clients.run(key);
            }
        }
    }

    /// An answer to a request that is not at hand any more, and that was one for more than a head.
    pub(crate) fn show(&mut self, key: usize, answer: Answer) {
        if let Some(connection) = self.clients.get_mut(key) {
            connection.give(answer, false);
        }
    }

    /// Takes what threads have opened and read for clients.
    pub(crate) fn take_files(&mut self) {
        for (whom, completion) in self.site.files.drain() {
            let key = whom.0;
            let Some(connection) = self.clients.same_mut(whom) else { continue };
            match completion {
                Completion::Opened(wanted, found, _) => {
                    if connection.lookup.opening.as_ref() == Some(&wanted) {
                        connection.lookup.opening = None;
                        connection.lookup.opened = Some((wanted, found));
                        self.ask_again(key);
                    }
                }
                Completion::Read(read) => match connection.take_read(read) {
                    Ok(()) => self.serve(key, false),
                    Err(gone) => self.end(key, gone),
                },
            }
        }
    }
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
