//! An HTTP server for questions of the server's own programs on loopback: one request a connection, a thread for each of
//! a bounded number of connections, a deadline for all of it.
//!
//! Any user of the host can connect here, and the process behind it has better things to do than to fall: a lack of
//! descriptors or threads, a client that says or takes nothing and a crowd of them cost nobody but the newest questions.

use std::io::{Error, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Connections at the same time. For one more the oldest is closed.
const MOST: usize = 32;
/// How long a connection may take for its request and its answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long to rest when the kernel has no descriptor for a client.
const REST: Duration = Duration::from_millis(100);
/// Longest head and body together.
const MOST_BYTES: usize = 32 << 10;
const MOST_HEADERS: usize = 64;
const STACK: usize = 256 << 10;

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// Without what is behind a question mark.
    pub(crate) path: String,
    /// What stands behind `Authorization: Bearer`.
    pub(crate) bearer: Option<String>,
    pub(crate) body: Vec<u8>,
}

/// An answer in JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

/// Connections that are being served, the oldest first.
type Open = Arc<Mutex<Vec<Arc<TcpStream>>>>;

/// Answers whoever connects, for as long as the process lives.
///
/// # Errors
/// When there can't be a thread for it.
pub(crate) fn serve(
    listener: TcpListener,
    answer: impl Fn(&Request) -> Answer + Send + Sync + 'static,
) -> std::io::Result<()> {
    let answer = Arc::new(answer);
    let open = Open::default();
    let accept = move || {
        loop {
            match listener.accept() {
                Ok((socket, _)) => begin(Arc::new(socket), &open, &answer),
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
                Err(_) => thread::sleep(REST),
            }
        }
    };
    thread::Builder::new().name("private-api".to_owned()).stack_size(STACK).spawn(accept)?;
    Ok(())
}

fn begin<A>(socket: Arc<TcpStream>, open: &Open, answer: &Arc<A>)
where
    A: Fn(&Request) -> Answer + Send + Sync + 'static,
{
    {
        let mut open = open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.len() >= MOST {
            let _ = open.remove(0).shutdown(Shutdown::Both);
        }
        open.push(Arc::clone(&socket));
    }
    let (served, answer) = (Arc::clone(open), Arc::clone(answer));
    let gone = Arc::clone(&socket);
    let converse = move || {
        let _ = converse(&socket, answer.as_ref());
        forget(&served, &socket);
    };
    let spawned = thread::Builder::new().name("private-api".to_owned()).stack_size(STACK).spawn(converse);
    if spawned.is_err() {
        forget(open, &gone);
    }
}

fn forget(open: &Open, socket: &Arc<TcpStream>) {
    open.lock().unwrap_or_else(PoisonError::into_inner).retain(|other| !Arc::ptr_eq(other, socket));
}

fn converse(socket: &TcpStream, answer: &impl Fn(&Request) -> Answer) -> std::io::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    let answer = match read(socket, deadline)? {
        Ok(request) => answer(&request),
        Err(status) => Answer { status, body: br#"{"error":"this is not a request"}"#.to_vec() },
    };
    let head = format!(
        "HTTP/1.1 {} {}\r\nContent-Type: application/json;charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        answer.status,
        reason(answer.status),
        answer.body.len()
    );
    for part in [head.as_bytes(), &answer.body] {
        write(socket, part, deadline)?;
    }
    socket.shutdown(Shutdown::Write)
}

/// The inner error is the status of the answer.
fn read(mut socket: &TcpStream, deadline: Instant) -> std::io::Result<Result<Request, u16>> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        match parse(&bytes) {
            Ok(Some(request)) => return Ok(Ok(request)),
            Err(status) => return Ok(Err(status)),
            Ok(None) => {}
        }
        socket.set_read_timeout(Some(left(deadline)?))?;
        match socket.read(&mut chunk)? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            len => bytes.extend_from_slice(chunk.get(..len).unwrap_or_default()),
        }
    }
}

fn write(mut socket: &TcpStream, mut bytes: &[u8], deadline: Instant) -> std::io::Result<()> {
    while !bytes.is_empty() {
        socket.set_write_timeout(Some(left(deadline)?))?;
        let len = socket.write(bytes)?;
        bytes = bytes.get(len..).unwrap_or_default();
    }
    Ok(())
}

fn left(deadline: Instant) -> std::io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(Error::from(ErrorKind::TimedOut)) } else { Ok(left) }
}

/// `None` until it is whole.
fn parse(bytes: &[u8]) -> Result<Option<Request>, u16> {
    let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut parsed = httparse::Request::new(&mut headers);
    let head = match parsed.parse(bytes) {
        Ok(httparse::Status::Complete(head)) => head,
        Ok(httparse::Status::Partial) if bytes.len() < MOST_BYTES => return Ok(None),
        Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => return Err(431),
        Err(_) => return Err(400),
    };
    let (Some(method), Some(target)) = (parsed.method, parsed.path) else { return Err(400) };
    let mut length = 0;
    let mut bearer = None;
    for header in parsed.headers.iter() {
        let value = || std::str::from_utf8(header.value).map(str::trim).map_err(|_| 400_u16);
        if header.name.eq_ignore_ascii_case("content-length") {
            length = value()?.parse().map_err(|_| 400_u16)?;
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
            return Err(411);
        } else if header.name.eq_ignore_ascii_case("authorization") {
            bearer = value()?.strip_prefix("Bearer ").map(str::to_owned);
        }
    }
    if length > MOST_BYTES.saturating_sub(head) {
        return Err(413);
    }
    let Some(body) = bytes.get(head..head + length) else { return Ok(None) };
    Ok(Some(Request {
        method: method.to_owned(),
        path: target.split('?').next().unwrap_or_default().to_owned(),
        bearer,
        body: body.to_vec(),
    }))
}

const fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        401 => "Unauthorized",
        404 => "Not Found",
        503 => "Service Unavailable",
        _ => "Bad Request",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_whole_with_its_body() {
        let text = b"POST /api/v1/dvr?x HTTP/1.1\r\nHost: a\r\nauthorization: Bearer abc\r\nContent-Length: 2\r\n\r\n{}";
        for len in 0..text.len() {
            assert_eq!(parse(text.get(..len).unwrap()), Ok(None), "{len}");
        }
        let request = parse(text).unwrap().unwrap();
        assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/api/v1/dvr"));
        assert_eq!((request.bearer.as_deref(), request.body.as_slice()), (Some("abc"), &b"{}"[..]));
    }

    #[test]
    fn what_is_no_request_has_a_status() {
        let field = |line: &str| parse(format!("GET / HTTP/1.1\r\n{line}\r\n\r\n").as_bytes());
        assert_eq!(field("Content-Length: -1"), Err(400));
        assert_eq!(field("Content-Length: 99999999"), Err(413));
        assert_eq!(field("Transfer-Encoding: chunked"), Err(411));
        assert_eq!(field(&"A: b\r\n".repeat(100)), Err(431));
        assert_eq!(parse(b"\0\0\0"), Err(400));
        assert_eq!(parse(&[b'a'; MOST_BYTES]), Err(431));
    }
}
