//! One generator's share of a load: does what it is told, and keeps its connections going meanwhile.

use std::io::{BufRead, Write};
use std::sync::mpsc::{Receiver, TryRecvError, channel};

use anyhow::{Context, Result, bail};

use crate::clock::{now_ns, wall_offset_ns};
use crate::descriptors;
use crate::distribution::Samples;
use crate::engine::Engine;
use crate::generators::{Order, Reply};
use crate::load::{Load, Place, ns};
use crate::outcome::Part;

const SECOND_NS: u64 = 1_000_000_000;
/// How long publishers may take to be accepted, and the last viewers to see a picture.
const PATIENCE_NS: u64 = 15 * SECOND_NS;
/// Those who are there first come in no hurry.
const EARLY_PER_SECOND: u64 = 1000;

struct Share {
    load: Load,
    engine: Engine,
    share: usize,
    of: usize,
    before: Samples,
    during: Samples,
}

impl Share {
    fn new(order: Order) -> Result<Self> {
        let Order::Begin { load, target, share, of } = order else { bail!("the first order is to begin") };
        let mut engine = Engine::new(target, load.plan)?;
        if load.streams > 0 && !load.raw {
            for number in load.numbers().into_iter().skip(share).step_by(of.max(1)) {
                engine.publish(number)?;
            }
            engine.run(now_ns() + PATIENCE_NS, Engine::publishing)?;
            if !engine.publishing() {
                bail!("the server does not accept our streams: {:?}", engine.failures);
            }
            engine.run(now_ns() + SECOND_NS / 2, |_| false)?;
        }
        Ok(Self { load: *load, engine, share, of, before: Samples::default(), during: Samples::default() })
    }

    /// Lets in those of `places` that are ours; all of them come within `within_ns`.
    fn come(&mut self, places: Vec<Place>, from_ns: u64, within_ns: u64) -> Result<()> {
        let total = places.len().max(1) as u64;
        for (index, place) in places.into_iter().enumerate().skip(self.share).step_by(self.of.max(1)) {
            self.engine.run(from_ns + within_ns / total * index as u64, |_| false)?;
            // Late or not, what happened meanwhile is looked at between connects.
            self.engine.turn(now_ns())?;
            self.engine.play(place.stream, place.number, place.depth, self.load.raw);
        }
        let all = |engine: &Engine| engine.pictured() >= engine.viewers();
        Ok(self.engine.run(now_ns() + PATIENCE_NS, all)?)
    }

    /// Latencies count for packets that are sent from now on.
    fn begin_window(&mut self) {
        let measured = &mut self.engine.measured;
        measured.latency.clear();
        measured.latency_due.clear();
        measured.count_from_ns = now_ns();
        measured.wall_offset_ns = wall_offset_ns();
    }

    fn obey(&mut self, order: Order) -> Result<Reply> {
        match order {
            Order::Begin { .. } => bail!("it has begun already"),
            Order::Early => {
                let places = self.load.early_places();
                let within_ns = places.len() as u64 * SECOND_NS / EARLY_PER_SECOND;
                self.come(places, now_ns(), within_ns)?;
            }
            Order::Watch { from_ns, to_ns } => {
                self.engine.run(from_ns, |_| false)?;
                self.begin_window();
                self.engine.run(to_ns, |_| false)?;
                self.before = std::mem::take(&mut self.engine.measured.latency);
            }
            Order::Come { from_ns } => {
                self.engine.measured.first_picture.clear();
                self.engine.run(from_ns, |_| false)?;
                self.begin_window();
                self.come(self.load.places(), from_ns, ns(self.load.within))?;
                self.during = std::mem::take(&mut self.engine.measured.latency);
            }
            Order::Measure { from_ns, to_ns } => {
                self.engine.run(from_ns, |_| false)?;
                self.begin_window();
                let before = self.engine.measured.bytes;
                self.engine.run(to_ns, |_| false)?;
                return Ok(Reply::Measured(Box::new(self.part(before))));
            }
        }
        Ok(Reply::Ready)
    }

    fn part(&mut self, bytes_before: u64) -> Part {
        let engine = &mut self.engine;
        Part {
            pictured: engine.pictured(),
            stayed: engine.viewers(),
            bytes: engine.measured.bytes - bytes_before,
            latency: engine.measured.latency.clone(),
            latency_due: engine.measured.latency_due.clone(),
            before: std::mem::take(&mut self.before),
            during: std::mem::take(&mut self.during),
            first_picture: engine.measured.first_picture.clone(),
            findings: engine.measured.findings.clone(),
            slow: engine.measured.slow.clone(),
            failures: std::mem::take(&mut engine.failures),
        }
    }

    /// Keeps the connections going until there is an order; `None` when there will be none.
    fn next_order(&mut self, orders: &Receiver<Order>) -> Result<Option<Order>> {
        loop {
            match orders.try_recv() {
                Ok(order) => return Ok(Some(order)),
                Err(TryRecvError::Disconnected) => return Ok(None),
                Err(TryRecvError::Empty) => self.engine.turn(u64::MAX)?,
            }
        }
    }
}

fn answer(out: &mut impl Write, reply: &Reply) -> Result<()> {
    let mut line = serde_json::to_vec(reply)?;
    line.push(b'\n');
    out.write_all(&line)?;
    Ok(out.flush()?)
}

/// The process of a generator: orders come in line by line, until there are no more.
///
/// # Errors
/// When whoever gives the orders is gone; what goes wrong with the load is answered.
pub fn run(out: &mut impl Write) -> Result<()> {
    descriptors::raise_limit();
    let (sender, orders) = channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            let order = line.ok().and_then(|line| serde_json::from_str(&line).ok());
            if order.is_none_or(|order| sender.send(order).is_err()) {
                return;
            }
        }
    });
    let first = orders.recv().context("there is no order")?;
    let mut share = match Share::new(first) {
        Ok(share) => share,
        Err(error) => return answer(out, &Reply::Failed(format!("{error:#}"))),
    };
    answer(out, &Reply::Ready)?;
    while let Some(order) = share.next_order(&orders)? {
        match share.obey(order) {
            Ok(reply) => answer(out, &reply)?,
            Err(error) => return answer(out, &Reply::Failed(format!("{error:#}"))),
        }
    }
    Ok(())
}
