//! What is answered, as a value: a head and what stands behind it. Nothing here knows a connection.

use bytes::Bytes;
use http1::{Method, Request, Response};

use super::connection::FileBody;
use super::files::Found;
use super::waiters::Topic;
use crate::outputs::live::packet_queue::Format;
use media::StreamKey;

/// What a person sees where there is nothing.
const NOT_FOUND: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>404 Not Found</title>\
<h1>404 Not Found</h1><p>There is no such file, and nobody publishes a stream of that name.</p></html>\n";
const NOT_FOUND_WITH_CONSOLE: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>404 Not Found</title>\
<h1>404 Not Found</h1><p>There is no such file, and nobody publishes a stream of that name.</p>\
<p><a href=\"/console/\">What is published now</a></p></html>\n";

/// What stands behind a head.
#[derive(Debug)]
pub(crate) enum Content {
    /// Bytes, whose number is yet to be said in the head.
    Whole(Bytes),
    /// Bytes, whose number the head says.
    Part(Bytes),
    /// Bytes, and behind them a part of a file; the head says how much that is.
    File(Bytes, FileBody),
    /// Nothing, and the head says nothing of it.
    Nothing,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) head: Response,
    pub(crate) content: Content,
}

/// What came of a request: the one list of all that may.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It is answered.
    Answer(Answer),
    /// It gets a live stream.
    Watch(StreamKey, Format),
    /// It gets events, behind this head.
    Events(Response),
    /// The http process of this number has what it wants.
    Leave(u32),
    /// It will be answered when one of these is there; after so many ms it is refused.
    Later(Vec<Topic>, u64),
    /// It may be answered when one of these is there, which is waited for until then, ms; behind that there is no such thing.
    Perhaps(Vec<Topic>, u64),
    /// It is for somebody else: there is nothing of the kind that was looked for.
    Other,
}

impl Answer {
    /// Bytes at hand.
    pub(crate) fn whole(head: Response, body: impl Into<Bytes>) -> Self {
        Self { head, content: Content::Whole(body.into()) }
    }
}

impl From<Answer> for Outcome {
    fn from(answer: Answer) -> Self {
        Self::Answer(answer)
    }
}

/// How heads are made: what the configuration says of them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Heads {
    /// Of the server, as answers name it.
    pub(crate) version: String,
    pub(crate) crossdomain: bool,
    pub(crate) console: bool,
}

/// The head as text, with what becomes of the connection.
pub(crate) fn finish(head: Response, keep_alive: bool) -> String {
    head.field("Connection", if keep_alive { "keep-alive" } else { "close" }).finish()
}

impl Heads {
    /// As a configuration has it.
    pub(crate) fn new(version: &str, config: &conf::Config) -> Self {
        let (crossdomain, console) = (config.http_server.crossdomain, config.http_server.console);
        Self { version: version.to_owned(), crossdomain, console }
    }

    /// A head with what all have.
    pub(crate) fn head(&self, status: u16) -> Response {
        let response = Response::new(status).field("Server", format!("SRS/{}", self.version));
        if self.crossdomain {
            response
                .field("Access-Control-Allow-Origin", "*")
                .field("Access-Control-Expose-Headers", "Content-Length, Content-Range, Date")
        } else {
            response
        }
    }

    /// What may be asked for, and how.
    pub(crate) fn options(&self) -> Answer {
        let head = self.head(200).field("Allow", "GET, HEAD, OPTIONS");
        let head = head
            .field("Access-Control-Allow-Methods", "GET, HEAD, OPTIONS")
            .field("Access-Control-Allow-Headers", "*")
            .field("Access-Control-Max-Age", 86_400);
        Answer::whole(head, Bytes::new())
    }

    /// A status alone.
    pub(crate) fn refusal(&self, status: u16) -> Answer {
        let head = self.head(status).field("Content-Type", "text/plain;charset=utf-8");
        Answer::whole(head, format!("{status}\n"))
    }

