//! Heads of HTTP requests: read under limits, and written again in a form that leaves nothing to be understood in two ways.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

/// Longest head.
pub(crate) const MOST_BYTES: usize = 16 << 10;
/// Longest body; it is taken in and not looked at.
pub(crate) const MOST_BODY: usize = 64 << 10;
/// Most headers.
const MOST_HEADERS: usize = 100;
/// Headers in which the gate tells the API who asks, and at which of the listening sockets; a client's own are left out.
pub(crate) const PEER: &str = "X-Srs-Peer";
pub(crate) const DOOR: &str = "X-Srs-Door";
/// Header that says that somebody else asks through who asks.
pub(crate) const VIA: &str = "X-Srs-Via";
/// What proxies add to requests that they pass on.
const ADDED_BY_PROXIES: [&str; 12] = [
    "forwarded",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-forwarded-server",
    "x-forwarded-port",
    "x-real-ip",
    "x-client-ip",
    "x-original-forwarded-for",
    "cf-connecting-ip",
    "true-client-ip",
];
const PRIVATE_PREFIX: &str = "x-srs-";

/// What came in so far.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Head {
    /// More is to come.
    Partial,
    /// It is refused, with this status and for this reason.
    Bad(u16, &'static str),
    /// All of it is there.
    Whole(Whole),
}

/// A request whose body has been taken in.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Whole {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    /// Who asks has it from a proxy, as far as that can be seen.
    pub(crate) is_passed_on: bool,
    /// HTTP/1.0: proxies ask so that are not told otherwise, and no browser does.
    pub(crate) is_old: bool,
}

/// Reads a request as far as it has come.
pub(crate) fn read(bytes: &[u8]) -> Head {
    let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    let len = match request.parse(bytes) {
        Ok(httparse::Status::Complete(len)) if len <= MOST_BYTES => len,
        Ok(httparse::Status::Partial) if bytes.len() <= MOST_BYTES => return Head::Partial,
        Ok(_) | Err(httparse::Error::TooManyHeaders) => {
            return Head::Bad(431, "the head of the request is too long");
        }
        Err(_) => return Head::Bad(400, "this is no HTTP request"),
    };
    let (Some(method), Some(path)) = (request.method, request.path) else {
        return Head::Bad(400, "this is no HTTP request");
    };
    if !path.starts_with('/') {
        return Head::Bad(400, "the target of the request is not a path");
    }
    let all = |name: &'static str| {
        request
            .headers
            .iter()
            .filter(move |header| header.name.eq_ignore_ascii_case(name))
            .map(|header| header.value)
    };
    if all("transfer-encoding").next().is_some() {
        return Head::Bad(400, "a request with Transfer-Encoding is not taken");
    }
    let hosts = all("host").count();
    if hosts > 1 || hosts == 0 && request.version == Some(1) {
        return Head::Bad(400, "the request names no host, or several");
    }
    let mut lengths = all("content-length");
    let body = match (lengths.next(), lengths.next()) {
        (None, _) => 0,
        (Some(length), None) => {
            let digits = !length.is_empty() && length.iter().all(u8::is_ascii_digit);
            let number = std::str::from_utf8(length).ok().filter(|_| digits);
            match number.and_then(|number| number.parse::<u64>().ok()).map(usize::try_from) {
                Some(Ok(length)) => length,
                _ => return Head::Bad(400, "the length of the body is no number"),
            }
        }
        (Some(_), Some(_)) => return Head::Bad(400, "the request has two lengths"),
    };
    if body > MOST_BODY {
        return Head::Bad(413, "the body of the request is too long");
    }
    if bytes.len() < len + body {
        return Head::Partial;
    }
    let kept = request.headers.iter().filter_map(|header| {
        let name = header.name.to_ascii_lowercase();
        let ours = name.starts_with(PRIVATE_PREFIX);
        let of_the_hop = matches!(
            name.as_str(),
            "connection" | "keep-alive" | "upgrade" | "content-length" | "expect" | "te" | "trailer"
        );
        let plain = header.value.iter().all(|byte| (0x20..0x7f).contains(byte));
        let value = std::str::from_utf8(header.value).ok()?;
        (!ours && !of_the_hop && plain).then(|| (header.name.to_owned(), value.to_owned()))
    });
    let headers = kept.collect();
    let is_added = |name: &str| ADDED_BY_PROXIES.iter().any(|added| name.eq_ignore_ascii_case(added));
    let is_passed_on = request.headers.iter().any(|header| is_added(header.name));
    let is_old = request.version == Some(0);
    Head::Whole(Whole { method: method.to_owned(), path: path.to_owned(), headers, is_passed_on, is_old })
}

