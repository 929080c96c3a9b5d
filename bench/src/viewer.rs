//! A viewer, in one of three depths: a few look at every packet, most only count bytes once they have seen their first
//! picture, slow ones take less than what is sent and look whether they miss whole groups of pictures.

use std::io;

use rtmp::{ClientEvent, ClientSession, MediaKind, Output};

use crate::clock;
use crate::distribution::Samples;
use crate::fetch::{self, Fetch};
use crate::findings::Findings;
use crate::frame::{Frame, Frames};
use crate::link::{Arrived, Link};
use crate::marker::{self, Found, Marker};
use crate::target::Target;

/// A viewer that only counts tells the server so often that it got its bytes.
const ACKNOWLEDGE_EVERY: u64 = 1 << 20;
/// Receive buffer of a slow viewer: what it does not read must wait at the server.
const SLOW_BUFFER: usize = 64 << 10;

/// What all viewers of a run measure together.
#[derive(Debug, Default)]
pub struct Measured {
    /// Findings of those that look.
    pub findings: Findings,
    /// Findings of those that are slow: they lose packets, but must get whole groups of pictures.
    pub slow: Findings,
    /// From the publisher's socket to the viewer's; at the floor, from the beginning of the batch.
    pub latency: Samples,
    /// At the floor, from when the packet was due.
    pub latency_due: Samples,
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
}

/// One viewer.
#[derive(Debug)]
pub struct Viewer {
    link: Link,
    /// Dropped after the first picture by those who only count: that is most of the memory.
    session: Option<Box<ClientSession>>,
    /// The same over HTTP.
    fetch: Option<Box<Fetch>>,
    /// Puts together what the floor's sender writes, where that is looked at.
    frames: Option<Box<Frames>>,
    /// Speaks no RTMP: takes what comes (the floor's receiver).
    raw: bool,
    acknowledges: bool,
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
    /// Begins to connect; `index` counts all viewers of a run. A `raw` one speaks no RTMP; with
    /// `target.http` it takes HTTP-FLV.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn connect(target: &Target, stream: u32, index: usize, depth: Depth, raw: bool) -> io::Result<Self> {
        let begun_ns = clock::now_ns();
        let buffer = matches!(depth, Depth::Slow(_)).then_some(SLOW_BUFFER);
        let http = target.http.filter(|_| !raw);
        let mut link = Link::connect(http.unwrap_or(target.address), index, buffer)?;
        if depth == Depth::Look {
            link.stamp();
        }
        if http.is_some() {
            link.send(&fetch::request(target, stream))?;
        }
        let speaks_rtmp = !raw && http.is_none();
        let session = speaks_rtmp
            .then(|| Box::new(ClientSession::new(begun_ns / 1_000_000, target.options(stream, false))));
        Ok(Self {
            link,
            session,
            fetch: http.is_some().then(Box::default),
            frames: (raw && depth == Depth::Look).then(Box::default),
            raw,
            acknowledges: speaks_rtmp,
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
            let reads = self.session.is_some() || self.fetch.is_some() || self.frames.is_some();
            let arrived = if reads { self.link.read(scratch)? } else { self.link.discard(scratch)? };
            let Arrived::Bytes(count, wall_ns) = arrived else {
                return if arrived == Arrived::End {
                    Err(io::ErrorKind::UnexpectedEof.into())
                } else {
                    self.drain(0, measured)
                };
            };
            measured.bytes += count as u64;
            self.received += count as u64;
            let arrived_ns = match wall_ns {
                0 => clock::now_ns(),
                wall_ns => wall_ns.saturating_sub(measured.wall_offset_ns),
            };
            self.take(scratch.get(..count).unwrap_or(&[]), arrived_ns, measured)?;
            if self.is_slow() {
                return Ok(());
            }
            // A short read emptied the socket; the next edge brings us back.
            if count < scratch.len() {
                return self.link.flush();
            }
        }
    }

