//! A client: its socket, what it has sent, what it gets.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::answer::{Answer, Content, Heads, finish};
use super::files::{Found, Missing, Wanted};
use super::gone::Gone;
use super::proxy::Tunnel;
use super::transport::Transport;
use crate::outbox::Outbox;
use crate::outputs::live::batch::Framing;
use crate::outputs::live::packet_queue::Format;
use crate::outputs::live::viewer::Viewer;

/// Bytes that a client may have sent ahead: one head.
const MAX_INPUT: usize = http1::MAX_HEAD_BYTES;
/// Bytes of a file that go to one client before the next one has its turn.
const FILE_TURN: usize = 1 << 20;

/// Bytes of a file that are read at once where they have to be encrypted.
const FILE_PIECE: usize = 64 << 10;

/// What is being sent.
#[derive(Debug)]
pub(crate) enum Body {
    /// What is in the outbox, and no more.
    Rest,
    /// Part of a file.
    File(FileBody),
    /// A live stream.
    Live(Viewer),
    /// An answer of the management API.
    Tunnel(Tunnel),
    /// It goes to another process in this turn.
    Leaving,
    /// Events for a page of the console.
    Events,
    /// A thread makes the picture that was asked for.
    Picture,
    /// What was asked for is not there yet.
    Wait(Box<Wait>),
}

/// Part of a file: from here to there.
#[derive(Debug)]
pub(crate) struct FileBody {
    pub(crate) file: File,
    pub(crate) at: u64,
    pub(crate) end: u64,
    /// The master keeps it for a successor.
    pub(crate) kept: bool,
    /// The directory that it is below, and whether that is on a disk of this machine.
    pub(crate) root: Arc<Path>,
    pub(crate) is_local: bool,
    /// The head is out: what is in the outbox is of the file.
    pub(crate) has_begun: bool,
    /// A thread reads what is next.
    pub(crate) is_read: bool,
}

/// What came of sending a part of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SentFile {
    /// All of it is out.
    All,
    /// Bytes of it are in the outbox.
    Buffered,
    /// The socket takes no more now.
    Blocked,
    /// It takes more, and others have their turn first.
    Turn,
}

/// A request that is looked at again until then.
#[derive(Debug)]
pub(crate) struct Wait {
    pub(crate) request: http1::Request,
    /// Since when, monotonic ns.
    pub(crate) since_ns: u64,
    pub(crate) until_ms: u64,
}

/// What a client is doing.
#[derive(Debug)]
pub(crate) enum State {
    /// It has yet to say what it wants.
    Head,
    /// It gets an answer.
    Answer(Body),
    /// It has got its last answer and is to read it before the connection is closed.
    Goodbye,
}

/// Rates of the last 15 to 30 seconds: since when (monotonic ms), and what was received and sent until then.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rates {
    mark: (u64, u64, u64),
    /// The next mark.
    newer: (u64, u64, u64),
}

impl Rates {
    fn from(now_ms: u64) -> Self {
        Self { mark: (now_ms, 0, 0), newer: (now_ms, 0, 0) }
    }

    /// So much was received and sent until now.
    pub(crate) fn note(&mut self, now_ms: u64, bytes_in: u64, bytes_out: u64) {
        if now_ms.saturating_sub(self.newer.0) >= 15_000 {
            (self.mark, self.newer) = (self.newer, (now_ms, bytes_in, bytes_out));
        }
    }

    /// What that is in a second.
    pub(crate) fn kbps(&self, now_ms: u64, bytes_in: u64, bytes_out: u64) -> api::Kbps {
        let (since_ms, received, sent) = self.mark;
        let ms = now_ms.saturating_sub(since_ms);
        api::Kbps::of(bytes_in.saturating_sub(received), bytes_out.saturating_sub(sent), ms)
    }
}

/// The file that a thread opens for a request, and one that was opened.
#[derive(Debug, Default)]
pub(crate) struct Lookup {
    pub(crate) opening: Option<Wanted>,
    pub(crate) opened: Option<(Wanted, Result<Found, Missing>)>,
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) id: u64,
    pub(crate) peer: SocketAddr,
    socket: Transport,
    pub(crate) input: Vec<u8>,
    pub(crate) outbox: Outbox,
    pub(crate) state: State,
    pub(crate) keep_alive: bool,
    /// The client has closed its side.
    pub(crate) at_end: bool,
    /// The socket takes nothing now.
    pub(crate) blocked: bool,
    pub(crate) accepted_ms: u64,
    /// Something must have happened by then, ms.
    pub(crate) deadline_ms: u64,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    pub(crate) rates: Rates,
    /// Another process has handed it over for the request that is being answered.
    pub(crate) was_passed: bool,
    /// The head of the request that is being answered, where another process may have to answer it.
    pub(crate) head: Vec<u8>,
    pub(crate) lookup: Lookup,
    pub(crate) page_url: Option<String>,
    /// What it asked for last, for the list of clients.
    pub(crate) target: String,
}

