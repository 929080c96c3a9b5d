//! One RTMP connection: socket, session, outbox, and what it plays and publishes.

mod answer;

use std::collections::VecDeque;
use std::io::{self, Read};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, RawFd};

use ipc::ViewerRequest;
use media::StreamKey;
use rtmp::{Output, Pool, ServerEvent, ServerSession};

use crate::audience::AudienceId;
use crate::end::End;
use crate::outbox::Outbox;
use crate::snapshot::ConnectionSnapshot;
use crate::viewer::ViewerSnapshot;

/// Bytes that are read of a client behind a question that is open: the session's own bound ([`rtmp::Limits::max_undecided_input`])
/// is twice that and more, so that no client is ended because an answer takes its time.
const MAX_UNDECIDED: usize = 64 << 10;
/// Between two marks of a connection, ms: rates are those of the last 15 to 30 seconds.
const MARK_MS: u64 = 15_000;
/// The same for the rates of the last 150 to 300 seconds.
const LONG_MARK_MS: u64 = 150_000;

/// A stream that a connection plays.
#[derive(Debug, Clone)]
pub(crate) struct Playing {
    pub(crate) msid: u32,
    pub(crate) audience: AudienceId,
    pub(crate) viewer: usize,
}

/// Bytes received and sent until a time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark {
    pub(crate) at_ms: u64,
    pub(crate) bytes: (u64, u64),
}

/// A connection. Its owner is the hub; hosts look at it.
#[derive(Debug)]
pub struct Connection {
    pub(crate) socket: TcpStream,
    pub(crate) session: Box<ServerSession>,
    pub(crate) outbox: Outbox,
    /// Outputs of the session that have to wait for earlier ones.
    pub(crate) deferred: VecDeque<Output<ServerEvent>>,
    pub(crate) playing: Vec<Playing>,
    pub(crate) publishing: Vec<u32>,
    /// Resolved vhost, once connected.
    pub(crate) vhost: Option<Box<str>>,
    pub(crate) id: u64,
    pub(crate) peer: SocketAddr,
    pub(crate) heard: Heard,
    pub(crate) traffic: Traffic,
    /// Bytes of input that the session holds.
    pub(crate) buffered: usize,
    pub(crate) life: Life,
}

/// When a connection was heard last.
#[derive(Debug)]
pub(crate) struct Heard {
    pub(crate) last_input_ms: u64,
    pub(crate) last_media_ms: u64,
    /// What it publishes now has had a packet.
    pub(crate) had_media: bool,
}

/// What a connection has received and sent.
#[derive(Debug)]
pub(crate) struct Traffic {
    pub(crate) bytes_in: u64,
    /// Sent, but for what its viewers got since they joined.
    pub(crate) bytes_out: u64,
    /// What was received and sent, and when, at two earlier times: rates are those since the older one.
    pub(crate) marks: [Mark; 2],
    /// The same at long intervals, for the rates of the last minutes.
    pub(crate) long_marks: [Mark; 2],
    pub(crate) frames: u64,
    pub(crate) dropped: u64,
}

impl Traffic {
    /// Of a connection that has received and sent so many bytes by now.
    pub(crate) fn new(now_ms: u64, bytes: (u64, u64)) -> Self {
        let marks = [Mark { at_ms: now_ms, bytes }; 2];
        let (bytes_in, bytes_out) = bytes;
        Self { bytes_in, bytes_out, marks, long_marks: marks, frames: 0, dropped: 0 }
    }

    /// Marks what was received and sent until now, when it is time. `watched`: what its viewers got since they joined.
    pub(crate) fn mark(&mut self, now_ms: u64, watched: u64) {
        if now_ms.saturating_sub(self.marks[1].at_ms) < MARK_MS {
            return;
        }
        let mark = Mark { at_ms: now_ms, bytes: (self.bytes_in, self.bytes_out + watched) };
        self.marks = [self.marks[1], mark];
        if now_ms.saturating_sub(self.long_marks[1].at_ms) >= LONG_MARK_MS {
            self.long_marks = [self.long_marks[1], mark];
        }
    }
}

/// Where a connection stands between accept and end.
#[derive(Debug)]
pub(crate) struct Life {
    pub(crate) accepted_ms: u64,
    /// It has said what it wants (publish or play).
    pub(crate) established: bool,
    /// A reserved place: refuse it at connect.
    pub(crate) refuse: bool,
    /// The deadline that was put on the hub's list.
    pub(crate) deadline: Option<u64>,
    /// It closes as soon as its outbox is empty.
    pub(crate) closing: Option<End>,
    /// Our side is shut down; the peer's end is awaited so that it reads our last words.
    pub(crate) half_closed: bool,
}

/// What reading brought.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ReadTurn {
    /// Nothing more waits.
    Drained,
    /// The turn's budget is used up; more may wait.
    Budget,
    /// The peer has sent its last byte.
    Eof,
}

impl AsRawFd for Connection {
    fn as_raw_fd(&self) -> RawFd {
        self.fd()
    }
}