impl Whole {
    /// As the API gets it.
    pub(crate) fn request(&self, peer: IpAddr, door: SocketAddr) -> Vec<u8> {
        let mut text = format!("{} {} HTTP/1.1\r\nConnection: close\r\n", self.method, self.path);
        let _ = write!(text, "{PEER}: {}\r\n{DOOR}: {door}\r\n", peer.to_canonical());
        if self.is_passed_on {
            let _ = write!(text, "{VIA}: proxy\r\n");
        }
        for (name, value) in &self.headers {
            let _ = write!(text, "{name}: {value}\r\n");
        }
        text.push_str("\r\n");
        text.into_bytes()
    }
}

/// A whole answer that refuses.
pub(crate) fn refusal(status: u16, why: &str) -> Vec<u8> {
    let reason = match status {
        400 => "Bad Request",
        408 => "Request Timeout",
        413 => "Content Too Large",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        _ => "Service Unavailable",
    };
    let body =
        serde_json::json!({"code": 3011, "data": {"status_code": status, "reason_phrase": why}}).to_string();
    format!(
        "HTTP/1.1 {status} {reason}\r\nContent-Type: application/json;charset=utf-8\r\nContent-Length: {}\r\n\
         X-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(text: &str) -> Option<u16> {
        match read(text.as_bytes()) {
            Head::Bad(status, _) => Some(status),
            Head::Whole(_) => Some(200),
            Head::Partial => None,
        }
    }

    #[test]
    fn requests_that_can_be_understood_in_two_ways_are_refused() {
        let many = format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", "A: b\r\n".repeat(200));
        let long = format!("GET / HTTP/1.1\r\nHost: x\r\nA: {}", "b".repeat(20_000));
        for (text, wanted) in [
            ("GET / HTTP/1.1\r\nHost: x\r\n\r\n", Some(200)),
            ("GET / HTTP/1.0\r\n\r\n", Some(200)),
            ("GET / HTTP/1.1\r\nHost: x\r\n", None),
            ("GET / HTTP/1.1\r\n\r\n", Some(400)),
            ("GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", Some(400)),
            ("GET http://x/ HTTP/1.1\r\nHost: x\r\n\r\n", Some(400)),
            ("GET / HTTP/2.0\r\nHost: x\r\n\r\n", Some(400)),
            ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nab", None),
            ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc", Some(200)),
            ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -3\r\n\r\n", Some(400)),
            ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +3\r\n\r\n", Some(400)),
            ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n", Some(400)),
            ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n", Some(413)),
            ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n", Some(400)),
            (
                "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
                Some(400),
            ),
            ("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n", Some(400)),
            ("GET / HTTP/1.1\r\nHost: x\r\nBad Name: y\r\n\r\n", Some(400)),
            (many.as_str(), Some(431)),
            (long.as_str(), Some(431)),
            ("\0\0\0\0", Some(400)),
        ] {
            assert_eq!(status(text), wanted, "{}", text.chars().take(80).collect::<String>());
        }
    }

    #[test]
    fn who_asks_is_said_by_the_gate_alone() {
        let text = "GET /a?b HTTP/1.1\r\nHost: h\r\nX-Srs-Peer: 127.0.0.1\r\nx-srs-door: api\r\nConnection: keep-alive\r\nAccept: */*\r\n\r\n";
        let Head::Whole(whole) = read(text.as_bytes()) else { panic!() };
        let sent = whole.request("::ffff:192.0.2.1".parse().unwrap(), "192.0.2.9:9972".parse().unwrap());
        assert_eq!(
            String::from_utf8(sent).unwrap(),
            "GET /a?b HTTP/1.1\r\nConnection: close\r\nX-Srs-Peer: 192.0.2.1\r\nX-Srs-Door: 192.0.2.9:9972\r\n\
             Host: h\r\nAccept: */*\r\n\r\n"
        );
    }

    #[test]
    fn requests_that_a_proxy_passes_on_are_known() {
        let passed_on = |version: &str, header: &str| {
            let text = format!("GET / HTTP/{version}\r\nHost: x\r\n{header}\r\n\r\n");
            let Head::Whole(whole) = read(text.as_bytes()) else { panic!("{header}") };
            (whole.is_passed_on, whole.is_old)
        };
        for header in
            ["X-Forwarded-For: 192.0.2.1", "forwarded: for=_x", "Via: 1.1 cache", "X-Real-Ip: 192.0.2.1"]
        {
            assert_eq!(passed_on("1.1", header), (true, false), "{header}");
        }
        assert_eq!(passed_on("1.1", "Accept: */*"), (false, false));
        assert_eq!(passed_on("1.0", "Accept: */*"), (false, true));
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..256)) {
            let _ = read(&bytes);
        }
    }
}
