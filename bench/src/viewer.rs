//! A viewer, in one of three depths: a few look at every packet, most only count bytes once they have seen their first
//! picture, slow ones take less than what is sent.

use std::io;

use rtmp::{ClientEvent, ClientSession, MediaKind, Output};

use crate::clock;
use crate::distribution::Samples;
use crate::link::{Arrived, Link};
use crate::marker::{self, Found, Marker};
use crate::target::Target;

/// A viewer that only counts tells the server so often that it got its bytes.
const ACKNOWLEDGE_EVERY: u64 = 1 << 20;
/// Receive buffer of a slow viewer: what it does not read must wait at the server.
const SLOW_BUFFER: usize = 64 << 10;

/// What is checked at the viewers that look.
#[derive(Debug, Default, Clone, serde::Serialize)]
pub struct Findings {
    /// Packets with a marker.
    pub packets: u64,
    /// Sequence numbers that were skipped.
    pub lost: u64,
    /// Packets that came after a later one, or twice.
    pub disordered: u64,
    /// Packets with other bytes than they were sent with, or of another stream.
    pub damaged: u64,
}

/// What all viewers of a run measure together.
#[derive(Debug, Default)]
pub struct Measured {
    /// Findings of those that look.
    pub findings: Findings,
    /// From the publisher's socket to the viewer's.
    pub latency: Samples,
    /// From connect to the first key frame.
    pub first_picture: Samples,
    /// Bytes received by all.
    pub bytes: u64,
    /// Latencies count for packets sent from here on, monotonic ns.
    pub count_from_ns: u64,
    /// Wall time minus monotonic time.
    pub wall_offset_ns: u64,
}

/// How a viewer behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Counts bytes.
    Count,
    /// Looks at every packet.
    Look,
    /// Takes so many bytes per second at most.
    Slow(u64),
    /// Speaks no RTMP: takes what comes (the floor's receiver).
    Raw,
}

/// One viewer.
#[derive(Debug)]
pub struct Viewer {
    link: Link,
    /// Dropped after the first picture by those who only count: that is most of the memory.
    session: Option<Box<ClientSession>>,
    depth: Depth,
    number: u32,
    begun_ns: u64,
    playing_ns: u64,
    pictured: bool,
    received: u64,
    acknowledged: u64,
    /// Next sequence numbers of video and audio.
    next: [Option<u64>; 2],
    /// When a slow viewer last read, and the bytes it may still take.
    allowance: (u64, u64),
}

