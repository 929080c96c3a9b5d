//! Request heads.

use crate::path::decode;
use crate::range::Range;
use crate::{BadPath, Path};

/// Longest head in bytes.
pub const MAX_HEAD_BYTES: usize = 16 << 10;
/// Most header fields.
pub const MAX_HEADERS: usize = 100;

/// Why a request is refused; the connection is closed behind the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// Not HTTP.
    #[error("the bytes are no HTTP request")]
    Malformed,
    /// More than [`MAX_HEAD_BYTES`] or [`MAX_HEADERS`].
    #[error("the head is too large")]
    TooLarge,
    /// It has a body, or says contradictory things about one.
    #[error("the request announces a body")]
    Body,
    /// No host, or several.
    #[error("the request does not name one host")]
    Host,
    /// Its path can't be looked up.
    #[error("{0}")]
    Path(#[from] BadPath),
    /// A method that is not served.
    #[error("the method is not served")]
    Method,
}

impl HeadError {
    /// The status of the answer.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::TooLarge => 431,
            Self::Method => 405,
            Self::Body => 413,
            Self::Path(BadPath::TooLong) => 414,
            Self::Malformed | Self::Host | Self::Path(_) => 400,
        }
    }
}

/// Methods that are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// GET.
    Get,
    /// HEAD.
    Head,
    /// OPTIONS.
    Options,
}

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// What is asked.
    pub method: Method,
    /// Of what.
    pub path: Path,
    /// Behind the question mark, as it was written.
    pub query: String,
    /// Minor version: 0 or 1.
    pub minor: u8,
    /// The host without its port, in lower case; empty when an old client says none.
    pub host: String,
    /// Whether another request may follow.
    pub keep_alive: bool,
    /// The part of the body that is wanted.
    pub range: Option<Range>,
    /// The range counts only for the body with this tag or date.
    pub if_range: Option<String>,
    /// Tags that the client has.
    pub if_none_match: Option<String>,
    /// A date as of which the client has it.
    pub if_modified_since: Option<String>,
    /// Compressed bodies are welcome.
    pub accepts_gzip: bool,
    /// The key of a WebSocket's greeting.
    pub websocket_key: Option<String>,
    /// The page that it comes from.
    pub referer: Option<String>,
    /// The program that asks.
    pub user_agent: Option<String>,
    /// The page's origin, when a page of another origin asks.
    pub origin: Option<String>,
}

/// The fields of a head while they are read.
#[derive(Debug, Default)]
struct Fields<'a> {
    host: Option<&'a str>,
    hosts: usize,
    connection: String,
    upgrade: Option<&'a str>,
    lengths: usize,
    has_body: bool,
    has_encoding: bool,
    range: Option<&'a str>,
    ranges: usize,
}

impl Request {
    /// Reads a head from the beginning of what has come. `None` until it is complete; with it comes how many bytes it had.
    ///
    /// # Errors
    /// [`HeadError`].
    pub fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, HeadError> {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut parsed = httparse::Request::new(&mut headers);
        let shown = bytes.get(..MAX_HEAD_BYTES).unwrap_or(bytes);
        let len = match parsed.parse(shown) {
            Ok(httparse::Status::Complete(len)) => len,
            Ok(httparse::Status::Partial) if bytes.len() >= MAX_HEAD_BYTES => {
                return Err(HeadError::TooLarge);
            }
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(httparse::Error::TooManyHeaders) => return Err(HeadError::TooLarge),
            Err(_) => return Err(HeadError::Malformed),
        };
        let minor = parsed.version.ok_or(HeadError::Malformed)?;
        let target = parsed.path.ok_or(HeadError::Malformed)?;
        let method = match parsed.method {
            Some("GET") => Some(Method::Get),
            Some("HEAD") => Some(Method::Head),
            Some("OPTIONS") => Some(Method::Options),
            _ => None,
        };
        let (host_of_target, target) = split_target(target);
        let mut request = Self {
            method: method.unwrap_or(Method::Get),
            path: Path::parse("/")?,
            query: String::new(),
            minor,
            host: String::new(),
            keep_alive: minor == 1,
            range: None,
            if_range: None,
            if_none_match: None,
            if_modified_since: None,
            accepts_gzip: false,
            websocket_key: None,
            referer: None,
            user_agent: None,
            origin: None,
        };
        let mut fields = Fields::default();
        for header in parsed.headers.iter() {
            request.field(&mut fields, header)?;
        }
        request.finish(&fields, host_of_target)?;
        if method.is_none() {
            return Err(HeadError::Method);
        }
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let query = query.split('#').next().unwrap_or("");
        request.path = if path == "*" && request.method == Method::Options {
            Path::parse("/")?
        } else {
            Path::parse(path.split('#').next().unwrap_or(path))?
        };
        request.query = query.to_owned();
        Ok(Some((request, len)))
    }

