//! An RTMP client that does as it is told, byte by byte: for what no decent client would send.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use amf0::Value;
use rtmp::chunk::{reader::ChunkReader, writer::write_message};
use rtmp::command::Command;
use rtmp::control::Control;
use rtmp::{Limits, Message, message};

use crate::wait::SOON;

/// A connection.
#[derive(Debug)]
pub struct Raw {
    /// The socket, for what has no method.
    pub socket: TcpStream,
    reader: ChunkReader,
    unread: Vec<u8>,
    /// The chunk size of [`Self::message`]; announcing it is the test's business.
    pub chunk_size: u32,
    /// Bytes that stand behind the values of every command.
    pub tail: Vec<u8>,
}

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The server closed it.
    Closed,
    /// It stands.
    Open,
}

impl Raw {
    /// Connects; sends nothing.
    ///
    /// # Panics
    /// When nobody listens.
    #[must_use]
    pub fn connect(address: SocketAddr) -> Self {
        let socket = TcpStream::connect_timeout(&address, SOON).expect("a connection");
        socket.set_nodelay(true).expect("an open socket");
        socket.set_write_timeout(Some(SOON)).expect("an open socket");
        Self {
            socket,
            reader: ChunkReader::new(&Limits::default()),
            unread: Vec::new(),
            chunk_size: 128,
            tail: Vec::new(),
        }
    }

    /// Connects and does the simple handshake.
    #[must_use]
    pub fn handshaken(address: SocketAddr) -> Self {
        let mut raw = Self::connect(address);
        raw.send(&hello());
        let answer = raw.read_exact(3_073);
        raw.send(&answer[1..1_537]);
        raw
    }

    /// Connects to an application and waits until the server has accepted it.
    #[must_use]
    pub fn connected(address: SocketAddr, app: &str) -> Self {
        let mut raw = Self::handshaken(address);
        raw.command(0, "connect", 1.0, &[connect_object(address, app)]);
        raw.wait_command("_result");
        raw
    }

    /// Connects and publishes a stream; returns its message stream.
    #[must_use]
    pub fn publishing(address: SocketAddr, app: &str, stream: &str) -> (Self, u32) {
        let mut raw = Self::connected(address, app);
        let msid = raw.create_stream();
        raw.command(msid, "publish", 0.0, &[Value::Null, stream.into(), "live".into()]);
        raw.wait_status("NetStream.Publish.Start");
        (raw, msid)
    }

    /// Connects and plays a stream; returns its message stream.
    #[must_use]
    pub fn playing(address: SocketAddr, app: &str, stream: &str) -> (Self, u32) {
        let mut raw = Self::connected(address, app);
        let msid = raw.create_stream();
        raw.command(msid, "play", 0.0, &[Value::Null, stream.into()]);
        raw.wait_status("NetStream.Play.Start");
        (raw, msid)
    }

    /// Asks for a message stream.
    pub fn create_stream(&mut self) -> u32 {
        self.command(0, "createStream", 4.0, &[Value::Null]);
        let result = self.wait_command("_result");
        result.args.get(1).and_then(Value::as_u32).expect("a message stream")
    }

    /// Sends bytes. A server that has closed meanwhile is no fault.
    pub fn send(&mut self, bytes: &[u8]) {
        drop(self.try_send(bytes));
    }

