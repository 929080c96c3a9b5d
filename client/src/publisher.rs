//! Publishes one stream.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use amf0::Value;
use media::Kind;
use rtmp::{ClientEvent, ClientMode, MediaKind};

use crate::connection::{Connection, Received};
use crate::error::ClientError;
use crate::options::{Options, Style};

/// How often a publisher looks for words of the server between its packets.
const LISTEN_EVERY: Duration = Duration::from_millis(50);

/// How long a goodbye may take.
const GOODBYE: Duration = Duration::from_secs(2);

/// AMF0 of the command that makes a server keep the metadata that follow.
const SET_DATA_FRAME: &[u8] = b"\x02\x00\x0d@setDataFrame";

/// A stream that is being published. Dropping it closes the connection without goodbye.
#[derive(Debug)]
pub struct Publisher {
    connection: Connection,
    listened: Instant,
}

impl Publisher {
    /// Connects to `rtmp://host[:port]/app/stream` and returns once the server accepted the stream.
    ///
    /// # Errors
    /// When the server can't be reached, refuses, or does not answer in time.
    pub fn connect(url: &str, options: Options) -> Result<Self, ClientError> {
        let fmle = options.style == Style::Fmle;
        let mut connection = Connection::open(url, &options, |stream| ClientMode::Publish { stream, fmle })?;
        connection.start(|event| matches!(event, ClientEvent::Publishing))?;
        Ok(Self { connection, listened: Instant::now() })
    }

    /// Sends one message: an FLV tag body at `timestamp` ms, which may wrap at 32 bits. Blocks while the server does not
    /// take more.
    ///
    /// # Errors
    /// When the connection is gone; [`ClientError::code`] says why, if the server did.
    pub fn send(&mut self, kind: Kind, timestamp: u32, payload: &[u8]) -> Result<(), ClientError> {
        if !self.connection.session().send_media(media_kind(kind), timestamp, payload) {
            return Err(self.connection.closed());
        }
        self.connection.flush()?;
        if self.listened.elapsed() >= LISTEN_EVERY { self.listen() } else { Ok(()) }
    }

    /// Sends metadata: the body of an `onMetaData` script tag, which the server is told to keep for later players.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub fn send_metadata(&mut self, timestamp: u32, body: &[u8]) -> Result<(), ClientError> {
        let mut payload = SET_DATA_FRAME.to_vec();
        payload.extend_from_slice(body);
        self.send(Kind::Data, timestamp, &payload)
    }

    /// Takes what the server sent and answers its pings. [`Self::send`] does so now and then; call it in long pauses.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn listen(&mut self) -> Result<(), ClientError> {
        self.listened = Instant::now();
        loop {
            let received = self.connection.receive_now()?;
            self.check()?;
            match received {
                Received::Bytes => {}
                Received::Nothing => return Ok(()),
                Received::Closed => return Err(self.connection.closed()),
            }
        }
    }

    /// Waits for words of the server at most `wait`; true when some came.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn wait(&mut self, wait: Duration) -> Result<bool, ClientError> {
        let received = self.connection.receive(wait)?;
        self.check()?;
        match received {
            Received::Bytes => Ok(true),
            Received::Nothing => Ok(false),
            Received::Closed => Err(self.connection.closed()),
        }
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

    /// Bytes sent on this connection so far.
    pub fn bytes_sent(&mut self) -> u64 {
        self.connection.session().bytes_sent()
    }

    /// Ends the stream and waits until the server took everything.
    ///
    /// # Errors
    /// When the connection was gone before the end was said.
    pub fn finish(mut self) -> Result<(), ClientError> {
        self.connection.session().finish();
        self.connection.close(GOODBYE)
    }

    fn check(&mut self) -> Result<(), ClientError> {
        while let Some(event) = self.connection.pop_event() {
            if let ClientEvent::Rejected { code, description } = event {
                let url = self.connection.name().to_owned();
                return Err(ClientError::Rejected { url, code, description });
            }
        }
        Ok(())
    }
}

fn media_kind(kind: Kind) -> MediaKind {
    match kind {
        Kind::Audio => MediaKind::Audio,
        Kind::Video => MediaKind::Video,
        Kind::Data => MediaKind::Data,
    }
}
