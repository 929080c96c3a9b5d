//! The viewers of one stream, with the stream's ring: the path from shared memory to sockets. What goes out is `fanout`'s
//! decision; here it is sent.

use conf::vhost::MwLatency;
use fanout::{QueueLimits, Reason, Step, Stream, Window, Wire};
use media::StreamKey;
use mediaring::{RingReader, Sent, Tally};
use slab::Slab;

use crate::NOTE_BORN_NS;
use crate::connection::Connection;
use crate::end::End;
use crate::viewer::{Viewer, Way};

/// Key of an audience in its hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AudienceId(pub(crate) usize);

impl AudienceId {
    /// For processes that keep their viewers otherwise than a hub.
    #[must_use]
    pub fn new(key: usize) -> Self {
        Self(key)
    }

    /// The reverse.
    #[must_use]
    pub fn key(self) -> usize {
        self.0
    }
}

/// How the writer of a ring wakes its readers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wakes {
    /// At the pace that it was told ([`crate::Host::pace`]): each wake-up means "send now".
    Paced,
    /// In each turn in which there is something new: the hub gathers itself.
    EachTurn,
}

/// Packets with headers of a viewer's own that are made before the socket is tried.
const OWN_BATCH_BYTES: usize = 128 << 10;

/// What serving a viewer came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Served {
    /// It has everything there is, or waits for its socket.
    Done,
    /// The other track of a new publish is waited for.
    AwaitsTrack,
    /// The time it asked for is over.
    Finished,
}

/// The viewers of a stream.
#[derive(Debug)]
pub(crate) struct Audience {
    pub(crate) key: StreamKey,
    pub(crate) viewers: Slab<Viewer>,
    pub(crate) ring: Option<RingReader>,
    /// What was seen of the ring.
    pub(crate) window: Window,
    /// Where what is sent is counted for the stream.
    pub(crate) tally: Option<Tally>,
    pub(crate) gop_cache: bool,
    /// The longest queue of one viewer.
    pub(crate) queue: QueueLimits,
    /// How long packets are gathered.
    pub(crate) latency: MwLatency,
    /// When the gathered packets are due, ms.
    pub(crate) due_ms: Option<u64>,
    /// How the ring's writer wakes us.
    pub(crate) wakes: Wakes,
    /// The pace at which wake-ups come, where their sender gathers, ms.
    pub(crate) pace_ms: Option<u64>,
    /// Position at which the last gathered packets were sent.
    pub(crate) flushed: u64,
    /// A viewer waits for the other track of a new publish.
    pub(crate) awaits_track: bool,
    /// Somebody publishes: more may come.
    pub(crate) has_publisher: bool,
    /// When that ended, monotonic ms.
    pub(crate) no_publisher_since_ms: u64,
    /// When the ring was last asked to hold more, monotonic ms, and how much, ms.
    pub(crate) hold_asked: (u64, u64),
}

impl Audience {
    pub(crate) fn new(key: StreamKey) -> Self {
        Self {
            key,
            viewers: Slab::new(),
            ring: None,
            window: Window::default(),
            tally: None,
            gop_cache: true,
            queue: QueueLimits { ms: 30_000, bytes: u64::MAX },
            latency: MwLatency::Fixed(0),
            due_ms: None,
            wakes: Wakes::EachTurn,
            pace_ms: None,
            flushed: 0,
            awaits_track: false,
            has_publisher: true,
            no_publisher_since_ms: 0,
            hold_asked: (0, 0),
        }
    }

    /// Reads from another ring from now on. A next generation, or the same ring from a successor of its writer, has the
    /// same positions, so viewers go on; a ring that knows less than what was already read is another stream: everybody
    /// begins anew.
    pub(crate) fn set_ring(&mut self, ring: RingReader, wakes: Wakes) {
        self.wakes = wakes;
        let same =
            self.ring.as_ref().is_some_and(|known| known.note(NOTE_BORN_NS) == ring.note(NOTE_BORN_NS));
        if !same || !self.window.goes_on_in(&ring) {
            let (first, head_dts_ms) = (self.ring.is_none(), self.window.head_dts_ms());
            self.window.restart(&ring);
            for (_, viewer) in &mut self.viewers {
                let cursor = &mut viewer.cursor;
                // It may have come from another process and go on in the same ring.
                if !first || cursor.is_joining() || ring.find(cursor.position()).is_err() {
                    cursor.restart(head_dts_ms);
                }
            }
        }
        self.ring = Some(ring);
        self.refresh();
    }