impl Viewer {
    /// Begins to connect.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn connect(target: &Target, stream: u32, index: usize, depth: Depth) -> io::Result<Self> {
        let begun_ns = clock::now_ns();
        let buffer = matches!(depth, Depth::Slow(_)).then_some(SLOW_BUFFER);
        let mut link = Link::connect(target.address, index, buffer)?;
        let raw = depth == Depth::Raw;
        if depth == Depth::Look {
            link.stamp();
        }
        let session =
            (!raw).then(|| Box::new(ClientSession::new(begun_ns / 1_000_000, target.options(stream, false))));
        Ok(Self {
            link,
            session,
            depth,
            number: stream,
            begun_ns,
            playing_ns: 0,
            pictured: false,
            received: 0,
            acknowledged: 0,
            next: [None; 2],
            allowance: (begun_ns, 0),
        })
    }

    /// For the event loop.
    pub fn link(&mut self) -> &mut Link {
        &mut self.link
    }

    /// Whether it has seen a key frame (or anything at all, where there are no frames).
    #[must_use]
    pub fn pictured(&self) -> bool {
        self.pictured
    }

    /// Whether it reads by the clock, not when there is something.
    #[must_use]
    pub fn is_slow(&self) -> bool {
        matches!(self.depth, Depth::Slow(_)) && self.pictured
    }

    /// The socket is readable or writable.
    ///
    /// # Errors
    /// The connection is broken, or the server refused.
    pub fn ready(&mut self, scratch: &mut [u8], measured: &mut Measured) -> io::Result<()> {
        if self.is_slow() {
            return self.link.flush();
        }
        loop {
            let arrived = match &self.session {
                Some(_) => self.link.read(scratch)?,
                None => self.link.discard(scratch)?,
            };
            let Arrived::Bytes(count, wall_ns) = arrived else {
                return if arrived == Arrived::End {
                    Err(io::ErrorKind::UnexpectedEof.into())
                } else {
                    self.drain(0, measured)
                };
            };
            measured.bytes += count as u64;
            self.received += count as u64;
            if let Some(session) = &mut self.session {
                let bytes = scratch.get(..count).unwrap_or(&[]);
                session.handle_input(clock::now_ms(), bytes).map_err(io::Error::other)?;
                let arrived_ns = match wall_ns {
                    0 => clock::now_ns(),
                    wall_ns => wall_ns.saturating_sub(measured.wall_offset_ns),
                };
                self.drain(arrived_ns, measured)?;
            } else if self.depth == Depth::Raw {
                self.pictured = true;
            } else if self.received - self.acknowledged >= ACKNOWLEDGE_EVERY {
                self.acknowledge()?;
            }
            if self.is_slow() {
                return Ok(());
            }
            // A short read emptied the socket; the next edge brings us back.
            if count < scratch.len() {
                return self.link.flush();
            }
        }
    }

    /// Time has passed for a slow viewer.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn sip(&mut self, now_ns: u64, scratch: &mut [u8], measured: &mut Measured) -> io::Result<()> {
        let Depth::Slow(rate) = self.depth else { return Ok(()) };
        let (last_ns, left) = self.allowance;
        let mut left = left + rate * (now_ns - last_ns) / 1_000_000_000;
        while left > 0 {
            let wanted = scratch.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let Arrived::Bytes(count, _) =
                self.link.discard(scratch.get_mut(..wanted).unwrap_or_default())?
            else {
                break;
            };
            measured.bytes += count as u64;
            self.received += count as u64;
            left -= count as u64;
        }
        self.allowance = (now_ns, left.min(rate));
        if self.received - self.acknowledged >= ACKNOWLEDGE_EVERY { self.acknowledge() } else { Ok(()) }
    }

    /// An Acknowledgement (RTMP 1.0, 5.4.3) on chunk stream 2.
    fn acknowledge(&mut self) -> io::Result<()> {
        self.acknowledged = self.received;
        let count = u32::try_from(self.received & 0xffff_ffff).unwrap_or(0);
        let mut message = Vec::new();
        rtmp::chunk::writer::write_message(&mut message, 2, 0, 3, 0, &count.to_be_bytes(), 128);
        self.link.send(&message)
    }

    fn drain(&mut self, arrived_ns: u64, measured: &mut Measured) -> io::Result<()> {
        while let Some(output) = self.session.as_mut().and_then(|session| session.poll_output()) {
            match output {
                Output::Transmit(bytes) => self.link.send(&bytes)?,
                Output::Event(ClientEvent::Playing) => self.playing_ns = clock::now_ns(),
                Output::Event(ClientEvent::Media { kind, payload, .. }) => {
                    self.look(kind, &payload, arrived_ns, measured);
                }
                Output::Event(ClientEvent::Rejected { code, .. }) => return Err(io::Error::other(code)),
                Output::Event(_) => {}
                Output::Close(_) => return Err(io::ErrorKind::ConnectionAborted.into()),
            }
        }
        if self.pictured && self.depth != Depth::Look && self.session.take().is_some() {
            self.acknowledged = self.received;
        }
        self.link.flush()
    }

    fn look(&mut self, kind: MediaKind, payload: &[u8], arrived_ns: u64, measured: &mut Measured) {
        if !self.pictured && marker::is_key_frame(kind, payload) {
            self.pictured = true;
            measured.first_picture.add_ns(clock::now_ns() - self.begun_ns);
        }
        if self.depth != Depth::Look {
            return;
        }
        let findings = &mut measured.findings;
        match marker::read(kind, payload) {
            Found::Unmarked => {}
            Found::Damaged => findings.damaged += 1,
            Found::Whole(Marker { stream, .. }) if stream != self.number => findings.damaged += 1,
            Found::Whole(Marker { seq, send_ns, .. }) => {
                findings.packets += 1;
                let track = usize::from(kind == MediaKind::Audio);
                if let Some(next) = self.next.get_mut(track) {
                    let expected = next.unwrap_or(seq);
                    findings.disordered += u64::from(seq < expected);
                    findings.lost += seq.saturating_sub(expected);
                    *next = Some((seq + 1).max(expected));
                }
                if send_ns >= measured.count_from_ns.max(self.playing_ns) {
                    measured.latency.add_ns(arrived_ns.saturating_sub(send_ns));
                }
            }
        }
    }
}
