//! The event loop: publishers, viewers and time on one thread.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use mio::{Events, Interest, Poll, Token};

use crate::clock;
use crate::link::Link;
use crate::marker::Filler;
use crate::publisher::Publisher;
use crate::synthetic::Plan;
use crate::target::Target;
use crate::viewer::{Depth, Measured, Viewer};

/// Read buffer of all connections together.
const SCRATCH_BYTES: usize = 512 << 10;
/// Longest sleep of the loop.
const TURN_NS: u64 = 10_000_000;
/// How often slow viewers take a sip.
const SIP_NS: u64 = 50_000_000;

/// Why connections ended, and how many.
pub type Failures = BTreeMap<String, u64>;

/// All connections of a run.
#[derive(Debug)]
pub struct Engine {
    poll: Poll,
    events: Events,
    scratch: Vec<u8>,
    filler: Filler,
    target: Target,
    plan: Plan,
    publishers: Vec<Option<Publisher>>,
    viewers: Vec<Option<Viewer>>,
    slow: Vec<usize>,
    next_sip_ns: u64,
    pictured: usize,
    alive: usize,
    /// What the viewers measure.
    pub measured: Measured,
    /// What went wrong.
    pub failures: Failures,
}

/// Tokens of publishers; those of viewers are even.
fn publisher_token(index: usize) -> Token {
    Token(index * 2 + 1)
}

fn register(poll: &Poll, link: &mut Link, token: Token) -> io::Result<()> {
    poll.registry().register(link.source(), token, Interest::READABLE | Interest::WRITABLE)
}

impl Engine {
    /// Nothing connected yet.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn new(target: Target, plan: Plan) -> io::Result<Self> {
        let measured = Measured { wall_offset_ns: clock::wall_offset_ns(), ..Measured::default() };
        Ok(Self {
            poll: Poll::new()?,
            events: Events::with_capacity(1024),
            scratch: vec![0; SCRATCH_BYTES],
            filler: Filler::new(plan.video_bytes(true).max(plan.audio_bytes())),
            target,
            plan,
            publishers: Vec::new(),
            viewers: Vec::new(),
            slow: Vec::new(),
            next_sip_ns: 0,
            pictured: 0,
            alive: 0,
            measured,
            failures: Failures::new(),
        })
    }

    /// Viewers that are connected or connecting.
    #[must_use]
    pub fn viewers(&self) -> usize {
        self.alive
    }

    /// Viewers that have seen a key frame.
    #[must_use]
    pub fn pictured(&self) -> usize {
        self.pictured
    }

    /// Whether all publishers are accepted.
    #[must_use]
    pub fn publishing(&self) -> bool {
        self.publishers.iter().all(|publisher| publisher.as_ref().is_some_and(Publisher::publishes))
    }

    /// Begins to publish stream `number`.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn publish(&mut self, number: u32) -> io::Result<()> {
        let mut publisher = Publisher::connect(&self.target, number, self.plan)?;
        register(&self.poll, publisher.link(), publisher_token(self.publishers.len()))?;
        self.publishers.push(Some(publisher));
        Ok(())
    }

    /// Begins to play stream `number` as viewer `place` of all viewers of the run; `raw` without RTMP.
    pub fn play(&mut self, number: u32, place: usize, depth: Depth, raw: bool) {
        let index = self.viewers.len();
        let connected = Viewer::connect(&self.target, number, place, depth, raw).and_then(|mut viewer| {
            register(&self.poll, viewer.link(), Token(index * 2))?;
            Ok(viewer)
        });
        match connected {
            Ok(viewer) => {
                self.alive += 1;
                if matches!(depth, Depth::Slow(_)) {
                    self.slow.push(index);
                }
                self.viewers.push(Some(viewer));
            }
            Err(error) => {
                self.viewers.push(None);
                self.fail(&error);
            }
        }
    }

    fn fail(&mut self, error: &io::Error) {
        *self.failures.entry(error.to_string()).or_default() += 1;
    }

    /// Runs until `until_ns`, or until `done` says so (asked after every turn).
    ///
    /// # Errors
    /// What the kernel said of the event loop itself; single connections only count as failures.
    pub fn run(&mut self, until_ns: u64, mut done: impl FnMut(&Self) -> bool) -> io::Result<()> {
        loop {
            let now_ns = clock::now_ns();
            if now_ns >= until_ns || done(self) {
                return Ok(());
            }
            self.turn(until_ns)?;
        }
    }

    /// One turn of the loop, no longer than until `until_ns`.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn turn(&mut self, until_ns: u64) -> io::Result<()> {
        let now_ns = clock::now_ns();
        let due = self.publishers.iter().flatten().filter_map(Publisher::next_ns).min();
        let wake_ns = due.unwrap_or(u64::MAX).min(until_ns).min(now_ns + TURN_NS);
        // Rounded up: epoll counts milliseconds, and waking too early would only spin.
        let wait = Duration::from_millis(wake_ns.saturating_sub(now_ns).div_ceil(1_000_000));
        let mut events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        match self.poll.poll(&mut events, Some(wait)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        self.tick();
        for (n, event) in events.iter().enumerate() {
            let Token(token) = event.token();
            if token % 2 == 1 {
                self.publisher_ready(token / 2);
            } else {
                self.viewer_ready(token / 2);
            }
            // Many viewers must not delay what is to be published.
            if n % 64 == 63 {
                self.tick();
            }
        }
        self.events = events;
        Ok(())
    }

    fn tick(&mut self) {
        let now_ns = clock::now_ns();
        let mut broken = Vec::new();
        for slot in &mut self.publishers {
            let ticked = slot.as_mut().map(|publisher| publisher.tick(&self.filler));
            if let Some(Err(error)) = ticked {
                broken.push(error);
                *slot = None;
            }
        }
        if now_ns >= self.next_sip_ns {
            self.next_sip_ns = now_ns + SIP_NS;
            for index in &self.slow {
                let Some(slot) = self.viewers.get_mut(*index) else { continue };
                let Some(viewer) = slot.as_mut().filter(|viewer| viewer.is_slow()) else { continue };
                if let Err(error) = viewer.sip(now_ns, &mut self.scratch, &mut self.measured) {
                    broken.push(error);
                    *slot = None;
                    self.alive -= 1;
                }
            }
        }
        for error in broken {
            self.fail(&error);
        }
    }

    fn publisher_ready(&mut self, index: usize) {
        let Some(slot) = self.publishers.get_mut(index) else { return };
        let ready = slot.as_mut().map(|publisher| publisher.ready(&mut self.scratch));
        if let Some(Err(error)) = ready {
            *slot = None;
            *self.failures.entry(format!("publisher: {error}")).or_default() += 1;
        }
    }

    fn viewer_ready(&mut self, index: usize) {
        let Some(slot) = self.viewers.get_mut(index) else { return };
        let Some(viewer) = slot.as_mut() else { return };
        let before = viewer.pictured();
        let ready = viewer.ready(&mut self.scratch, &mut self.measured);
        self.pictured += usize::from(!before && viewer.pictured());
        if let Err(error) = ready {
            *slot = None;
            self.alive -= 1;
            self.fail(&error);
        }
    }
}
