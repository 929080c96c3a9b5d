//! A TCP connection with a client session on it: moves bytes between the two and keeps events until they are asked for.
//! What events mean is the publisher's and the player's to know.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use rtmp::{ClientEvent, ClientMode, ClientOptions, ClientSession, Output};
use socket2::{Domain, Protocol, Socket, Type};

use crate::error::ClientError;
use crate::options::Options;
use crate::url::Url;

/// Bytes asked of the kernel at once.
const READ_BYTES: usize = 64 << 10;

/// The shortest wait the kernel accepts as a timeout; zero would mean for ever.
const SHORTEST_WAIT: Duration = Duration::from_millis(1);

/// What one read brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Received {
    /// Bytes, which the session took.
    Bytes,
    /// Nothing in time.
    Nothing,
    /// The end.
    Closed,
}

/// A TCP connection with a client session on it.
#[derive(Debug)]
pub(crate) struct Connection {
    socket: TcpStream,
    session: ClientSession,
    began: Instant,
    /// The URL without its secrets, for errors.
    name: String,
    events: VecDeque<ClientEvent>,
    buffer: Vec<u8>,
    read_timeout: Option<Duration>,
    /// The session wants no more.
    closing: bool,
    /// Code of the last status of level `error`.
    last_error: Option<String>,
}

impl Connection {
    /// Connects and begins the handshake; `mode` makes the session's mode out of the URL's stream name.
    pub(crate) fn open(
        url: &str,
        options: &Options,
        mode: impl FnOnce(String) -> ClientMode,
    ) -> Result<Self, ClientError> {
        let name = rtmp::url::mask_query(url);
        let url: Url = url.parse()?;
        let socket = connect(&url, options)?;
        let io = |cause| ClientError::Io { url: name.clone(), cause };
        socket.set_nodelay(true).map_err(io)?;
        socket.set_write_timeout(Some(options.write_timeout.max(SHORTEST_WAIT))).map_err(io)?;
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|cause| ClientError::Random { cause })?;
        let tc_url = options.tc_url.clone().unwrap_or(url.tc_url);
        let mut session_options = ClientOptions::new(tc_url, url.app, mode(url.stream), seed);
        session_options.out_chunk_size = options.chunk_size.clamp(128, 65_536);
        session_options.page_url.clone_from(&options.page_url);
        session_options.simple_handshake = options.simple_handshake;
        session_options.buffer_ms = options.buffer_ms;
        session_options.start_timeout_ms =
            u64::try_from(options.start_timeout.as_millis()).unwrap_or(u64::MAX);
        Ok(Self {
            socket,
            session: ClientSession::new(0, session_options),
            began: Instant::now(),
            name,
            events: VecDeque::new(),
            buffer: vec![0; READ_BYTES],
            read_timeout: None,
            closing: false,
            last_error: None,
        })
    }

    /// Works until `started` says so of an event, the server refuses, or the time to start is over. Events that come
    /// behind the wanted one stay.
    pub(crate) fn start(&mut self, started: impl Fn(&ClientEvent) -> bool) -> Result<(), ClientError> {
        loop {
            self.flush()?;
            while let Some(event) = self.events.pop_front() {
                if let ClientEvent::Rejected { code, description } = event {
                    return Err(ClientError::Rejected { url: self.name.clone(), code, description });
                }
                if started(&event) {
                    return Ok(());
                }
            }
            let now_ms = self.now_ms();
            self.session.handle_timeout(now_ms).map_err(|cause| self.protocol(cause))?;
            let left_ms = self.session.poll_timeout().map_or(1_000, |at| at.saturating_sub(now_ms));
            if self.receive(Duration::from_millis(left_ms))? == Received::Closed {
                return Err(self.closed());
            }
        }
    }

    /// The next event that waits, without reading.
    pub(crate) fn pop_event(&mut self) -> Option<ClientEvent> {
        self.events.pop_front()
    }

    /// The session, for orders; [`Self::flush`] afterwards.
    pub(crate) fn session(&mut self) -> &mut ClientSession {
        &mut self.session
    }

    /// The server's chunk size.
    pub(crate) fn in_chunk_size(&self) -> u32 {
        self.session.in_chunk_size()
    }

    /// The URL without its secrets.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The socket's two ends.
    pub(crate) fn addresses(&self) -> io::Result<(SocketAddr, SocketAddr)> {
        Ok((self.socket.local_addr()?, self.socket.peer_addr()?))
    }

    /// Writes what the session wants written, keeps what it tells.
    pub(crate) fn flush(&mut self) -> Result<(), ClientError> {
        while let Some(output) = self.session.poll_output() {
            match output {
                Output::Transmit(bytes) => {
                    if let Err(cause) = self.socket.write_all(&bytes) {
                        return Err(self.write_failed(cause));
                    }
                }
                Output::Event(event) => self.keep(event),
                Output::Close(_) => self.closing = true,
            }
        }
        Ok(())
    }

    /// Waits for bytes at most `wait`, gives them to the session and writes its answers.
    pub(crate) fn receive(&mut self, wait: Duration) -> Result<Received, ClientError> {
        if self.closing {
            return Ok(Received::Closed);
        }
        let wait = wait.max(SHORTEST_WAIT);
        if self.read_timeout != Some(wait) {
            self.socket.set_read_timeout(Some(wait)).map_err(|cause| self.io(cause))?;
            self.read_timeout = Some(wait);
        }
        let received = self.read()?;
        self.flush()?;
        Ok(received)
    }

    /// Takes the bytes that are there already, if any.
    pub(crate) fn receive_now(&mut self) -> Result<Received, ClientError> {
        if self.closing {
            return Ok(Received::Closed);
        }
        self.socket.set_nonblocking(true).map_err(|cause| self.io(cause))?;
        let received = self.read();
        self.socket.set_nonblocking(false).map_err(|cause| self.io(cause))?;
        let received = received?;
        self.flush()?;
        Ok(received)
    }

    /// Says goodbye: no more bytes from us, then reads until the server closes too or `wait` is over.
    pub(crate) fn close(&mut self, wait: Duration) -> Result<(), ClientError> {
        self.flush()?;
        let began = Instant::now();
        if self.socket.shutdown(std::net::Shutdown::Write).is_err() {
            return Ok(());
        }
        while let Some(left) = wait.checked_sub(began.elapsed()) {
            match self.receive(left) {
                Ok(Received::Bytes) => {}
                Ok(Received::Nothing | Received::Closed) | Err(_) => break,
            }
        }
        Ok(())
    }

    /// The error that says that the server closed.
    pub(crate) fn closed(&self) -> ClientError {
        ClientError::Closed { url: self.name.clone(), status: self.last_error.clone() }
    }

    /// Milliseconds since the connection was made.
    pub(crate) fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn read(&mut self) -> Result<Received, ClientError> {
        let count = loop {
            match self.socket.read(&mut self.buffer) {
                Ok(0) => return Ok(Received::Closed),
                Ok(count) => break count,
                Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
                Err(cause) if is_nothing(&cause) => return Ok(Received::Nothing),
                Err(cause) if is_end(&cause) => return Ok(Received::Closed),
                Err(cause) => return Err(self.io(cause)),
            }
        };
        let now_ms = self.now_ms();
        let input = self.buffer.get(..count).unwrap_or_default();
        let result = self.session.handle_input(now_ms, input);
        result.map(|()| Received::Bytes).map_err(|cause| self.protocol(cause))
    }

    fn keep(&mut self, event: ClientEvent) {
        match &event {
            ClientEvent::Status { level, code, .. } if level == "error" => {
                self.last_error = Some(code.clone());
            }
            ClientEvent::Rejected { code, .. } => self.last_error = Some(code.clone()),
            _ => {}
        }
        self.events.push_back(event);
    }

    /// A server that throws us out says why before it closes: look for that before telling of the broken pipe.
    fn write_failed(&mut self, cause: io::Error) -> ClientError {
        if !is_end(&cause) {
            return self.io(cause);
        }
        self.closing = true;
        if self.socket.set_nonblocking(true).is_ok() {
            while let Ok(Received::Bytes) = self.read() {}
            while let Some(output) = self.session.poll_output() {
                if let Output::Event(event) = output {
                    self.keep(event);
                }
            }
        }
        self.closed()
    }

    fn io(&self, cause: io::Error) -> ClientError {
        ClientError::Io { url: self.name.clone(), cause }
    }

    fn protocol(&self, cause: rtmp::SessionError) -> ClientError {
        ClientError::Protocol { url: self.name.clone(), cause }
    }
}