impl Connection {
    pub(crate) fn new(
        socket: Transport,
        peer: SocketAddr,
        id: u64,
        now_ms: u64,
        deadline_ms: u64,
    ) -> io::Result<Self> {
        socket.socket().set_nonblocking(true)?;
        let options = socket2::SockRef::from(socket.socket());
        // What another process stands before is none of TCP.
        let _ = options.set_tcp_nodelay(true);
        let _ = options.set_tcp_user_timeout(Some(Duration::from_secs(30)));
        Ok(Self {
            id,
            peer,
            socket,
            input: Vec::new(),
            outbox: Outbox::default(),
            state: State::Head,
            keep_alive: true,
            at_end: false,
            blocked: false,
            accepted_ms: now_ms,
            deadline_ms,
            bytes_in: 0,
            bytes_out: 0,
            rates: Rates::from(now_ms),
            was_passed: false,
            head: Vec::new(),
            lookup: Lookup::default(),
            page_url: None,
            target: String::new(),
        })
    }

    pub(crate) fn fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }

    /// Reads what has come, as far as there is room for it.
    pub(crate) fn read(&mut self) -> Result<(), Gone> {
        let mut buffer = [0; 4096];
        while self.input.len() < MAX_INPUT && !self.at_end {
            match self.socket.read(&mut buffer) {
                Ok(0) => self.at_end = true,
                Ok(count) => {
                    self.bytes_in += count as u64;
                    self.input.extend_from_slice(buffer.get(..count).unwrap_or(&[]));
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(_) => return Err(Gone::Failed),
            }
        }
        Ok(())
    }

    /// Sends the outbox. `true` when it is empty and the socket takes more.
    pub(crate) fn flush(&mut self) -> Result<bool, Gone> {
        let (count, blocked) = self.outbox.write(&mut self.socket).map_err(|_| Gone::Failed)?;
        self.bytes_out += count as u64;
        self.blocked = blocked;
        match self.socket.flush() {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.blocked = true,
            Err(_) => return Err(Gone::Failed),
        }
        let blocked = self.blocked;
        Ok(self.outbox.is_empty() && !blocked)
    }

    /// Sends of a file what the socket takes, at most a turn's share. `true` when all of it is out.
    pub(crate) fn send_file(&mut self) -> Result<bool, Gone> {
        let State::Answer(Body::File(body)) = &mut self.state else { return Ok(true) };
        if self.socket.is_encrypted() {
            let wanted = usize::try_from(body.end - body.at).unwrap_or(usize::MAX).min(FILE_PIECE);
            let mut piece = vec![0; wanted];
            body.file.read_exact_at(&mut piece, body.at).map_err(|_| Gone::Failed)?;
            body.at += wanted as u64;
            self.outbox.push(piece);
            return Ok(body.at >= body.end);
        }
        let mut left = FILE_TURN;
        while body.at < body.end && left > 0 {
            let wanted = usize::try_from(body.end - body.at).unwrap_or(usize::MAX).min(left);
            match rustix::fs::sendfile(self.socket.socket(), &body.file, Some(&mut body.at), wanted) {
                // The file has become shorter: what was promised can't be kept.
                Ok(0) => return Err(Gone::Failed),
                Ok(count) => {
                    self.bytes_out += count as u64;
                    left -= count.min(left);
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => {
                    self.blocked = true;
                    return Ok(false);
                }
                Err(_) => return Err(Gone::Failed),
            }
        }
        Ok(body.at >= body.end)
    }

    /// No more is said to the client; what is on its way still arrives.
    pub(crate) fn shut_down(&mut self) {
        self.socket.shut_down();
    }

    /// Nothing more is said or heard.
    pub(crate) fn abort(&self) {
        let _ = self.socket.socket().shutdown(std::net::Shutdown::Both);
    }

    /// The socket, if what is written is what is sent.
    pub(crate) fn plain(&self) -> Option<&TcpStream> {
        match &self.socket {
            Transport::Plain(socket) => Some(socket),
            Transport::Tls(..) => None,
        }
    }

    /// Whether its bytes go to another http process and come from there.
    pub(crate) fn is_relayed(&self) -> bool {
        matches!(&self.state, State::Answer(Body::Tunnel(tunnel)) if tunnel.is_relay())
    }

    /// Whether it may wait for as long as it likes.
    pub(crate) fn may_rest(&self) -> bool {
        matches!(self.state, State::Answer(Body::Events)) || self.is_relayed()
    }

    /// Whether as much waits of what it has said as is taken in.
    pub(crate) fn is_full(&self) -> bool {
        self.input.len() >= MAX_INPUT
    }

    /// Whether it has got all that it asked for.
    pub(crate) fn is_over(&self) -> bool {
        match self.state {
            State::Goodbye => true,
            State::Head => self.input.is_empty(),
            State::Answer(_) => false,
        }
    }

    /// Whether it can't be told that its client has gone but by reading.
    pub(crate) fn only_listens(&self) -> bool {
        matches!(self.state, State::Answer(Body::Live(_) | Body::Wait(_) | Body::Picture | Body::Events))
    }

    /// Whether it has not said what it wants (any more).
    pub(crate) fn asks_nothing(&self) -> bool {
        matches!(self.state, State::Head)
    }

    /// Whether the master keeps its download for a successor.
    pub(crate) fn is_kept(&self) -> bool {
        matches!(&self.state, State::Answer(Body::File(body)) if body.kept)
    }

    /// The viewer, if it is one.
    pub(crate) fn viewer(&self) -> Option<&Viewer> {
        match &self.state {
            State::Answer(Body::Live(viewer)) => Some(viewer),
            _ => None,
        }
    }

    /// The stream that it watches, and how.
    pub(crate) fn feed(&self) -> Option<(usize, Format)> {
        match &self.state {
            State::Answer(Body::Live(viewer)) => Some((viewer.feed, viewer.format)),
            _ => None,
        }
    }

    /// What the client of a WebSocket says meanwhile.
    pub(crate) fn hear_websocket(&mut self) -> Result<(), Gone> {
        use http1::websocket::{Said, read};
        let is_websocket = self.viewer().is_some_and(|viewer| viewer.framing == Framing::WebSocket);
        if !is_websocket {
            return Ok(());
        }
        loop {
            match read(&self.input) {
                Said::Partial => break,
                Said::Close => return Err(Gone::Left),
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

    /// What a thread has read of its file.
    pub(crate) fn take_read(&mut self, read: io::Result<Bytes>) -> Result<(), Gone> {
        let State::Answer(Body::File(body)) = &mut self.state else { return Ok(()) };
        body.is_read = false;
        let bytes = read.map_err(|error| {
            tracing::debug!(cid = self.id, "a file can't be read: {error}");
            Gone::Failed
        })?;
        body.at += bytes.len() as u64;
        self.outbox.push(bytes);
        Ok(())
    }

    /// Sends of a file what can be sent now, and what came of it.
    pub(crate) fn step_file(&mut self) -> Result<SentFile, Gone> {
        let done = self.send_file()?;
        Ok(if !self.outbox.is_empty() {
            // What was read of it has yet to be sent.
            if done {
                self.state = State::Answer(Body::Rest);
            }
            SentFile::Buffered
        } else if done {
            SentFile::All
        } else if self.blocked {
            SentFile::Blocked
        } else {
            SentFile::Turn
        })
    }

    /// What the client has said is no request. Returns whether it was told in the log that it speaks another protocol, which it is
    /// where `may_tell` is true.
    pub(crate) fn refuse_head(&mut self, heads: &Heads, error: &http1::HeadError, may_tell: bool) -> bool {
        let other = match self.input.first() {
            Some(0x16) => Some("the client speaks TLS: use http://, or the port of http_server { https }"),
            Some(3) => Some("the client speaks RTMP: use a port of `listen`"),
            _ => None,
        };
        let advice = other.filter(|_| may_tell);
        match advice {
            Some(advice) => {
                tracing::warn!(cid = self.id, "no HTTP at the port of HTTP, from {}: {advice}", self.peer);
            }
            None => tracing::debug!(cid = self.id, "a request is refused: {error}"),
        }
        self.keep_alive = false;
        self.input.clear();
        self.give(heads.refusal(error.status()), false);
        advice.is_some()
    }

    /// Says an answer. Of one to a request for a head alone, that is all.
    pub(crate) fn give(&mut self, answer: Answer, is_head: bool) {
        let Answer { head, content } = answer;
        let head = match &content {
            Content::Whole(body) => head.field("Content-Length", body.len()),
            _ => head,
        };
        self.outbox.push(finish(head, self.keep_alive).into_bytes());
        self.state = State::Answer(Body::Rest);
        match content {
            _ if is_head => {}
            Content::Whole(bytes) | Content::Part(bytes) => self.outbox.push(bytes),
            Content::File(lead, body) => {
                self.outbox.push(lead);
                self.state = State::Answer(Body::File(body));
            }
            Content::Nothing => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// A connection, and its client.
    fn connection() -> (Connection, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (socket, peer) = listener.accept().unwrap();
        (Connection::new(Transport::Plain(socket), peer, 1, 0, 0).unwrap(), client)
    }

    #[test]
    fn a_request_for_a_head_is_answered_with_a_head_whatever_the_answer_is() {
        let heads = Heads { version: "1".to_owned(), ..Heads::default() };
        for answer in [Heads::not_found, |heads: &Heads| heads.refusal(503)] {
            let (mut connection, _client) = connection();
            connection.give(answer(&heads), true);
            let said = String::from_utf8(connection.outbox.bytes()).unwrap();
            assert!(said.ends_with("\r\n\r\n") && !said.contains("Content-Length: 0"), "{said}");
            let (mut connection, _client) = self::connection();
            connection.give(answer(&heads), false);
            let whole = String::from_utf8(connection.outbox.bytes()).unwrap();
            assert!(whole.len() > said.len() && whole.starts_with(&said), "{whole}");
        }
    }
}
