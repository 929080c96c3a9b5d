//! HTTP byte by byte: for what no decent client would send, and for what every client must be able to read.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Status.
    pub status: u16,
    /// Head, as it came.
    pub head: String,
    /// Body.
    pub body: Vec<u8>,
}

impl Answer {
    /// A header's value.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        lines.filter(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).next()
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.body)))
    }
}

/// The address in a URL such as `http://127.0.0.1:1985`.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn address(url: &str) -> SocketAddr {
    url.trim_start_matches("http://").parse().expect("an address")
}

/// Sends bytes and reads until the server closes. `None` when it closes without an answer.
///
/// # Panics
/// When nobody listens, or the answer is none.
#[must_use]
pub fn exchange(address: SocketAddr, request: &[u8]) -> Option<Answer> {
    let mut socket = TcpStream::connect(address).expect("a connection");
    socket.set_read_timeout(Some(Duration::from_secs(20))).expect("an open socket");
    // It may answer and close before it has read everything.
    drop(socket.write_all(request));
    read(&mut socket)
}

/// Reads an answer until the server closes.
///
/// # Panics
/// When it is none.
pub fn read(socket: &mut TcpStream) -> Option<Answer> {
    let mut bytes = Vec::new();
    let _ = socket.read_to_end(&mut bytes);
    if bytes.is_empty() {
        return None;
    }
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").expect("a whole head");
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let status = head.split_whitespace().nth(1).and_then(|status| status.parse().ok()).expect("a status");
    Some(Answer { status, head, body: bytes[end + 4..].to_vec() })
}

/// A request with headers, each `Name: value`.
///
/// # Panics
/// When there is no answer.
#[must_use]
pub fn ask(url: &str, method: &str, path: &str, headers: &[&str]) -> Answer {
    let address = address(url);
    let mut request = format!("{method} {path} HTTP/1.1\r\n");
    if !headers.iter().any(|header| header.to_ascii_lowercase().starts_with("host:")) {
        request.push_str(&format!("Host: {address}\r\n"));
    }
    for header in headers {
        request.push_str(header);
        request.push_str("\r\n");
    }
    request.push_str("\r\n");
    exchange(address, request.as_bytes()).expect("an answer")
}