fn is_nothing(cause: &io::Error) -> bool {
    matches!(cause.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

fn is_end(cause: &io::Error) -> bool {
    matches!(
        cause.kind(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted | io::ErrorKind::BrokenPipe
    )
}

fn connect(url: &Url, options: &Options) -> Result<TcpStream, ClientError> {
    let host = if url.host.contains(':') {
        format!("[{}]:{}", url.host, url.port)
    } else {
        format!("{}:{}", url.host, url.port)
    };
    let addresses =
        host.to_socket_addrs().map_err(|cause| ClientError::Resolve { host: host.clone(), cause })?;
    let mut last = None;
    for address in addresses {
        match connect_address(address, options) {
            Ok(socket) => return Ok(socket),
            Err(cause) => last = Some((address, cause)),
        }
    }
    Err(match last {
        Some((address, cause)) => ClientError::Connect { address: address.to_string(), cause },
        None => ClientError::Resolve { host, cause: io::ErrorKind::NotFound.into() },
    })
}

fn connect_address(address: SocketAddr, options: &Options) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if let Some(bytes) = options.receive_buffer {
        socket.set_recv_buffer_size(bytes)?;
    }
    if let Some(bind) = options.bind {
        socket.bind(&bind.into())?;
    }
    socket.connect_timeout(&address.into(), options.connect_timeout)?;
    Ok(socket.into())
}
