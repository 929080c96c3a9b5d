//! A meter on the line: a relay before the server that counts every byte in both directions, whoever the clients are. It
//! knows nothing of RTMP or of the server's counters.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

/// Counts what passes.
#[derive(Debug)]
pub struct Meter {
    address: SocketAddr,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    to_server: AtomicU64,
    from_server: AtomicU64,
    connections: AtomicU64,
    over: AtomicBool,
}

impl Meter {
    /// A relay to `server`.
    ///
    /// # Panics
    /// When no port is free.
    #[must_use]
    pub fn before(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("a port");
        let counts = Arc::new(Counts::default());
        let shared = Arc::clone(&counts);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if shared.over.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(server) = TcpStream::connect(server) else { continue };
                shared.connections.fetch_add(1, Ordering::Relaxed);
                relay(&client, &server, &shared, true);
                relay(&server, &client, &shared, false);
            }
        });
        Self { address, counts }
    }

    /// Where clients connect to.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Bytes that the server was sent.
    #[must_use]
    pub fn to_server(&self) -> u64 {
        self.counts.to_server.load(Ordering::Relaxed)
    }

    /// Bytes that came from the server.
    #[must_use]
    pub fn from_server(&self) -> u64 {
        self.counts.from_server.load(Ordering::Relaxed)
    }

    /// Connections so far.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.counts.connections.load(Ordering::Relaxed)
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.counts.over.store(true, Ordering::Relaxed);
        drop(TcpStream::connect(self.address));
    }
}

/// Copies one direction until its end, in a thread of its own.
fn relay(from: &TcpStream, to: &TcpStream, counts: &Arc<Counts>, upwards: bool) {
    let (Ok(mut from), Ok(mut to)) = (from.try_clone(), to.try_clone()) else { return };
    let _ = (from.set_nodelay(true), to.set_nodelay(true));
    let counts = Arc::clone(counts);
    let copy = move || {
        let counter = if upwards { &counts.to_server } else { &counts.from_server };
        let mut buffer = vec![0; 64 << 10];
        while let Ok(count) = from.read(&mut buffer) {
            if count == 0 {
                break;
            }
            let bytes = &buffer[..count];
            if !upwards {
                counter.fetch_add(count as u64, Ordering::Relaxed);
            }
            if to.write_all(bytes).is_err() {
                break;
            }
            if upwards {
                counter.fetch_add(count as u64, Ordering::Relaxed);
            }
        }
        // What the server has still to say is counted though its client has gone.
        if upwards {
            drop(to.shutdown(Shutdown::Write));
        } else {
            while let Ok(count @ 1..) = from.read(&mut buffer) {
                counter.fetch_add(count as u64, Ordering::Relaxed);
            }
            drop(to.shutdown(Shutdown::Both));
        }
    };
    drop(thread::Builder::new().stack_size(256 << 10).spawn(copy));
}
