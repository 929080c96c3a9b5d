//! The floor: what it costs, and how long it takes, to put the same packets into the same number of sockets with nothing
//! else to do. One process, one loop, one `write` for each viewer and batch; no protocol, no streams, nobody is ever late.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use rtmp::MediaKind;

use crate::clock::now_ns;
use crate::descriptors;
use crate::frame::{self, Frame};
use crate::load::Load;
use crate::marker::{self, Filler, Marker};
use crate::outcome::Outcome;
use crate::proctree::ProcessTree;
use crate::synthetic::{Plan, Schedule};
use crate::target::Target;

/// What a viewer may be behind; then it loses a batch.
const MAX_REST_BYTES: usize = 8 << 20;

/// What the sender is to do.
#[derive(Debug, Clone, Args)]
pub struct Sender {
    /// Viewers that will come
    #[arg(long)]
    pub viewers: usize,
    /// Milliseconds between two writes to the same viewer; 0 for a write as soon as a packet is due
    #[arg(long)]
    pub interval_ms: u64,
    /// What is sent
    #[command(flatten)]
    pub plan: Plan,
}

/// A socket, and what it did not take last time.
struct Receiver {
    socket: TcpStream,
    rest: Vec<u8>,
}

impl Receiver {
    /// `false` when it is gone.
    fn write(&mut self, batch: &[u8]) -> bool {
        if !self.rest.is_empty() {
            if self.rest.len() < MAX_REST_BYTES {
                self.rest.extend_from_slice(batch);
            }
            let rest = std::mem::take(&mut self.rest);
            return self.write(&rest);
        }
        match self.socket.write(batch) {
            Ok(count) => {
                if let Some(rest) = batch.get(count..).filter(|rest| !rest.is_empty()) {
                    self.rest = rest.to_vec();
                }
                true
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                self.rest = batch.to_vec();
                true
            }
            Err(_) => false,
        }
    }
}

impl Sender {
    /// The sender's process: tells its port, accepts everybody, sends until a viewer goes.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn run(&self, out: &mut impl Write) -> Result<()> {
        let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        writeln!(out, "{}", listener.local_addr()?)?;
        out.flush()?;
        let mut viewers: Vec<Receiver> = Vec::with_capacity(self.viewers);
        while viewers.len() < self.viewers {
            let (socket, _) = listener.accept()?;
            socket.set_nonblocking(true)?;
            socket.set_nodelay(true)?;
            viewers.push(Receiver { socket, rest: Vec::new() });
        }
        let filler = Filler::new(self.plan.video_bytes(true).max(self.plan.audio_bytes()));
        let mut schedule = Schedule::new(self.plan, now_ns());
        let (mut batch, mut packet) = (Vec::new(), Vec::new());
        let interval_ns = self.interval_ms * 1_000_000;
        let mut due_ns = now_ns() + interval_ns;
        loop {
            if interval_ns == 0 {
                due_ns = schedule.next_ns();
            }
            std::thread::sleep(Duration::from_nanos(due_ns.saturating_sub(now_ns())));
            due_ns += interval_ns;
            batch.clear();
            let began_ns = now_ns();
            while let Some(due) = schedule.take(began_ns) {
                let len = match due.kind {
                    MediaKind::Video => self.plan.video_bytes(due.key),
                    _ => self.plan.audio_bytes(),
                };
                let marker = Marker { stream: 0, seq: due.seq, send_ns: began_ns };
                marker::write(&mut packet, due.kind, due.key, len, marker, &filler);
                frame::write(&mut batch, Frame { kind: due.kind, due_ns: due.due_ns, packet: &packet });
            }
            if !batch.is_empty() && !viewers.iter_mut().all(|viewer| viewer.write(&batch)) {
                return Ok(());
            }
        }
    }
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(viewers: usize, interval_ms: u64, plan: Plan) -> Result<(Running, Target)> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("floor-sender");
    let options = [
        ("--viewers", viewers as u64),
        ("--interval-ms", interval_ms),
        ("--video-kbps", plan.video_kbps),
        ("--audio-kbps", plan.audio_kbps),
        ("--fps", plan.fps),
        ("--gop-s", plan.gop_s),
    ];
    for (option, value) in options {
        command.arg(option).arg(value.to_string());
    }
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let stdout = child.stdout.take();
    let running = Running(child);
    let mut line = String::new();
    BufReader::new(stdout.context("the sender has an output")?).read_line(&mut line)?;
    let address: SocketAddr = line.trim().parse().context("the sender did not tell its port")?;
    Ok((running, Target::local(address)))
}

/// Measures the floor of `load` with a write every `interval_ms` (0: one for each packet). There is one sender as long as
/// one process may have that many sockets, else one for each generator.
///
/// # Errors
/// When the sender does not start, or the event loop fails.
pub fn measure(load: &Load, interval_ms: u64) -> Result<Outcome> {
    let load = Load { raw: true, early: 0, ..load.clone() };
    let generators = load.generators();
    let senders = if descriptors::fit(load.total()) { 1 } else { generators };
    let mut running = Vec::new();
    let mut targets = Vec::new();
    for sender in 0..senders {
        // Generator n plays from sender n modulo senders.
        let viewers = if senders == 1 { load.total() } else { load.share_of(sender, generators) };
        descriptors::require(viewers, "the floor's sender", "--generators")?;
        let (sender, target) = start(viewers, interval_ms, load.plan)?;
        running.push(sender);
        targets.push(target);
    }
    let tree = ProcessTree::new(running.iter().map(|sender| sender.0.id()).collect());
    load.run(&targets, &tree)
}
