//! A publisher: keeps one synthetic stream going in real time.

use std::io;

use amf0::Value;
use rtmp::{ClientEvent, ClientSession, MediaKind, Output};

use crate::clock;
use crate::link::{Arrived, Link};
use crate::marker::{self, Filler, Marker};
use crate::synthetic::{AUDIO_HEADER, Plan, Schedule, VIDEO_HEADER};
use crate::target::Target;

/// One published stream.
#[derive(Debug)]
pub struct Publisher {
    link: Link,
    session: ClientSession,
    number: u32,
    plan: Plan,
    schedule: Option<Schedule>,
    packet: Vec<u8>,
}

impl Publisher {
    /// Begins to connect.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn connect(target: &Target, number: u32, plan: Plan) -> io::Result<Self> {
        let session = ClientSession::new(clock::now_ms(), target.options(number, true));
        let link = Link::connect(target.address, 0, None)?;
        Ok(Self { link, session, number, plan, schedule: None, packet: Vec::new() })
    }

    /// For the event loop.
    pub fn link(&mut self) -> &mut Link {
        &mut self.link
    }

    /// Whether the server takes the stream.
    #[must_use]
    pub fn publishes(&self) -> bool {
        self.schedule.is_some()
    }

    /// The socket is readable or writable.
    ///
    /// # Errors
    /// The connection is broken, or the server refused.
    pub fn ready(&mut self, scratch: &mut [u8]) -> io::Result<()> {
        loop {
            match self.link.read(scratch)? {
                Arrived::Bytes(count, _) => {
                    let bytes = scratch.get(..count).unwrap_or(&[]);
                    self.session.handle_input(clock::now_ms(), bytes).map_err(io::Error::other)?;
                }
                Arrived::Nothing => break,
                Arrived::End => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
        self.drain()
    }

    fn drain(&mut self) -> io::Result<()> {
        while let Some(output) = self.session.poll_output() {
            match output {
                Output::Transmit(bytes) => self.link.send(&bytes)?,
                Output::Event(ClientEvent::Publishing) => self.begin(),
                Output::Event(ClientEvent::Rejected { code, .. }) => return Err(io::Error::other(code)),
                Output::Event(_) => {}
                Output::Close(_) => return Err(io::ErrorKind::ConnectionAborted.into()),
            }
        }
        self.link.flush()
    }

    fn begin(&mut self) {
        let number = |value: u64| Value::Number(value as f64);
        let facts: [(&str, Value); 7] = [
            ("width", number(1280)),
            ("height", number(720)),
            ("framerate", number(self.plan.fps)),
            ("videodatarate", number(self.plan.video_kbps)),
            ("audiodatarate", number(self.plan.audio_kbps)),
            ("videocodecid", number(7)),
            ("audiocodecid", number(10)),
        ];
        let facts = facts.map(|(key, value)| (key.to_owned(), value)).to_vec();
        let mut metadata = Vec::new();
        amf0::encode_all(&["@setDataFrame".into(), "onMetaData".into(), Value::Object(facts)], &mut metadata);
        self.session.send_media(MediaKind::Data, 0, &metadata);
        self.session.send_media(MediaKind::Video, 0, VIDEO_HEADER);
        self.session.send_media(MediaKind::Audio, 0, AUDIO_HEADER);
        self.schedule = Some(Schedule::new(self.plan, clock::now_ns()));
    }

    /// When the next packet is due, monotonic ns.
    #[must_use]
    pub fn next_ns(&self) -> Option<u64> {
        self.schedule.as_ref().map(Schedule::next_ns)
    }

    /// Sends what is due.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn tick(&mut self, filler: &Filler) -> io::Result<()> {
        while let Some(due) = self.schedule.as_mut().and_then(|schedule| schedule.take(clock::now_ns())) {
            let len = match due.kind {
                MediaKind::Video => self.plan.video_bytes(due.key),
                _ => self.plan.audio_bytes(),
            };
            let marker = Marker { stream: self.number, seq: due.seq, send_ns: clock::now_ns() };
            marker::write(&mut self.packet, due.kind, due.key, len, marker, filler);
            self.session.send_media(due.kind, due.dts_ms, &self.packet);
            self.drain()?;
        }
        Ok(())
    }
}