    fn take(&mut self, bytes: &[u8], arrived_ns: u64, measured: &mut Measured) -> io::Result<()> {
        if let Some(session) = &mut self.session {
            session.handle_input(clock::now_ms(), bytes).map_err(io::Error::other)?;
            return self.drain(arrived_ns, measured);
        }
        if let Some(mut fetch) = self.fetch.take() {
            let waited = !fetch.begun();
            fetch.take(bytes, |kind, payload| self.look(kind, payload, arrived_ns, measured))?;
            if waited && fetch.begun() {
                self.playing_ns = clock::now_ns();
            }
            if !(self.pictured && self.depth == Depth::Count) {
                self.fetch = Some(fetch);
            }
            return self.link.flush();
        }
        if let Some(mut frames) = self.frames.take() {
            let sound = frames.take(bytes, |frame| self.look_raw(frame, arrived_ns, measured));
            measured.findings.damaged += u64::from(!sound);
            self.frames = sound.then_some(frames);
        }
        if self.raw {
            self.pictured = true;
        } else if self.acknowledges && self.received - self.acknowledged >= ACKNOWLEDGE_EVERY {
            self.acknowledge()?;
        }
        Ok(())
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
            let Arrived::Bytes(count, _) = self.link.read(scratch.get_mut(..wanted).unwrap_or_default())?
            else {
                break;
            };
            measured.bytes += count as u64;
            self.received += count as u64;
            left -= count as u64;
            self.take(scratch.get(..count).unwrap_or(&[]), now_ns, measured)?;
        }
        self.allowance = (now_ns, left.min(rate));
        Ok(())
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
        if self.pictured && self.depth == Depth::Count && self.session.take().is_some() {
            self.acknowledged = self.received;
        }
        self.link.flush()
    }

    fn look(&mut self, kind: MediaKind, payload: &[u8], arrived_ns: u64, measured: &mut Measured) {
        if !self.pictured && marker::is_key_frame(kind, payload) {
            self.pictured = true;
            measured.first_picture.add_ns(clock::now_ns() - self.begun_ns);
        }
        let findings = match self.depth {
            Depth::Count => return,
            Depth::Look => &mut measured.findings,
            Depth::Slow(_) => &mut measured.slow,
        };
        let Some(marker) = Self::check(findings, self.number, &mut self.next, kind, payload) else { return };
        if self.depth == Depth::Look && marker.send_ns >= measured.count_from_ns.max(self.playing_ns) {
            measured.latency.add_ns(arrived_ns.saturating_sub(marker.send_ns));
        }
    }

    fn look_raw(&mut self, frame: Frame<'_>, arrived_ns: u64, measured: &mut Measured) {
        // The floor has one stream, whichever this viewer asked for.
        let Some(marker) = Self::check(&mut measured.findings, 0, &mut self.next, frame.kind, frame.packet)
        else {
            return;
        };
        if marker.send_ns >= measured.count_from_ns {
            measured.latency.add_ns(arrived_ns.saturating_sub(marker.send_ns));
            measured.latency_due.add_ns(arrived_ns.saturating_sub(frame.due_ns));
        }
    }

    /// Compares a packet with what was sent and with those before it.
    fn check(
        findings: &mut Findings,
        number: u32,
        next: &mut [Option<u64>; 2],
        kind: MediaKind,
        payload: &[u8],
    ) -> Option<Marker> {
        let marker = match marker::read(kind, payload) {
            Found::Unmarked => return None,
            Found::Whole(marker) if marker.stream == number => marker,
            Found::Damaged | Found::Whole(_) => {
                findings.damaged += 1;
                return None;
            }
        };
        let is_video = kind == MediaKind::Video;
        if let Some(next) = next.get_mut(usize::from(!is_video)) {
            let expected = next.unwrap_or(marker.seq);
            findings.saw(expected, marker.seq, is_video.then(|| marker::is_key_frame(kind, payload)));
            *next = Some((marker.seq + 1).max(expected));
        }
        Some(marker)
    }
}