    fn field<'a>(&mut self, fields: &mut Fields<'a>, header: &httparse::Header<'a>) -> Result<(), HeadError> {
        let is = |name: &str| header.name.eq_ignore_ascii_case(name);
        // Fields that matter are text; what others hold is of no interest.
        let value = std::str::from_utf8(header.value).map(str::trim);
        let text = || value.map_err(|_| HeadError::Malformed);
        if is("host") {
            fields.host = Some(text()?);
            fields.hosts += 1;
        } else if is("content-length") {
            fields.lengths += 1;
            fields.has_body |= text()? != "0";
        } else if is("transfer-encoding") {
            fields.has_encoding = true;
        } else if is("connection") {
            fields.connection.push_str(&text()?.to_ascii_lowercase());
            fields.connection.push(',');
        } else if is("upgrade") {
            fields.upgrade = Some(text()?);
        } else if is("range") {
            fields.range = value.ok();
            fields.ranges += 1;
        } else if is("accept-encoding") {
            self.accepts_gzip |= value.is_ok_and(accepts_gzip);
        } else {
            let place = if is("if-range") {
                &mut self.if_range
            } else if is("if-none-match") {
                &mut self.if_none_match
            } else if is("if-modified-since") {
                &mut self.if_modified_since
            } else if is("sec-websocket-key") {
                &mut self.websocket_key
            } else if is("referer") {
                &mut self.referer
            } else if is("user-agent") {
                &mut self.user_agent
            } else if is("origin") {
                &mut self.origin
            } else {
                return Ok(());
            };
            *place = value.ok().map(str::to_owned);
        }
        Ok(())
    }

    fn finish(&mut self, fields: &Fields<'_>, host_of_target: Option<&str>) -> Result<(), HeadError> {
        if fields.has_body || fields.has_encoding || fields.lengths > 1 {
            return Err(HeadError::Body);
        }
        if fields.hosts > 1 || fields.hosts == 0 && self.minor == 1 {
            return Err(HeadError::Host);
        }
        self.host = host_name(host_of_target.or(fields.host).unwrap_or("")).ok_or(HeadError::Host)?;
        let says = |word: &str| fields.connection.split(',').any(|token| token.trim() == word);
        self.keep_alive = !says("close") && (self.minor == 1 || says("keep-alive"));
        self.range = fields.range.filter(|_| fields.ranges == 1).and_then(Range::parse);
        let upgrades =
            says("upgrade") && fields.upgrade.is_some_and(|to| to.eq_ignore_ascii_case("websocket"));
        if !upgrades {
            self.websocket_key = None;
        }
        Ok(())
    }

    /// The value of a parameter of the query, decoded; the first where it stands more than once.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<String> {
        self.query.split('&').find_map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (key == name).then(|| decode(value).ok()).flatten()
        })
    }
}

/// The absolute form of a target (as sent to proxies) in host and path; the usual form has no host.
fn split_target(target: &str) -> (Option<&str>, &str) {
    let Some(rest) = target.strip_prefix("http://").or_else(|| target.strip_prefix("https://")) else {
        return (None, target);
    };
    let at = rest.find('/').unwrap_or(rest.len());
    let (host, path) = rest.split_at(at);
    (Some(host), if path.is_empty() { "/" } else { path })
}

/// A host without its port and final dot, in lower case. `None` when it holds what no host holds.
fn host_name(written: &str) -> Option<String> {
    let name = match written.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?.0,
        None => written.split(':').next().unwrap_or(written),
    };
    let is_host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    let name = name.strip_suffix('.').unwrap_or(name);
    (name.len() <= 255 && name.chars().all(is_host)).then(|| name.to_ascii_lowercase())
}

