//! The floor: what it costs to put the same bytes into the same number of sockets with nothing else to do. One process,
//! one loop, one `write` for each viewer and interval; no protocol, no streams, nobody is ever late.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;

use crate::clock::now_ns;
use crate::load::{Load, Outcome};
use crate::proctree::ProcessTree;
use crate::target::Target;

/// What the sender is to do.
#[derive(Debug, Clone, Args)]
pub struct Sender {
    /// Viewers that will come
    #[arg(long)]
    pub viewers: usize,
    /// Bytes per second for each of them
    #[arg(long)]
    pub rate: u64,
    /// Milliseconds between two writes to the same viewer
    #[arg(long)]
    pub interval_ms: u64,
}

impl Sender {
    /// The sender's process: tells its port, accepts everybody, sends until its standard input ends.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn run(&self, out: &mut impl Write) -> Result<()> {
        crate::raise_descriptor_limit();
        let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        writeln!(out, "{}", listener.local_addr()?)?;
        out.flush()?;
        let mut viewers: Vec<TcpStream> = Vec::with_capacity(self.viewers);
        while viewers.len() < self.viewers {
            let (viewer, _) = listener.accept()?;
            viewer.set_nonblocking(true)?;
            viewer.set_nodelay(true)?;
            viewers.push(viewer);
        }
        let bytes = usize::try_from(self.rate * self.interval_ms / 1000)?;
        let batch = vec![0xa5_u8; bytes];
        let interval_ns = self.interval_ms * 1_000_000;
        let mut due_ns = now_ns();
        loop {
            for viewer in &mut viewers {
                match viewer.write(&batch) {
                    Err(error) if !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                        return Ok(());
                    }
                    _ => {}
                }
            }
            due_ns += interval_ns;
            std::thread::sleep(Duration::from_nanos(due_ns.saturating_sub(now_ns())));
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

/// Measures the floor of `load` with a write every `interval_ms`.
///
/// # Errors
/// When the sender does not start, or the event loop fails.
pub fn measure(load: &Load, interval_ms: u64) -> Result<Outcome> {
    let viewers = load.viewers * load.streams.max(1) as usize;
    let rate = load.plan.bytes_per_second();
    let mut child = Command::new(std::env::current_exe()?)
        .args(["floor-sender", "--viewers", &viewers.to_string(), "--rate", &rate.to_string()])
        .args(["--interval-ms", &interval_ms.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let stdout = child.stdout.take().context("the sender has an output")?;
    let running = Running(child);
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line)?;
    let address: SocketAddr = line.trim().parse().context("the sender did not tell its port")?;
    let load = Load { raw: true, ..load.clone() };
    load.run(&Target::local(address), &ProcessTree::new(vec![running.0.id()]))
}
