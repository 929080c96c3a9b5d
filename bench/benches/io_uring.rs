//! What io_uring would spare: the same bytes into the same number of sockets, with a `send` for each, and with all sends of
//! a round submitted together. `cargo bench -p srs-bench --bench io_uring`; figures in docs/performance.md.
//!
//! Both senders take turns, so that a noisy machine disturbs both alike. Counted is the processor time of the sending
//! thread; what io_uring does in kernel threads would not be seen, so none is used (no SQPOLL).

#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::expect_used, clippy::cast_precision_loss)]

use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use io_uring::{IoUring, opcode, types};
use nix::time::{ClockId, clock_gettime};

const VIEWERS: usize = 1000;
const ROUNDS: usize = 40;
const TURNS: usize = 5;

fn cpu_ns() -> i64 {
    let time = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap();
    time.tv_sec() * 1_000_000_000 + time.tv_nsec()
}

fn pairs() -> (Vec<TcpStream>, Vec<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (0..VIEWERS)
        .map(|_| {
            let viewer = TcpStream::connect(address).unwrap();
            let (server, _) = listener.accept().unwrap();
            server.set_nonblocking(true).unwrap();
            server.set_nodelay(true).unwrap();
            viewer.set_nonblocking(true).unwrap();
            (server, viewer)
        })
        .unzip()
}

/// Takes and forgets what comes to all viewers, until told to stop.
fn drain(viewers: &[TcpStream], stop: &AtomicBool) {
    let mut poll = mio::Poll::new().unwrap();
    for (key, viewer) in viewers.iter().enumerate() {
        let mut source = mio::unix::SourceFd(&viewer.as_raw_fd());
        poll.registry().register(&mut source, mio::Token(key), mio::Interest::READABLE).unwrap();
    }
    let mut events = mio::Events::with_capacity(1024);
    let mut buffer = vec![0; 256 << 10];
    while !stop.load(Ordering::Relaxed) {
        poll.poll(&mut events, Some(std::time::Duration::from_millis(20))).unwrap();
        for event in &events {
            let Some(mut viewer) = viewers.get(event.token().0) else { continue };
            while matches!(io::Read::read(&mut viewer, &mut buffer), Ok(count) if count > 0) {}
        }
    }
}

/// One `send` for each socket. Returns how many took everything.
fn by_send(sockets: &[TcpStream], batch: &[u8]) -> usize {
    sockets
        .iter()
        .filter(|socket| matches!(io::Write::write(&mut &**socket, batch), Ok(count) if count == batch.len()))
        .count()
}

/// All sends with one system call.
fn by_ring(ring: &mut IoUring, batch: &[u8]) -> usize {
    let length = u32::try_from(batch.len()).unwrap();
    for slot in 0..VIEWERS {
        let slot = u32::try_from(slot).unwrap();
        let entry = opcode::Send::new(types::Fixed(slot), batch.as_ptr(), length)
            .flags(libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL)
            .build();
        // SAFETY: `batch` outlives the submission, which waits for all completions below; the kernel only reads it.
        unsafe { ring.submission().push(&entry) }.unwrap();
    }
    ring.submit_and_wait(VIEWERS).unwrap();
    let full = i32::try_from(batch.len()).unwrap();
    ring.completion().filter(|done| done.result() == full).count()
}

fn main() {
    let (servers, viewers) = pairs();
    let stop = Arc::new(AtomicBool::new(false));
    let sink = {
        let stop = Arc::clone(&stop);
        std::thread::spawn(move || drain(&viewers, &stop))
    };
    let ring = IoUring::builder().setup_single_issuer().setup_coop_taskrun().build(1024);
    let mut ring = match ring {
        Ok(ring) => ring,
        Err(error) => {
            println!("SKIPPED: this kernel gives no io_uring: {error}");
            stop.store(true, Ordering::Relaxed);
            sink.join().unwrap();
            return;
        }
    };
    let fds: Vec<i32> = servers.iter().map(AsRawFd::as_raw_fd).collect();
    ring.submitter().register_files(&fds).unwrap();
    println!(
        "{VIEWERS} sockets, ns of the sending thread for each send (median of {TURNS} turns in alternation)"
    );
    println!("{:>12} {:>10} {:>10} {:>7}", "bytes", "send", "io_uring", "ratio");
    for bytes in [140, 1_000, 2_500, 24_000] {
        let batch = vec![0xa5; bytes];
        let mut figures = [Vec::new(), Vec::new()];
        for _ in 0..TURNS {
            for (way, figures) in figures.iter_mut().enumerate() {
                let (mut spent, mut sent) = (0, 0);
                for _ in 0..ROUNDS {
                    let before = cpu_ns();
                    sent += if way == 0 { by_send(&servers, &batch) } else { by_ring(&mut ring, &batch) };
                    spent += cpu_ns() - before;
                    std::thread::sleep(std::time::Duration::from_millis(15));
                }
                figures.push(spent as f64 / sent.max(1) as f64);
            }
        }
        let [send, uring] = figures.map(|mut figures| {
            figures.sort_by(f64::total_cmp);
            figures.get(TURNS / 2).copied().unwrap_or_default()
        });
        println!("{bytes:>12} {send:>10.0} {uring:>10.0} {:>7.2}", uring / send);
    }
    stop.store(true, Ordering::Relaxed);
    sink.join().unwrap();
}