fn accepts_gzip(value: &str) -> bool {
    value.split(',').any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        let name = parts.next().unwrap_or("");
        let refused = parts
            .any(|part| part.strip_prefix("q=").is_some_and(|q| q.parse::<f32>().is_ok_and(|q| q <= 0.0)));
        matches!(name, "gzip" | "x-gzip" | "*") && !refused
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Request, HeadError> {
        Request::parse(text.as_bytes()).map(|parsed| parsed.expect("a whole head").0)
    }

    #[test]
    fn heads_are_read_wherever_they_are_cut() {
        let text = "GET /live/a.flv?vhost=v%2Ex&token=1 HTTP/1.1\r\nHost: Example.COM:8080\r\nRange: bytes=5-\r\n\
                    Accept-Encoding: br, gzip;q=0.5\r\n\r\nnext";
        let whole = text.len() - 4;
        for cut in 0..whole {
            assert_eq!(Request::parse(&text.as_bytes()[..cut]), Ok(None), "{cut}");
        }
        let (request, len) = Request::parse(text.as_bytes()).unwrap().unwrap();
        assert_eq!((len, request.host.as_str(), request.keep_alive), (whole, "example.com", true));
        assert_eq!(request.path.components(), ["live", "a.flv"]);
        assert_eq!(request.parameter("vhost").as_deref(), Some("v.x"));
        assert_eq!((request.range, request.accepts_gzip), (Some(Range::From(5, None)), true));
    }

    #[test]
    fn connections_are_kept_as_the_client_says() {
        let keeps = |line: &str, header: &str| {
            parse(&format!("GET / {line}\r\nHost: a\r\n{header}\r\n")).unwrap().keep_alive
        };
        assert!(keeps("HTTP/1.1", ""));
        assert!(!keeps("HTTP/1.1", "Connection: foo, Close\r\n"));
        assert!(!keeps("HTTP/1.0", ""));
        assert!(keeps("HTTP/1.0", "Connection: Keep-Alive\r\n"));
    }

    #[test]
    fn hostile_heads_are_refused_with_a_reason() {
        let with = |fields: &str| parse(&format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n")).err();
        assert_eq!(with("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"), Some(HeadError::Body));
        assert_eq!(with("Transfer-Encoding: chunked\r\n"), Some(HeadError::Body));
        assert_eq!(with("Content-Length: -1\r\n"), Some(HeadError::Body));
        assert_eq!(with("Content-Length: 0\r\nContent-Length: 0\r\n"), Some(HeadError::Body));
        assert_eq!(with("Content-Length: 0\r\n"), None);
        assert_eq!(with("Host: b\r\n"), Some(HeadError::Host));
        assert_eq!(with("X: a\0b\r\n"), Some(HeadError::Malformed));
        assert_eq!(with(&"X: y\r\n".repeat(101)), Some(HeadError::TooLarge));
        assert_eq!(with(&"X: y\r\n".repeat(90)), None);
        assert_eq!(parse("GET / HTTP/1.1\r\n\r\n").err(), Some(HeadError::Host));
        assert_eq!(parse("GET / HTTP/1.1\r\nHost: a/../b\r\n\r\n").err(), Some(HeadError::Host));
        assert_eq!(parse("POST / HTTP/1.1\r\nHost: a\r\n\r\n").err(), Some(HeadError::Method));
        assert_eq!(
            parse("GET /%2e%2e/x HTTP/1.1\r\nHost: a\r\n\r\n").err(),
            Some(HeadError::Path(BadPath::Component))
        );
        assert_eq!(parse("GET / HTTP/2.0\r\nHost: a\r\n\r\n").err(), Some(HeadError::Malformed));
        let long = format!("GET / HTTP/1.1\r\nX: {}", "a".repeat(1 << 20));
        assert_eq!(Request::parse(long.as_bytes()), Err(HeadError::TooLarge));
    }

    #[test]
    fn websockets_are_greeted_only_where_both_fields_say_so() {
        let key = |fields: &str| {
            parse(&format!("GET / HTTP/1.1\r\nHost: a\r\nSec-WebSocket-Key: k\r\n{fields}\r\n"))
                .unwrap()
                .websocket_key
        };
        assert_eq!(key("Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n").as_deref(), Some("k"));
        assert_eq!(key("Upgrade: websocket\r\n"), None);
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..256)) {
            let _ = Request::parse(&bytes);
            let mut head = b"GET /".to_vec();
            head.extend(bytes);
            let _ = Request::parse(&head);
        }
    }
}
