//! The loop that every packet goes through: one hub, one audience, 100 viewers on loopback connections.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use endpoint::{
    Asker, AudienceId, ConnectionId, ConnectionSnapshot, Host, Hub, Reason, Refusal, Verdict, Wakes,
};
use media::{Kind, StreamKey};
use mediaring::{RingReader, Scoreboard, WorkRecord};
use rtmp::{ClientMode, ClientSession, Output, PublishRequest};

use super::cases::{Packet, Writer, client_session, packets};
use super::counted_region;

const VIEWERS: usize = 100;
/// So much fits into a connection without anybody reading.
const SOCKET_BYTES: usize = 1 << 20;
/// Turns that viewers may take to see the stream.
const MAX_TURNS: usize = 2_000;
/// A hub may leave work for its next turn.
const SETTLING_TURNS: usize = 10;
/// Batches that are counted.
const BATCHES: u64 = 20;

/// A process that has one stream and wakes its hub at the right pace.
#[derive(Debug, Default)]
struct Process {
    audience: Option<AudienceId>,
}

impl Host for Process {
    fn publish(&mut self, _: &Hub, _: Asker, _: &StreamKey, _: &PublishRequest) -> Verdict {
        Verdict::reject(Reason::Denied, "Nobody publishes here")
    }
    fn begin(
        &mut self,
        _: &Hub,
        _: ConnectionId,
        _: &StreamKey,
        _: &PublishRequest,
    ) -> Result<Option<ConnectionId>, Refusal> {
        Ok(None)
    }
    fn hand_over(&mut self, _: &StreamKey, _: OwnedFd, _: ConnectionSnapshot) {}
    fn media(&mut self, _: ConnectionId, _: u32, _: Kind, _: u32, _: Bytes) {}
    fn unpublish(&mut self, _: ConnectionId, _: u32) -> Option<StreamKey> {
        None
    }
    fn wanted(
        &mut self,
        audience: AudienceId,
        _: &StreamKey,
        _: ipc::ViewerRequest,
    ) -> Option<(RingReader, Wakes)> {
        self.audience = Some(audience);
        None
    }
    fn unwanted(&mut self, _: &StreamKey) {}
    fn hold(&mut self, _: &StreamKey, _: u64) {}
    fn pace(&mut self, _: &StreamKey, _: u32) {}
    fn closed(&mut self, _: ConnectionId) {}
}

/// A player at the other end.
struct Player {
    socket: TcpStream,
    session: ClientSession,
    received: u64,
}

impl Player {
    fn talk(&mut self, buffer: &mut [u8]) -> Result<()> {
        loop {
            while let Some(output) = self.session.poll_output() {
                if let Output::Transmit(bytes) = output {
                    self.socket.write_all(&bytes)?;
                }
            }
            match self.socket.read(buffer) {
                Ok(0) => bail!("a viewer was sent away"),
                Ok(count) => {
                    self.received += count as u64;
                    self.session.handle_input(0, buffer.get(..count).unwrap_or(&[]))?;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

struct Stage {
    /// Bytes of the ring that were written so far, and that had been when all was sent last.
    written: u64,
    flushed: u64,
    hub: Hub,
    process: Process,
    writer: Writer,
    players: Vec<Player>,
    stream: std::vec::IntoIter<Packet>,
    buffer: Vec<u8>,
}

impl Stage {
    fn new() -> Result<Self> {
        let text = b"listen 1; vhost __defaultVhost__ { mw_latency 350; }";
        let loaded = conf::parse_text("bench.conf", text, &conf::Environment::empty());
        let config = loaded.ok().context("the configuration is not sound")?.config;
        let mut hub = Hub::new(
            Arc::new(config),
            Arc::new(Scoreboard::create()?),
            0,
            Arc::new(WorkRecord::create()?),
            1,
        )?;
        let writer = Writer::new()?;
        let mut process = Process::default();
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let mut players = Vec::new();
        for _ in 0..VIEWERS {
            let socket = TcpStream::connect(listener.local_addr()?)?;
            let (accepted, peer) = listener.accept()?;
            for socket in [&socket, &accepted] {
                let options = socket2::SockRef::from(socket);
                options.set_send_buffer_size(SOCKET_BYTES)?;
                options.set_recv_buffer_size(SOCKET_BYTES)?;
            }
            socket.set_nonblocking(true)?;
            hub.adopt(&mut process, accepted, peer);
            let session = client_session(ClientMode::Play { stream: "cam".into() });
            players.push(Player { socket, session, received: 0 });
        }
        let stream = packets(20).into_iter();
        Ok(Self {
            written: 0,
            flushed: 0,
            hub,
            process,
            writer,
            players,
            stream,
            buffer: vec![0; SOCKET_BYTES],
        })
    }

    /// One turn of everybody.
    fn turn(&mut self) -> Result<()> {
        for player in &mut self.players {
            player.talk(&mut self.buffer)?;
        }
        self.hub.wake_at(0);
        self.hub.turn(u64::MAX, &mut Vec::new())?;
        self.hub.run(&mut self.process);
        Ok(())
    }

    fn put(&mut self, count: usize) -> bool {
        let batch: Vec<Packet> = self.stream.by_ref().take(count).collect();
        batch.iter().for_each(|packet| self.writer.put(packet));
        self.written = self.writer.ring.head_position();
        batch.len() == count
    }

    fn viewers(&self) -> u64 {
        self.hub.report("", false).viewers.iter().map(|viewers| viewers.clients).sum()
    }

    fn received(&self) -> u64 {
        self.players.iter().map(|player| player.received).sum()
    }
}

/// Sends batches of `batch` packets to all viewers; only the loop over the viewers is counted. Returns viewers × batches.
///
/// # Errors
/// When a viewer is not served.
pub fn run(batch: usize) -> Result<u64> {
    let mut stage = Stage::new()?;
    for _ in 0..MAX_TURNS {
        stage.turn()?;
        if stage.viewers() == VIEWERS as u64 {
            break;
        }
    }
    let id = stage.process.audience.context("nobody plays")?;
    let ring = RingReader::open(stage.writer.ring.reader_fd()?)?;
    stage.hub.set_ring(&mut stage.process, id, ring, Wakes::Paced);
    // Everybody gets headers of its own for the first packets; after that all go the same way.
    for _ in 0..4 {
        stage.put(24);
        stage.hub.advanced(&mut stage.process, id);
        for _ in 0..SETTLING_TURNS {
            stage.turn()?;
        }
    }
    stage.flushed = stage.written;
    let mut batches = 0;
    while batches < BATCHES && stage.put(batch) {
        let before = stage.received();
        counted_region(|| stage.hub.advanced(&mut stage.process, id));
        stage.turn()?;
        let sent = stage.written - stage.flushed;
        stage.flushed = stage.written;
        if stage.received() - before != sent * VIEWERS as u64 {
            bail!("a batch of {sent} bytes was not sent to all at once");
        }
        batches += 1;
    }
    Ok(batches * VIEWERS as u64)
}
