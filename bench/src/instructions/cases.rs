//! What is counted. Each case sets everything up, warms it, and does its work some hundred times within
//! [`counted_region`]; it returns how many units that were.

use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;

use amf0::Value;
use anyhow::{Result, bail};
use media::Kind;
use mediaring::{Entry, Flags, RingReader, RingWriter, Sent, Shape};
use rtmp::chunk::reader::ChunkReader;
use rtmp::chunk::writer::{pack_delta, write_message};
use rtmp::{
    ClientEvent, ClientMode, ClientOptions, ClientSession, Identity, Limits, MediaKind, Output, ServerEvent,
    ServerOptions, ServerSession,
};

use super::{counted_region, fan_out};
use crate::synthetic::{Plan, Schedule};

/// What encoders use, and what the server sends with.
const ENCODER_CHUNK: u32 = 4096;
const SERVER_CHUNK: u32 = 60_000;
/// Packets of a batch at `mw_latency 350`.
const BATCH: usize = 24;
const PLAN: Plan = Plan { video_kbps: 500, audio_kbps: 48, fps: 25, gop_s: 2 };

/// One thing that is counted.
#[derive(Debug)]
pub struct Case {
    /// Its name in files and on the command line.
    pub name: &'static str,
    /// What is done.
    pub what: &'static str,
    /// For each of what.
    pub unit: &'static str,
    run: fn() -> Result<u64>,
}

/// All cases.
pub const CASES: [Case; 11] = [
    Case { name: "chunk-reader", what: "chunk reader, chunks of 4096", unit: "packet", run: chunk_reader },
    Case {
        name: "session-publish",
        what: "server session of a publisher: bytes to media event",
        unit: "packet",
        run: session_publish,
    },
    Case { name: "ring-append", what: "header and ring write", unit: "packet", run: ring_append },
    Case {
        name: "ring-send-1",
        what: "ring send, a packet at a time",
        unit: "viewer and packet",
        run: || ring_send(1),
    },
    Case {
        name: "ring-send-24",
        what: "ring send, batches of 24 packets",
        unit: "viewer and batch",
        run: || ring_send(BATCH),
    },
    Case {
        name: "fan-out-1",
        what: "fan-out to 100 viewers, a packet at a time",
        unit: "viewer and packet",
        run: || fan_out::run(1),
    },
    Case {
        name: "fan-out-24",
        what: "fan-out to 100 viewers, batches of 24 packets",
        unit: "viewer and batch",
        run: || fan_out::run(BATCH),
    },
    Case { name: "amf0-decode", what: "AMF0, decode connect", unit: "command", run: amf0_decode },
    Case { name: "amf0-encode", what: "AMF0, encode connect", unit: "command", run: amf0_encode },
    Case {
        name: "session-handshake",
        what: "server session: answer to C0 and C1 (digests without the processor's help)",
        unit: "connection",
        run: || session_play(true),
    },
    Case {
        name: "session-play",
        what: "server session of a viewer: connect and play",
        unit: "viewer",
        run: || session_play(false),
    },
];

/// Runs a case and tells how many units of work it did.
///
/// # Errors
/// When there is no such case, or it fails.
pub fn run(name: &str, out: &mut impl Write) -> Result<()> {
    let Some(case) = CASES.iter().find(|case| case.name == name) else { bail!("no case {name}") };
    Ok(writeln!(out, "{}", (case.run)()?)?)
}

/// A packet of the ordinary stream.
#[derive(Debug, Clone)]
pub struct Packet {
    /// Audio or video.
    pub kind: MediaKind,
    /// Time of the stream, ms.
    pub dts_ms: u32,
    /// A video key frame.
    pub key: bool,
    /// Its bytes.
    pub payload: Vec<u8>,
}

/// The ordinary stream of 548 kbit/s for so many seconds.
#[must_use]
pub fn packets(seconds: u64) -> Vec<Packet> {
    let mut schedule = Schedule::new(PLAN, 0);
    std::iter::from_fn(|| schedule.take(seconds * 1_000_000_000 - 1))
        .map(|due| {
            let (lead, len): ([u8; 2], usize) = match due.kind {
                MediaKind::Video => ([if due.key { 0x17 } else { 0x27 }, 1], PLAN.video_bytes(due.key)),
                _ => ([0xaf, 1], PLAN.audio_bytes()),
            };
            let mut payload = vec![0x42; len];
            for (place, byte) in payload.iter_mut().zip(lead) {
                *place = byte;
            }
            Packet { kind: due.kind, dts_ms: due.dts_ms, key: due.key, payload }
        })
        .collect()
}

/// A ring and what a back-source remembers to write packets into it.
#[derive(Debug)]
pub struct Writer {
    /// The ring.
    pub ring: RingWriter,
    last_ms: [Option<u32>; 2],
}

impl Writer {
    /// An empty ring.
    ///
    /// # Errors
    /// When the kernel has no memory.
    pub fn new() -> Result<Self> {
        let ring = RingWriter::create(Shape::for_bytes(1 << 20), 1, 0, SERVER_CHUNK)?;
        Ok(Self { ring, last_ms: [None; 2] })
    }

