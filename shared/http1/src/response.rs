//! Response heads, and whether a client has the body already.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::Request;

/// A head while it is put together.
#[derive(Debug, Clone)]
pub struct Response {
    text: String,
}

impl Response {
    /// Begins a head.
    #[must_use]
    pub fn new(status: u16) -> Self {
        let mut text = String::with_capacity(384);
        let _ = write!(text, "HTTP/1.1 {status} {}\r\n", reason(status));
        Self { text }
    }

    /// Adds a field. A value that could end it (a line break) is left out.
    #[must_use]
    pub fn field(mut self, name: &str, value: impl std::fmt::Display) -> Self {
        let before = self.text.len();
        let _ = write!(self.text, "{name}: {value}");
        if self.text.get(before..).is_some_and(|line| line.chars().any(char::is_control)) {
            self.text.truncate(before);
        } else {
            self.text.push_str("\r\n");
        }
        self
    }

    /// Adds a field with a date, in seconds since 1970.
    #[must_use]
    pub fn date(self, name: &str, seconds: u64) -> Self {
        self.field(name, date(seconds))
    }

    /// The whole head.
    #[must_use]
    pub fn finish(mut self) -> String {
        self.text.push_str("\r\n");
        self.text
    }
}

fn date(seconds: u64) -> String {
    // The format knows years of four digits only.
    let latest = 253_402_300_799;
    httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds.min(latest)))
}

/// Whether the client has the body with this tag and date (RFC 9110, 13.2.2): the answer is 304 then.
#[must_use]
pub fn is_unchanged(request: &Request, tag: &str, modified_s: u64) -> bool {
    match (&request.if_none_match, &request.if_modified_since) {
        (Some(tags), _) => {
            fn plain(tag: &str) -> &str {
                let tag = tag.trim();
                tag.strip_prefix("W/").unwrap_or(tag)
            }
            tags.trim() == "*" || tags.split(',').any(|known| plain(known) == plain(tag))
        }
        (None, Some(since)) => httpdate::parse_http_date(since).is_ok_and(|since| {
            let since = since.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_secs());
            modified_s <= since
        }),
        (None, None) => false,
    }
}

/// Words for a status.
const fn reason(status: u16) -> &'static str {
    match status {
        101 => "Switching Protocols",
        200 => "OK",
        204 => "No Content",
        206 => "Partial Content",
        301 => "Moved Permanently",
        302 => "Found",
        304 => "Not Modified",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        408 => "Request Timeout",
        413 => "Content Too Large",
        414 => "URI Too Long",
        416 => "Range Not Satisfiable",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        _ => "Unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_can_not_end_its_line() {
        let head = Response::new(302).field("Location", "/a\r\nSet-Cookie: x").field("X", 1).finish();
        assert_eq!(head, "HTTP/1.1 302 Found\r\nX: 1\r\n\r\n");
    }

    #[test]
    fn a_client_that_has_it_is_told_so() {
        let ask = |fields: &str| {
            let text = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
            Request::parse(text.as_bytes()).unwrap().unwrap().0
        };
        let tag = "\"5-100\"";
        assert!(is_unchanged(&ask("If-None-Match: \"x\", W/\"5-100\"\r\n"), tag, 0));
        assert!(is_unchanged(&ask("If-None-Match: *\r\n"), tag, 0));
        // The tag goes before the date.
        let other = "If-None-Match: \"x\"\r\nIf-Modified-Since: Thu, 01 Jan 2037 00:00:00 GMT\r\n";
        assert!(!is_unchanged(&ask(other), tag, 0));
        assert!(is_unchanged(&ask("If-Modified-Since: Thu, 01 Jan 1970 00:01:40 GMT\r\n"), tag, 100));
        assert!(!is_unchanged(&ask("If-Modified-Since: Thu, 01 Jan 1970 00:01:39 GMT\r\n"), tag, 100));
        assert!(!is_unchanged(&ask("If-Modified-Since: yesterday\r\n"), tag, 100));
        assert!(Response::new(200).date("Last-Modified", u64::MAX).finish().contains("9999"));
    }
}