    /// Sends bytes.
    ///
    /// # Errors
    /// When the server has closed.
    pub fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.socket.write_all(bytes)
    }

    /// Sends a message in chunks of the present size.
    pub fn message(&mut self, csid: u8, timestamp: u32, type_id: u8, msid: u32, payload: &[u8]) {
        let mut out = Vec::new();
        write_message(&mut out, csid, timestamp, type_id, msid, payload, self.chunk_size);
        self.send(&out);
    }

    /// Sends a command.
    pub fn command(&mut self, msid: u32, name: &str, transaction: f64, args: &[Value]) {
        let mut payload = Command::encode(name, transaction, args);
        payload.extend_from_slice(&self.tail);
        self.message(3, 0, message::COMMAND, msid, &payload);
    }

    /// Sends a protocol control message.
    pub fn control(&mut self, control: Control) {
        let (type_id, payload) = control.encode();
        self.message(2, 0, type_id, 0, &payload);
    }

    /// The next message, `None` once the server closed.
    ///
    /// # Panics
    /// When none comes by then, or the server breaks the chunk layer.
    pub fn read_message(&mut self, deadline: Duration) -> Option<Message> {
        let began = Instant::now();
        loop {
            let mut input = self.unread.as_slice();
            let message = self.reader.read(&mut input).expect("a sound chunk layer");
            self.unread = input.to_vec();
            if let Some(message) = message {
                if message.type_id == message::SET_CHUNK_SIZE {
                    let size = u32::from_be_bytes(*message.payload.first_chunk().expect("four bytes"));
                    self.reader.set_chunk_size(size).expect("a sound chunk size");
                }
                return Some(message);
            }
            let left = deadline.checked_sub(began.elapsed()).filter(|left| !left.is_zero());
            let left = left.unwrap_or_else(|| panic!("no message within {} ms", deadline.as_millis()));
            if !self.fill(left) {
                return None;
            }
        }
    }

    /// Waits for a command.
    ///
    /// # Panics
    /// When the server closes before.
    pub fn wait_command(&mut self, name: &str) -> Command {
        self.try_wait_command(name).unwrap_or_else(|| panic!("the server closed before it said {name}"))
    }

    /// Waits for a command; `None` when the server closes before.
    pub fn try_wait_command(&mut self, name: &str) -> Option<Command> {
        loop {
            let message = self.read_message(SOON)?;
            if message.type_id == message::COMMAND {
                let command = Command::decode(&message.payload, &amf0::Limits::default()).expect("a command");
                if command.name == name {
                    return Some(command);
                }
            }
        }
    }

    /// Waits for a status with a code.
    ///
    /// # Panics
    /// When the server closes before.
    pub fn wait_status(&mut self, code: &str) {
        assert!(self.try_wait_status(code), "the server closed before it said {code}");
    }

    /// Waits for a status with a code; false when the server closes before.
    pub fn try_wait_status(&mut self, code: &str) -> bool {
        let has = |value: &Value| value.get("code").and_then(Value::as_str) == Some(code);
        while let Some(status) = self.try_wait_command("onStatus") {
            if status.args.iter().any(has) {
                return true;
            }
        }
        false
    }

    /// Whether the server closes by then. What it says before is of no concern.
    pub fn ending(&mut self, deadline: Duration) -> Ending {
        let began = Instant::now();
        while let Some(left) = deadline.checked_sub(began.elapsed()).filter(|left| !left.is_zero()) {
            if !self.fill(left) {
                return Ending::Closed;
            }
            self.unread.clear();
        }
        Ending::Open
    }

    /// Closes the sending half.
    pub fn shutdown(&self) {
        drop(self.socket.shutdown(Shutdown::Write));
    }

    /// Takes the server's handshake, whatever it is.
    pub fn skip_handshake(&mut self) {
        drop(self.read_exact(3_073));
    }

    fn read_exact(&mut self, count: usize) -> Vec<u8> {
        self.socket.set_read_timeout(Some(SOON)).expect("an open socket");
        let mut bytes = vec![0; count];
        self.socket.read_exact(&mut bytes).expect("the server's handshake");
        bytes
    }

    /// Reads what comes within `wait`; false once the server closed.
    fn fill(&mut self, wait: Duration) -> bool {
        self.socket.set_read_timeout(Some(wait.max(Duration::from_millis(1)))).expect("an open socket");
        let mut buffer = [0; 16 << 10];
        match self.socket.read(&mut buffer) {
            Ok(0) => false,
            Ok(count) => {
                self.unread.extend_from_slice(&buffer[..count]);
                true
            }
            Err(cause) => matches!(
                cause.kind(),
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
            ),
        }
    }
}

/// C0 and C1 of the simple handshake.
#[must_use]
pub fn hello() -> Vec<u8> {
    let mut hello = vec![3];
    hello.extend_from_slice(&[0; 8]);
    hello.extend((0..1_528_u32).map(|n| n.to_le_bytes()[0]));
    hello
}

/// The object of a connect.
#[must_use]
pub fn connect_object(address: SocketAddr, app: &str) -> Value {
    let tc_url = format!("rtmp://{address}/{app}");
    Value::object([
        ("app", app.into()),
        ("flashVer", "test".into()),
        ("tcUrl", Value::from(tc_url)),
        ("objectEncoding", Value::Number(0.0)),
    ])
}

/// A basic header of the right length for `csid`, with `fmt`.
#[must_use]
pub fn basic_header(fmt: u8, csid: u32) -> Vec<u8> {
    let fmt = fmt << 6;
    match csid {
        2..=63 => vec![fmt | csid.to_le_bytes()[0]],
        64..=319 => vec![fmt, (csid - 64).to_le_bytes()[0]],
        _ => {
            let rest = (csid - 64).to_le_bytes();
            vec![fmt | 1, rest[0], rest[1]]
        }
    }
}

/// A fmt 0 chunk: header and `payload`, which may be shorter or longer than `length` says.
#[must_use]
pub fn chunk0(csid: u32, timestamp: u32, length: u32, type_id: u8, msid: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = basic_header(0, csid);
    let extended = timestamp >= 0x00ff_ffff;
    out.extend_from_slice(&timestamp.min(0x00ff_ffff).to_be_bytes()[1..]);
    out.extend_from_slice(&length.to_be_bytes()[1..]);
    out.push(type_id);
    out.extend_from_slice(&msid.to_le_bytes());
    if extended {
        out.extend_from_slice(&timestamp.to_be_bytes());
    }
    out.extend_from_slice(payload);
    out
}