    /// Writes a packet as a back-source does.
    pub fn put(&mut self, packet: &Packet) {
        let (kind, csid, type_id, track) = match packet.kind {
            MediaKind::Video => (Kind::Video, rtmp::message::CSID_VIDEO, 9, 1),
            _ => (Kind::Audio, rtmp::message::CSID_AUDIO, 8, 0),
        };
        let last = self.last_ms.get_mut(track).and_then(|last| last.replace(packet.dts_ms));
        let mut flags = Flags::default();
        if last.is_none() {
            flags = flags.with(Flags::ABSOLUTE);
        }
        if packet.key {
            flags = flags.with(Flags::KEY);
        }
        let delta = last.map_or(0, |last| packet.dts_ms.saturating_sub(last));
        // A packed message (fmt 1) of one chunk.
        let payload_len = u32::try_from(packet.payload.len()).unwrap_or(u32::MAX);
        let ([_, d0, d1, d2], [_, l0, l1, l2]) = (delta.to_be_bytes(), payload_len.to_be_bytes());
        let header = [0x40 | csid, d0, d1, d2, l0, l1, l2, type_id];
        let entry = Entry { kind, flags, dts_ms: i64::from(packet.dts_ms), arrival_ns: 1, payload_len };
        self.ring.append(entry, &[&header, &packet.payload]);
    }
}

fn chunk_reader() -> Result<u64> {
    let packets = packets(10);
    let mut bytes = Vec::new();
    write_message(&mut bytes, 2, 0, 1, 0, &ENCODER_CHUNK.to_be_bytes(), 128);
    let announced = bytes.len();
    for (index, packet) in packets.iter().enumerate() {
        let (csid, type_id) = if packet.kind == MediaKind::Video { (6, 9) } else { (4, 8) };
        if index < 2 {
            write_message(&mut bytes, csid, packet.dts_ms, type_id, 1, &packet.payload, ENCODER_CHUNK);
        } else {
            pack_delta(&mut bytes, csid, 20, type_id, &packet.payload, ENCODER_CHUNK);
        }
    }
    let mut reader = ChunkReader::new(&Limits::default());
    let (mut first, rest) = bytes.split_at(announced);
    while reader.read(&mut first)?.is_some() {
        reader.set_chunk_size(ENCODER_CHUNK)?;
    }
    // As much as one read of a socket brings from an encoder: about a packet.
    let pieces: Vec<&[u8]> = rest.chunks(2_000).collect();
    let mut seen = 0;
    counted_region(|| -> Result<()> {
        for mut piece in pieces {
            while let Some(message) = reader.read(&mut piece)? {
                std::hint::black_box(message);
                seen += 1;
            }
        }
        Ok(())
    })?;
    if seen != packets.len() as u64 {
        bail!("{seen} packets of {}", packets.len());
    }
    Ok(seen)
}

/// A server session as a process has it, whose random bytes are always the same.
#[must_use]
pub fn server_session() -> ServerSession {
    let identity = Identity { server_ip: "127.0.0.1".into(), pid: 1, id: 1, version: "0.1.0".into() };
    let options = ServerOptions {
        limits: Limits::default().into(),
        seed: [1; 32],
        identity,
        out_chunk_size: SERVER_CHUNK,
        out_window: 2_500_000,
        in_ack_size: 0,
    };
    ServerSession::new(0, options)
}

/// A client as players and encoders are, without the digests of the complex handshake.
#[must_use]
pub fn client_session(mode: ClientMode) -> ClientSession {
    let mut options = ClientOptions::new("rtmp://127.0.0.1/live".into(), "live".into(), mode, [2; 32]);
    options.simple_handshake = true;
    ClientSession::new(0, options)
}

/// Lets both talk until neither has anything to say. `feed` hands bytes to the server and takes its outputs.
fn converse(
    server: &mut ServerSession,
    client: &mut ClientSession,
    mut feed: impl FnMut(&mut ServerSession, &[u8]) -> Result<Vec<u8>>,
) -> Result<bool> {
    let mut begun = false;
    loop {
        let mut to_server = Vec::new();
        while let Some(output) = client.poll_output() {
            match output {
                Output::Transmit(bytes) => to_server.extend_from_slice(&bytes),
                Output::Event(ClientEvent::Publishing | ClientEvent::Playing) => begun = true,
                _ => {}
            }
        }
        if to_server.is_empty() {
            return Ok(begun);
        }
        let to_client = feed(server, &to_server)?;
        client.handle_input(0, &to_client)?;
    }
}

/// What a process does with bytes: everything is accepted.
fn serve(server: &mut ServerSession, bytes: &[u8]) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    server.handle_input(0, bytes)?;
    while let Some(output) = server.poll_output() {
        match output {
            Output::Transmit(bytes) => out.extend_from_slice(&bytes),
            Output::Event(ServerEvent::Connect(_)) => server.accept_connect(0)?,
            Output::Event(ServerEvent::Publish(request)) => server.accept_publish(0, request.msid)?,
            Output::Event(ServerEvent::Play(request)) => server.accept_play(0, request.msid)?,
            Output::Event(event) => drop(std::hint::black_box(event)),
            Output::Close(why) => bail!("closed: {why:?}"),
        }
    }
    Ok(out)
}