    /// There is no such thing.
    pub(crate) fn not_found(&self) -> Answer {
        let head = self.head(404).field("Content-Type", "text/html;charset=utf-8");
        let head = head.field("Cache-Control", "no-cache");
        let head = head.field("Content-Security-Policy", "default-src 'none'");
        let page = if self.console { NOT_FOUND_WITH_CONSOLE } else { NOT_FOUND };
        Answer::whole(head, Bytes::from_static(page.as_bytes()))
    }

    /// A file, or the part of it that is asked for, or that it has not changed.
    pub(crate) fn file(&self, request: &Request, found: Found) -> Answer {
        // A list of segments may be that of a live stream, which grows: it is asked for anew, and answered by its tag.
        let is_list = found.mime == http1::mime::of("x.m3u8");
        let head = |status| {
            let head = self.head(status).field("ETag", &found.tag);
            let head = if is_list { head.field("Cache-Control", "no-cache") } else { head };
            head.date("Last-Modified", found.modified_s).field("X-Content-Type-Options", "nosniff")
        };
        if http1::is_unchanged(request, &found.tag, found.modified_s) {
            return Answer { head: head(304), content: Content::Nothing };
        }
        if request.accepts_gzip
            && request.range.is_none()
            && let Some(body) = found.compressed()
        {
            let head = head(200).field("Content-Type", found.mime);
            return Answer::whole(
                head.field("Content-Encoding", "gzip").field("Vary", "Accept-Encoding"),
                body,
            );
        }
        let same = request.if_range.as_ref().is_none_or(|tag| *tag == found.tag);
        let range = request.range.filter(|_| same && request.method == Method::Get);
        let (status, first, end) = match range.map(|range| range.of(found.len)) {
            None => (200, 0, found.len),
            Some(Some((first, end))) => (206, first, end),
            Some(None) => return self.no_such_range(found.len),
        };
        let mut head = head(status).field("Content-Type", found.mime);
        head = head.field("Accept-Ranges", "bytes").field("Content-Length", end - first);
        if http1::mime::is_text(found.mime) {
            head = head.field("Vary", "Accept-Encoding");
        }
        if status == 206 {
            head = head.field("Content-Range", format!("bytes {first}-{}/{}", end - 1, found.len));
        }
        let content = match found.small_part(first, end) {
            Some(part) => Content::Part(part.into()),
            None => {
                let body = FileBody::new(found.file, (first, end), &found.root, found.is_local);
                Content::File(Bytes::new(), body)
            }
        };
        Answer { head, content }
    }

    /// The beginning of an FLV file, then the rest of it from a place on.
    pub(crate) fn flv_part(&self, found: Found, (lead, at): (Bytes, u64)) -> Answer {
        let len = lead.len() as u64 + found.len - at;
        let head = self.head(200).field("Content-Type", found.mime).field("Content-Length", len);
        let body = FileBody::new(found.file, (at, found.len), &found.root, found.is_local);
        Answer { head, content: Content::File(lead, body) }
    }

    /// A segment that is in memory.
    pub(crate) fn segment(&self, request: &Request, number: u64, bytes: &Bytes) -> Answer {
        let len = bytes.len() as u64;
        let range = request.range.filter(|_| request.method == Method::Get);
        let head = |status| {
            let head = self.head(status).field("Content-Type", "video/MP2T");
            head.field("Cache-Control", "max-age=60").field("ETag", format!("\"{number:x}-{len:x}\""))
        };
        match range.map(|range| range.of(len)) {
            None => Answer::whole(head(200).field("Accept-Ranges", "bytes"), bytes.clone()),
            Some(Some((first, end))) => {
                let size = |at| usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
                let part = bytes.slice(size(first)..size(end));
                let head = head(206).field("Content-Range", format!("bytes {first}-{}/{len}", end - 1));
                Answer::whole(head, part)
            }
            Some(None) => self.no_such_range(len),
        }
    }

    /// Nothing of what there is, so many bytes, is in the range that is asked for.
    fn no_such_range(&self, len: u64) -> Answer {
        Answer::whole(self.head(416).field("Content-Range", format!("bytes */{len}")), Bytes::new())
    }
}
