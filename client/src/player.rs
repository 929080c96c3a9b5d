//! Plays one stream.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use amf0::Value;
use bytes::Bytes;
use media::Kind;
use rtmp::{ClientEvent, ClientMode, MediaKind};

use crate::connection::{Connection, Received};
use crate::error::ClientError;
use crate::options::Options;

/// How long a goodbye may take.
const GOODBYE: Duration = Duration::from_secs(2);

/// One message of the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// Audio, video or data.
    pub kind: Kind,
    /// DTS in ms on the wire, 32 bits.
    pub timestamp: u32,
    /// The FLV tag body; AMF0 for data.
    pub payload: Bytes,
}

/// A stream that is being played. A player stays when its stream ends, and goes on when the stream is published again.
#[derive(Debug)]
pub struct Player {
    connection: Connection,
    read_timeout: Duration,
    statuses: Vec<String>,
}

impl Player {
    /// Connects to `rtmp://host[:port]/app/stream` and returns once the server accepted the play, whether or not the
    /// stream is published already.
    ///
    /// # Errors
    /// When the server can't be reached, refuses, or does not answer in time.
    pub fn connect(url: &str, options: Options) -> Result<Self, ClientError> {
        let mut connection = Connection::open(url, &options, |stream| ClientMode::Play { stream })?;
        connection.start(|event| matches!(event, ClientEvent::Playing))?;
        Ok(Self { connection, read_timeout: options.read_timeout, statuses: Vec::new() })
    }

    /// The next packet; `None` once the server closed the connection. Statuses met on the way are kept for
    /// [`Self::take_statuses`].
    ///
    /// # Errors
    /// [`ClientError::is_timeout`] after the read timeout, and it may be called again; anything else is the end.
    #[expect(clippy::should_implement_trait, reason = "an iterator can't tell the end from an error")]
    pub fn next(&mut self) -> Result<Option<Packet>, ClientError> {
        let began = Instant::now();
        loop {
            match self.next_event_until(began)? {
                None => return Ok(None),
                Some(ClientEvent::Media { kind, timestamp, payload }) => {
                    return Ok(Some(Packet { kind: kind_of(kind), timestamp, payload }));
                }
                Some(ClientEvent::Status { code, .. }) => self.statuses.push(code),
                Some(_) => {}
            }
        }
    }

    /// The next event of any kind, media included; `None` once the server closed the connection.
    ///
    /// # Errors
    /// As [`Self::next`].
    pub fn next_event(&mut self) -> Result<Option<ClientEvent>, ClientError> {
        self.next_event_until(Instant::now())
    }

    /// The chunk size that the server cuts its messages with now, in bytes (RTMP 5.4.1).
    #[must_use]
    pub fn chunk_size(&self) -> u32 {
        self.connection.in_chunk_size()
    }

    /// The codes of the statuses that [`Self::next`] met since the last call, such as
    /// `NetStream.Play.UnpublishNotify`.
    pub fn take_statuses(&mut self) -> Vec<String> {
        std::mem::take(&mut self.statuses)
    }

    /// Changes how long [`Self::next`] waits.
    pub fn set_read_timeout(&mut self, wait: Duration) {
        self.read_timeout = wait;
    }

    /// Pauses, or goes on.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn pause(&mut self, paused: bool) -> Result<(), ClientError> {
        self.command("pause", 0.0, &[Value::Null, paused.into(), Value::Number(0.0)])
    }

    /// Seeks to a time in ms; live servers only say that they heard it.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn seek(&mut self, time_ms: u32) -> Result<(), ClientError> {
        self.command("seek", 0.0, &[Value::Null, time_ms.into()])
    }

    /// Switches audio off or on.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn receive_audio(&mut self, on: bool) -> Result<(), ClientError> {
        self.command("receiveAudio", 0.0, &[Value::Null, on.into()])
    }

    /// Switches video off or on.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn receive_video(&mut self, on: bool) -> Result<(), ClientError> {
        self.command("receiveVideo", 0.0, &[Value::Null, on.into()])
    }

    /// Sends any command on the stream.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn command(&mut self, name: &str, transaction: f64, args: &[Value]) -> Result<(), ClientError> {
        self.connection.session().send_command(name, transaction, args);
        self.connection.flush()
    }

    /// The socket's local and remote address.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn addresses(&self) -> io::Result<(SocketAddr, SocketAddr)> {
        self.connection.addresses()
    }

    /// Bytes received on this connection so far.
    pub fn bytes_received(&mut self) -> u64 {
        self.connection.session().bytes_received()
    }

    /// Ends the play politely.
    ///
    /// # Errors
    /// When the connection was gone before the end was said.
    pub fn finish(mut self) -> Result<(), ClientError> {
        self.connection.session().finish();
        self.connection.close(GOODBYE)
    }

    fn next_event_until(&mut self, began: Instant) -> Result<Option<ClientEvent>, ClientError> {
        loop {
            if let Some(event) = self.connection.pop_event() {
                return Ok(Some(event));
            }
            let timeout = |connection: &Connection| ClientError::Timeout {
                url: connection.name().to_owned(),
                waited_ms: began.elapsed().as_millis(),
            };
            // In its first half the wait stays the same, so that busy streams do not set the socket anew each time.
            let Some(left) = self.read_timeout.checked_sub(began.elapsed()) else {
                return Err(timeout(&self.connection));
            };
            let left = if left > self.read_timeout / 2 { self.read_timeout } else { left };
            match self.connection.receive(left)? {
                Received::Bytes => {}
                Received::Closed => return Ok(None),
                Received::Nothing => return Err(timeout(&self.connection)),
            }
        }
    }
}

fn kind_of(kind: MediaKind) -> Kind {
    match kind {
        MediaKind::Audio => Kind::Audio,
        MediaKind::Video => Kind::Video,
        MediaKind::Data => Kind::Data,
    }
}