fn session_publish() -> Result<u64> {
    let mut server = server_session();
    let mut client = client_session(ClientMode::Publish { stream: "cam".into(), fmle: true });
    if !converse(&mut server, &mut client, serve)? {
        bail!("the publish did not begin");
    }
    let mut pieces = Vec::new();
    for packet in packets(10) {
        client.send_media(packet.kind, packet.dts_ms, &packet.payload);
        let mut piece = Vec::new();
        while let Some(output) = client.poll_output() {
            if let Output::Transmit(bytes) = output {
                piece.extend_from_slice(&bytes);
            }
        }
        pieces.push(piece);
    }
    counted_region(|| pieces.iter().try_for_each(|piece| serve(&mut server, piece).map(drop)))?;
    Ok(pieces.len() as u64)
}

/// The answers to the first bytes of a client, or to all that come later.
fn session_play(handshake: bool) -> Result<u64> {
    // The first fills what is made only once.
    let viewers = 20;
    for n in 0..=viewers {
        let mut server = server_session();
        let mut client = client_session(ClientMode::Play { stream: "cam".into() });
        let mut is_first = true;
        let begun = converse(&mut server, &mut client, |server, bytes| {
            let counts = n > 0 && std::mem::take(&mut is_first) == handshake;
            if counts { counted_region(|| serve(server, bytes)) } else { serve(server, bytes) }
        })?;
        if !begun {
            bail!("playing did not begin");
        }
    }
    Ok(viewers)
}

fn ring_append() -> Result<u64> {
    let mut writer = Writer::new()?;
    let packets = packets(10);
    // Once around, so that the ring laps as it does most of the time.
    for _ in 0..3 {
        packets.iter().for_each(|packet| writer.put(packet));
    }
    counted_region(|| packets.iter().for_each(|packet| writer.put(packet)));
    Ok(packets.len() as u64)
}

fn ring_send(batch: usize) -> Result<u64> {
    let mut writer = Writer::new()?;
    let packets = packets(4);
    packets.iter().for_each(|packet| writer.put(packet));
    let reader = RingReader::open(writer.ring.reader_fd()?)?;
    let (near, mut far) = UnixStream::pair()?;
    socket2::SockRef::from(&near).set_send_buffer_size(1 << 20)?;
    let mut sink = vec![0; 1 << 20];
    let mut batches = 0;
    let mut seq = reader.tail();
    while seq + batch as u64 <= reader.head() {
        let last = seq + batch as u64 - 1;
        let (Ok(from), Ok(to)) = (reader.record(seq), reader.record(last)) else { bail!("lapped") };
        let send = || reader.send(near.as_raw_fd(), from.position, to.end());
        // The first call finds the system call's stub.
        let sent = if batches == 0 { send()? } else { counted_region(send)? };
        let Sent::Bytes(sent) = sent else { bail!("a batch was not sent: {sent:?}") };
        let mut left = sent;
        while left > 0 {
            left -= far.read(&mut sink)?;
        }
        batches += 1;
        seq = last + 1;
    }
    Ok(batches - 1)
}

fn connect_command() -> Vec<Value> {
    let words = ["app", "flashVer", "tcUrl", "swfUrl", "pageUrl"];
    let numbers = ["capabilities", "audioCodecs", "videoCodecs", "objectEncoding"];
    let words = words.map(|key| (key.to_owned(), Value::from("rtmp://127.0.0.1/live?vhost=example.com")));
    let numbers = numbers.map(|key| (key.to_owned(), Value::Number(239.0)));
    vec!["connect".into(), Value::Number(1.0), Value::Object(words.into_iter().chain(numbers).collect())]
}

fn amf0_decode() -> Result<u64> {
    let mut bytes = Vec::new();
    amf0::encode_all(&connect_command(), &mut bytes);
    let limits = amf0::Limits::default();
    let times = 100;
    counted_region(|| -> Result<()> {
        for _ in 0..times {
            std::hint::black_box(amf0::decode_all(std::hint::black_box(&bytes), &limits)?);
        }
        Ok(())
    })?;
    Ok(times)
}

fn amf0_encode() -> Result<u64> {
    let values = connect_command();
    let mut bytes = Vec::with_capacity(1024);
    let times = 100;
    counted_region(|| {
        for _ in 0..times {
            bytes.clear();
            amf0::encode_all(std::hint::black_box(&values), &mut bytes);
            std::hint::black_box(&bytes);
        }
    });
    Ok(times)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_works_without_valgrind_too() {
        for case in &CASES {
            let units = (case.run)().unwrap();
            assert!(units > 0, "{}", case.name);
        }
        assert!(run("nothing", &mut Vec::new()).is_err());
    }
}