    /// Looks at what the writer has added. Returns whether there is something.
    pub(crate) fn refresh(&mut self) -> bool {
        let Some(ring) = &self.ring else { return false };
        let has_more = self.window.scan(ring);
        self.has_publisher |= has_more;
        has_more
    }

    /// Whether its viewers wait for a publisher.
    pub(crate) fn awaits_publisher(&self) -> bool {
        !self.has_publisher || self.ring.is_none()
    }

    /// Viewers that take nothing now: their keys, those of their connections, and whether it is the socket's doing.
    pub(crate) fn laggards(&self) -> Vec<(usize, usize, bool)> {
        let lags = |viewer: &Viewer| viewer.is_blocked() || viewer.cursor.is_paused();
        let laggards = self.viewers.iter().filter(|(_, viewer)| lags(viewer));
        laggards.map(|(key, viewer)| (key, viewer.connection, viewer.is_blocked())).collect()
    }

    /// The wish for a ring that holds so much, unless it was said just now. Somebody who lags further needs it now.
    pub(crate) fn wish_hold(&mut self, lag_ms: u64, now_ms: u64, pause_ms: u64) -> Option<(StreamKey, u64)> {
        let (asked_ms, asked_for_ms) = self.hold_asked;
        if now_ms.saturating_sub(asked_ms) < pause_ms && lag_ms < asked_for_ms * 5 / 4 {
            return None;
        }
        self.hold_asked = (now_ms, lag_ms);
        Some((self.key.clone(), lag_ms))
    }

    /// How far behind the newest packet what a viewer gets next is, ms.
    pub(crate) fn lag_ms(&self, viewer: &Viewer) -> u64 {
        self.ring.as_ref().map_or(0, |ring| viewer.cursor.lag_ms(&self.window, ring))
    }

    /// How many packets a viewer got.
    pub(crate) fn frames(&self, viewer: &Viewer) -> u64 {
        self.ring.as_ref().map_or(0, |ring| viewer.cursor.frames(&self.window, ring))
    }

    /// The stream as cursors see it.
    fn stream<'a>(&'a self, ring: &'a RingReader, now_ms: u64) -> Stream<'a, RingReader> {
        Stream {
            packets: ring,
            window: &self.window,
            gop_cache: self.gop_cache,
            has_publisher: self.has_publisher,
            now_ms,
        }
    }

    /// The common case, without touching the connection: everything that waits goes out as it lies in the ring. `false`
    /// when [`Self::serve`] has to be called.
    pub(crate) fn serve_fast(&mut self, key: usize, now_ms: u64) -> Result<bool, End> {
        let Some(ring) = &self.ring else { return Ok(false) };
        let Some(viewer) = self.viewers.get_mut(key) else { return Ok(true) };
        if viewer.way != Way::Free {
            return Ok(viewer.is_blocked());
        }
        let Some((from, to)) = viewer.cursor.run(&self.window) else { return Ok(false) };
        let head = self.window.head_position();
        if from == to {
            return Ok(from == head);
        }
        reactor::crash_point("before-send");
        let sent = ring.send(viewer.socket, from, to).map_err(End::Socket)?;
        reactor::crash_point("after-send");
        if sent == Sent::Gone {
            // Lapped without having been blocked: the step moves it on, where it stands at a packet's beginning.
            return Ok(false);
        }
        account(viewer, sent, to, now_ms)?;
        Ok(viewer.is_blocked() || viewer.cursor.position() == head)
    }

    /// Sends a viewer what its socket takes.
    pub(crate) fn serve(
        &mut self,
        key: usize,
        connection: &mut Connection,
        now_ms: u64,
    ) -> Result<Served, End> {
        let Some(mut viewer) = self.viewers.get(key).cloned() else {
            return Ok(Served::Done);
        };
        if viewer.cursor.is_joining() {
            self.refresh();
        }
        let served = self.serve_viewer(&mut viewer, connection, now_ms);
        self.awaits_track |= matches!(served, Ok(Served::AwaitsTrack));
        if let Some(place) = self.viewers.get_mut(key) {
            *place = viewer;
        }
        served
    }

