//! The handshake of both roles as values: bytes in, bytes out, split at any byte.
//!
//! ```text
//! client  C0(1) C1(1536)                    C2(1536)
//! server                  S0(1) S1(1536) S2(1536)
//! ```
//!
//! The simple form echoes; the complex form hides an HMAC-SHA256 digest in C1 and S1 (see [`digest`]), which Flash
//! demands for H.264. Nothing that the peer proves is relied upon: a wrong digest falls back to the simple form, and
//! C2, S1 and S2 are not verified, because harmless programs fail that.

pub mod digest;

use digest::{BLOCK, Schema};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// The only version of the protocol that we speak.
pub const VERSION: u8 = 3;

/// Bytes of C1, C2, S1 and S2.
pub const PACKET: usize = BLOCK;

/// The peer does not speak RTMP, or not a kind that we offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    /// The first byte is not 3: RTMPE, HTTP or something else.
    #[error("handshake begins with version {version}: {}", speaks.advice())]
    Version {
        /// The first byte.
        version: u8,
        /// What the peer seems to speak instead.
        speaks: Protocol,
    },
}

/// What a peer that does not speak RTMP seems to speak, by its first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// A TLS ClientHello: RTMPS, or HTTPS.
    Tls,
    /// A request of HTTP.
    Http,
    /// A PROXY header, version 1 or 2, of a load balancer.
    Proxy,
    /// Encrypted RTMP (versions 6, 8 and 9).
    Rtmpe,
    /// A request of RTSP.
    Rtsp,
    /// Nothing that is known.
    Unknown,
}

impl Protocol {
    /// What the first bytes look like; the fewer there are, the less is known.
    #[must_use]
    pub fn of(first: &[u8]) -> Self {
        const METHODS: [&[u8]; 8] =
            [b"GET ", b"HEAD ", b"POST ", b"PUT ", b"DELETE ", b"CONNECT ", b"PATCH ", b"PRI * HTTP"];
        const RTSP: [&[u8]; 5] = [b"DESCRIBE ", b"ANNOUNCE ", b"SETUP ", b"PLAY ", b"RECORD "];
        let begins = |text: &[u8]| first.starts_with(text);
        match first {
            [0x16, ..] => Self::Tls,
            [6 | 8 | 9, ..] => Self::Rtmpe,
            [0x0D, 0x0A, 0x0D, 0x0A, ..] | [b'P', b'R', b'O', b'X', ..] => Self::Proxy,
            _ if RTSP.iter().any(|method| begins(method)) => Self::Rtsp,
            // Both have this method; what is asked for tells which.
            _ if begins(b"OPTIONS ") => {
                if begins(b"OPTIONS rtsp") {
                    Self::Rtsp
                } else {
                    Self::Http
                }
            }
            _ if METHODS.iter().any(|method| begins(method)) => Self::Http,
            _ => Self::Unknown,
        }
    }

    /// What it is, and what its owner may do about it.
    #[must_use]
    pub fn advice(self) -> &'static str {
        match self {
            Self::Tls => {
                "the client speaks TLS (rtmps:// or https://), this port speaks plain RTMP: use rtmp://, or put a TLS \
                 proxy in front"
            }
            Self::Http => {
                "the client speaks HTTP, this port speaks RTMP: use rtmp://, or the port of http_server or http_api"
            }
            Self::Proxy => {
                "a load balancer sends a PROXY header, which is not understood here: switch it off there \
                 (send-proxy, proxy_protocol)"
            }
            Self::Rtmpe => "the client wants encrypted RTMP (rtmpe://), which is not offered: use rtmp://",
            Self::Rtsp => {
                "the client speaks RTSP, this port speaks RTMP: pull the camera with an ingest instead"
            }
            Self::Unknown => "the client does not speak RTMP",
        }
    }

    /// What is answered to it before the connection closes; nothing where nobody would read it.
    #[must_use]
    pub fn answer(self) -> &'static [u8] {
        match self {
            Self::Http => {
                b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 33\r\nConnection: close\r\n\r\n\
                  This port speaks RTMP, not HTTP.\n"
            }
            // Alert: fatal, protocol_version.
            Self::Tls => &[0x15, 3, 1, 0, 2, 2, 70],
            Self::Rtsp => b"RTSP/1.0 400 Bad Request\r\nCSeq: 1\r\n\r\n",
            Self::Proxy | Self::Rtmpe | Self::Unknown => b"",
        }
    }
}

impl HandshakeError {
    /// A short stable name for counters.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Version { .. } => "handshake_version",
        }
    }
}

/// Which form the handshake took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Form {
    /// Echo only.
    Simple,
    /// With digests.
    Complex,
}

/// A handshake in progress: what arrived of the packets that are awaited.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Handshake {
    state: State,
    form: Form,
    seed: [u8; 32],
    #[serde(with = "serde_bytes")]
    received: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum State {
    AwaitC0C1,
    AwaitC2,
    AwaitS0S1S2,
    Done,
}

impl Handshake {
    /// The server's part. `seed` must be fresh random bytes; `received` grows to at most 1537 bytes.
    #[must_use]
    pub fn server(seed: [u8; 32]) -> Self {
        Self { state: State::AwaitC0C1, form: Form::Simple, seed, received: Vec::new() }
    }