impl Connection {
    pub(crate) fn new(
        socket: TcpStream,
        peer: SocketAddr,
        id: u64,
        session: ServerSession,
        now_ms: u64,
    ) -> Self {
        Self {
            socket,
            session: Box::new(session),
            outbox: Outbox::default(),
            deferred: VecDeque::new(),
            playing: Vec::new(),
            publishing: Vec::new(),
            vhost: None,
            id,
            peer,
            heard: Heard { last_input_ms: now_ms, last_media_ms: now_ms, had_media: false },
            traffic: Traffic::new(now_ms, (0, 0)),
            buffered: 0,
            life: Life {
                accepted_ms: now_ms,
                established: false,
                refuse: false,
                deadline: None,
                closing: None,
                half_closed: false,
            },
        }
    }

    /// As another process left it. Returns it with what it plays.
    pub(crate) fn restore(
        socket: TcpStream,
        session: ServerSession,
        snapshot: &ConnectionSnapshot,
        now_ms: u64,
    ) -> (Self, Vec<(StreamKey, ViewerSnapshot)>) {
        let mut connection = Self::new(socket, snapshot.peer, snapshot.id, session, now_ms);
        connection.life.accepted_ms = snapshot.accepted_ms;
        connection.life.established = true;
        connection.vhost = snapshot.vhost.as_deref().map(Box::from);
        connection.traffic = Traffic::new(now_ms, snapshot.bytes);
        connection.publishing.clone_from(&snapshot.publishing);
        connection.outbox.tail().extend_from_slice(&snapshot.outbox);
        (connection, snapshot.playing.clone())
    }

    /// What it said as a viewer, for whoever pulls the stream that it wants.
    pub(crate) fn viewer_request(&self, params: &[(String, String)]) -> ViewerRequest {
        let Some(request) = self.session.connect_request() else { return ViewerRequest::default() };
        ViewerRequest {
            tc_url: request.tc_url.clone(),
            page_url: request.page_url.clone(),
            swf_url: request.swf_url.clone(),
            params: params.to_vec(),
        }
        .bounded()
    }

    /// Whether it has asked something, and sent as much behind it as is kept for the answer.
    pub(crate) fn awaits_answer(&self) -> bool {
        self.session.pending().is_some() && self.session.unread() >= MAX_UNDECIDED
    }

    /// Says in the log how it ended.
    pub(crate) fn log_end(&self, end: &End, now_ms: u64) {
        let traffic = &self.traffic;
        let seconds = now_ms.saturating_sub(self.life.accepted_ms);
        let line = format_args!(
            "client ip={} ends: {end} ({}), after {}.{:03} s, received {} bytes, sent {} bytes, {} frames, {} dropped",
            self.peer,
            end.reason(),
            seconds / 1000,
            seconds % 1000,
            traffic.bytes_in,
            traffic.bytes_out,
            traffic.frames,
            traffic.dropped,
        );
        if end.is_peer_error() {
            tracing::warn!(cid = self.id, "{line}");
        } else {
            tracing::info!(cid = self.id, "{line}");
        }
    }

    /// Id in logs and APIs.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The peer's address.
    #[must_use]
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// When it sent anything last, monotonic ms.
    #[must_use]
    pub fn heard_ms(&self) -> u64 {
        self.heard.last_input_ms
    }

    /// Resolved vhost, once connected.
    #[must_use]
    pub fn vhost(&self) -> Option<&str> {
        self.vhost.as_deref()
    }

    /// Where it connected to, secrets masked; `None` before connect.
    #[must_use]
    pub fn tc_url(&self) -> Option<String> {
        self.session.connect_request().map(|request| rtmp::url::mask_query(&request.tc_url))
    }

    pub(crate) fn fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }

    /// Reads one piece into `buffer`; the caller hands it to the session.
    pub(crate) fn read<'b>(&mut self, buffer: &'b mut [u8]) -> Result<Option<&'b [u8]>, End> {
        loop {
            match self.socket.read(buffer) {
                Ok(count) => {
                    self.traffic.bytes_in += count as u64;
                    return Ok(Some(buffer.get(..count).unwrap_or(&[])));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(End::Socket(error)),
            }
        }
    }

    /// Acknowledges at once what was read: clients that write their commands in pieces and leave Nagle's algorithm on wait
    /// for it before each piece, 40 ms at a time.
    pub(crate) fn acknowledge(&self) {
        let _ = socket2::SockRef::from(&self.socket).set_tcp_quickack(true);
    }

    /// The message that what follows is cut in other chunks goes behind what waits already; events of the session wait for
    /// the pump.
    pub(crate) fn announce_chunk_size(&mut self, size: u32) {
        self.session.set_out_chunk_size(size);
        while let Some(output) = self.session.poll_output() {
            match output {
                Output::Transmit(bytes) => self.outbox.tail().extend_from_slice(&bytes),
                other => self.deferred.push_back(other),
            }
        }
    }

    /// Gives back memory that a viewer does not need while it watches.
    pub(crate) fn compact(&mut self, pool: &mut Pool) {
        self.session.compact(pool);
        self.deferred.shrink_to_fit();
        self.playing.shrink_to_fit();
    }

    /// Says that nothing more will be sent, once.
    pub(crate) fn half_close(&mut self) {
        if !self.life.half_closed {
            self.life.half_closed = true;
            let _ = self.socket.shutdown(std::net::Shutdown::Write);
        }
    }

    /// Sends what waits; `true` when the socket takes no more.
    pub(crate) fn flush(&mut self) -> Result<bool, End> {
        let (count, blocked) = self.outbox.flush(&self.socket).map_err(End::Socket)?;
        self.traffic.bytes_out += count as u64;
        Ok(blocked)
    }
}