    fn serve_viewer(
        &self,
        viewer: &mut Viewer,
        connection: &mut Connection,
        now_ms: u64,
    ) -> Result<Served, End> {
        viewer.way = if connection.outbox.is_empty() { Way::Free } else { Way::Queued };
        let Some(ring) = &self.ring else {
            viewer.flush(connection, now_ms)?;
            return Ok(Served::Done);
        };
        let stream = self.stream(ring, now_ms);
        loop {
            if connection.outbox.len() >= OWN_BATCH_BYTES && viewer.flush(connection, now_ms)? {
                return Ok(Served::Done);
            }
            let chunk_size = connection.session.out_chunk_size();
            let alone = connection.playing.len() == 1;
            let mut wire = Wire { out: connection.outbox.tail(), chunk_size, alone };
            match viewer.cursor.step(&stream, &mut wire) {
                Step::Ring { from, to } => {
                    let waiting = connection.outbox.waiting();
                    let before = waiting.len();
                    let sent = ring.send_after(viewer.socket, waiting, from, to).map_err(End::Socket)?;
                    let of_ring = connection.outbox.take(sent);
                    viewer.count((before - connection.outbox.len()) as u64, now_ms);
                    account(viewer, of_ring, to, now_ms)?;
                    if viewer.is_blocked() {
                        return Ok(Served::Done);
                    }
                }
                Step::Own | Step::Jump { .. } => {}
                Step::ChunkSize(size) => {
                    connection.announce_chunk_size(size);
                    if connection.session.out_chunk_size() != size {
                        viewer.cursor.own(Reason::ChunkSize);
                    }
                }
                Step::Lost => return Err(End::Lapped),
                over @ (Step::Wait | Step::AwaitsTrack | Step::Finished) => {
                    viewer.flush(connection, now_ms)?;
                    return Ok(match over {
                        Step::AwaitsTrack => Served::AwaitsTrack,
                        Step::Finished => Served::Finished,
                        _ => Served::Done,
                    });
                }
            }
        }
    }

    /// Looks after a viewer that can't take its packets. Returns how long the ring should hold them for it, ms.
    pub(crate) fn watch(
        &mut self,
        key: usize,
        connection: &mut Connection,
        look_at_time: bool,
        now_ms: u64,
    ) -> Option<u64> {
        let ring = self.ring.as_ref()?;
        let mut cursor = self.viewers.get(key)?.cursor.clone();
        let watched = cursor.watch(&self.stream(ring, now_ms), self.queue, look_at_time);
        let viewer = self.viewers.get_mut(key)?;
        viewer.cursor = cursor;
        if !watched.rest.is_empty() {
            connection.outbox.prepend(&watched.rest);
            viewer.queued();
        }
        watched.hold_ms
    }

    /// Brings a viewer to a packet's beginning, so that its connection can get other bytes or another owner. Where the rest
    /// of its packet is gone it is closed when it is served.
    pub(crate) fn finish_packet(&mut self, key: usize, connection: &mut Connection) {
        let (Some(ring), Some(viewer)) = (&self.ring, self.viewers.get_mut(key)) else { return };
        if let Ok(rest) = viewer.cursor.finish_packet(ring)
            && !rest.is_empty()
        {
            connection.outbox.prepend(&rest);
            viewer.queued();
        }
    }
}

/// What a send of ring bytes up to position `to` came to.
fn account(viewer: &mut Viewer, sent: Sent, to: u64, now_ms: u64) -> Result<(), End> {
    match sent {
        // What went before it goes on with another step.
        Sent::Gone => return Ok(()),
        Sent::Lapped => return Err(End::Lapped),
        Sent::WouldBlock => viewer.way = Way::Full,
        Sent::Bytes(count) => {
            viewer.cursor.take(count as u64, to);
            viewer.sent += count as u64;
            viewer.progress_ms = now_ms;
            viewer.way = if viewer.cursor.position() < to { Way::Full } else { Way::Free };
        }
    }
    if viewer.is_blocked() {
        reactor::crash_point("blocked");
    }
    Ok(())
}