    /// The client's part and its C0 and C1. `seed` must be fresh random bytes.
    #[must_use]
    pub fn client(seed: [u8; 32], form: Form) -> (Self, Vec<u8>) {
        let mut c1 = random_packet(&seed, b"C1");
        put(&mut c1, 0, &[0; 4]);
        match form {
            Form::Simple => put(&mut c1, 4, &[0; 4]),
            Form::Complex => {
                put(&mut c1, 4, &[0x80, 0x00, 0x07, 0x02]);
                digest::sign(&mut c1, Schema::DigestFirst, digest::CLIENT_KEY);
            }
        }
        let mut out = vec![VERSION];
        out.extend_from_slice(&c1);
        (Self { state: State::AwaitS0S1S2, form, seed, received: Vec::new() }, out)
    }

    /// Whether the last packet arrived; bytes behind it belong to the chunk layer.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Which form it is; for a server known once C1 arrived.
    #[must_use]
    pub fn form(&self) -> Form {
        self.form
    }

    /// Takes bytes from the front of `input` until the handshake is done; appends what is to be sent to `out`.
    ///
    /// `now_ms` becomes the time field of S1.
    ///
    /// # Errors
    /// As soon as the first byte is not 3.
    pub fn read(&mut self, now_ms: u64, input: &mut &[u8], out: &mut Vec<u8>) -> Result<(), HandshakeError> {
        loop {
            let wanted = match self.state {
                State::AwaitC0C1 => 1 + PACKET,
                State::AwaitC2 => PACKET,
                State::AwaitS0S1S2 => 1 + 2 * PACKET,
                State::Done => return Ok(()),
            };
            let take = wanted.saturating_sub(self.received.len()).min(input.len());
            let (head, rest) = input.split_at_checked(take).unwrap_or((input, &[]));
            self.received.extend_from_slice(head);
            *input = rest;
            if self.state != State::AwaitC2 {
                match self.received.first() {
                    Some(&VERSION) | None => {}
                    Some(&version) => {
                        let speaks = Protocol::of(&self.received);
                        if self.state == State::AwaitC0C1 {
                            out.extend_from_slice(speaks.answer());
                        }
                        return Err(HandshakeError::Version { version, speaks });
                    }
                }
            }
            if self.received.len() < wanted {
                return Ok(());
            }
            let received = std::mem::take(&mut self.received);
            self.state = match self.state {
                State::AwaitC0C1 => {
                    self.answer(now_ms, received.get(1..).unwrap_or_default(), out);
                    State::AwaitC2
                }
                State::AwaitS0S1S2 => {
                    self.confirm(received.get(1..=PACKET).unwrap_or_default(), out);
                    State::Done
                }
                State::AwaitC2 | State::Done => State::Done,
            };
        }
    }

    /// S0, S1 and S2 for a C1.
    fn answer(&mut self, now_ms: u64, c1: &[u8], out: &mut Vec<u8>) {
        let mut s1 = random_packet(&self.seed, b"S1");
        let seconds = u32::try_from((now_ms / 1_000) & u64::from(u32::MAX)).unwrap_or_default();
        put(&mut s1, 0, &seconds.to_be_bytes());
        out.push(VERSION);
        let found = [Schema::KeyFirst, Schema::DigestFirst]
            .into_iter()
            .find_map(|schema| digest::verify(c1, schema, digest::CLIENT_KEY).map(|digest| (schema, digest)));
        if let Some((schema, c1_digest)) = found {
            self.form = Form::Complex;
            put(&mut s1, 4, &[0x01, 0x00, 0x05, 0x04]);
            digest::sign(&mut s1, schema, digest::SERVER_KEY);
            out.extend_from_slice(&s1);
            let mut s2 = random_packet(&self.seed, b"S2");
            digest::sign_answer(&mut s2, digest::SERVER_KEY_FULL, &c1_digest);
            out.extend_from_slice(&s2);
        } else {
            self.form = Form::Simple;
            put(&mut s1, 4, c1.get(..4).unwrap_or(&[0; 4]));
            out.extend_from_slice(&s1);
            out.extend_from_slice(c1);
        }
    }

    /// C2 for an S1.
    fn confirm(&mut self, s1: &[u8], out: &mut Vec<u8>) {
        let found = [Schema::DigestFirst, Schema::KeyFirst]
            .into_iter()
            .find_map(|schema| digest::verify(s1, schema, digest::SERVER_KEY));
        match found {
            Some(s1_digest) if self.form == Form::Complex => {
                let mut c2 = random_packet(&self.seed, b"C2");
                digest::sign_answer(&mut c2, digest::CLIENT_KEY_FULL, &s1_digest);
                out.extend_from_slice(&c2);
            }
            _ => {
                self.form = Form::Simple;
                out.extend_from_slice(s1);
            }
        }
    }
}

/// A packet of bytes that nobody without the seed can guess: SHA-256 in counter mode.
fn random_packet(seed: &[u8; 32], label: &[u8]) -> [u8; PACKET] {
    let mut packet = [0; PACKET];
    for (counter, block) in (0_u32..).zip(packet.chunks_mut(32)) {
        let hash = Sha256::new()
            .chain_update(seed)
            .chain_update(label)
            .chain_update(counter.to_be_bytes())
            .finalize();
        block.copy_from_slice(&hash);
    }
    packet
}

fn put(packet: &mut [u8; PACKET], at: usize, bytes: &[u8]) {
    if let Some(place) = packet.get_mut(at..at + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}
