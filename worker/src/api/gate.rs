//! The gate before the management API. It accepts connections, takes in a whole request under limits and a deadline, lets
//! the API answer it, and gives the answer to the client at the client's pace. The API behind it (`server.rs`, on tiny_http)
//! sees only whole small requests of clients that are always there to take the answer, so that nobody who is slow, greedy
//! or hostile costs it a thread.
//!
//! One loop, one thread; a request a connection.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;

use mio::{Token, Waker};
use reactor::Reactor;
use slab::Slab;

use super::head::{self, Head};

/// Connections at the same time. Whoever is slowest makes room.
const MOST: usize = 512;
/// Requests that the API works on at the same time.
const MOST_ASKED: usize = 16;
/// Bytes of all answers that clients have not taken.
const MOST_WAITING: usize = 64 << 20;
/// How long a client may take for its whole request, ms.
const HEAD_MS: u64 = 5_000;
/// How long the API may take, ms.
const ANSWER_MS: u64 = 15_000;
/// How long a client may take for the whole answer, ms.
const TAKE_MS: u64 = 30_000;
/// How long a client may take to close after the answer, ms.
const LINGER_MS: u64 = 1_000;
/// How often deadlines are looked at, ms.
const LOOK_MS: u64 = 100;
/// How long accepting rests when no descriptor is left, ms.
const REST_MS: u64 = 100;

const WAKER: Token = Token(0);
const FIRST_LISTENER: usize = 1;
const FIRST_CONNECTION: usize = 1024;

/// What is asked of the gate.
enum Order {
    Listen(SocketAddr, TcpListener),
    Leave(SocketAddr),
}

/// The handle of a gate.
pub(crate) struct Gate {
    orders: Sender<Order>,
    waker: Arc<Waker>,
    listening: Mutex<Vec<(SocketAddr, OwnedFd)>>,
}

impl Gate {
    /// Opens a gate before the API that listens on the Unix socket `api`.
    pub(crate) fn open(api: PathBuf) -> std::io::Result<Self> {
        let reactor = Reactor::new()?;
        let waker = Arc::new(reactor.waker(WAKER)?);
        let (sender, orders) = channel();
        let keeper = Keeper {
            reactor,
            orders,
            api,
            listeners: Slab::new(),
            connections: Slab::new(),
            queue: VecDeque::new(),
            asked: 0,
            rest_until_ms: 0,
        };
        thread::Builder::new()
            .name("api-gate".to_owned())
            .stack_size(512 << 10)
            .spawn(move || keeper.run())?;
        Ok(Self { orders: sender, waker, listening: Mutex::new(Vec::new()) })
    }

    /// Accepts on a socket, too.
    pub(crate) fn listen(&self, address: SocketAddr, socket: OwnedFd) -> std::io::Result<()> {
        let copy = socket.try_clone()?;
        let listener = TcpListener::from(socket);
        listener.set_nonblocking(true)?;
        if let Ok(mut listening) = self.listening.lock() {
            // A master that was not heard to the end gives all again.
            if listening.iter().any(|(known, _)| *known == address) {
                return Ok(());
            }
            listening.push((address, copy));
        }
        self.order(Order::Listen(address, listener))
    }

    /// Accepts no more there.
    pub(crate) fn leave(&self, address: SocketAddr) -> std::io::Result<()> {
        if let Ok(mut listening) = self.listening.lock() {
            listening.retain(|(known, _)| *known != address);
        }
        self.order(Order::Leave(address))
    }

    /// Where it accepts, with a duplicate of each socket.
    pub(crate) fn duplicates(&self) -> (Vec<SocketAddr>, Vec<OwnedFd>) {
        let Ok(listening) = self.listening.lock() else { return (Vec::new(), Vec::new()) };
        listening.iter().filter_map(|(address, fd)| Some((*address, fd.try_clone().ok()?))).unzip()
    }

    fn order(&self, order: Order) -> std::io::Result<()> {
        self.orders.send(order).map_err(std::io::Error::other)?;
        self.waker.wake()
    }
}

struct Listener {
    socket: TcpListener,
    address: SocketAddr,
    ready: bool,
}

enum Stage {
    /// The request is coming in.
    Asking { bytes: Vec<u8>, door: SocketAddr },
    /// It waits for its turn.
    Queued { request: Vec<u8> },
    /// The API works on it.
    Answering { api: UnixStream, request: Vec<u8>, answer: Vec<u8> },
    /// The answer goes out.
    Taking { answer: Vec<u8>, taken: usize },
    /// The client is to close.
    Closing,
}

struct FrontConnection {
    socket: TcpStream,
    peer: SocketAddr,
    stage: Stage,
    until_ms: u64,
    since_ms: u64,
}

struct Keeper {
    reactor: Reactor,
    orders: Receiver<Order>,
    api: PathBuf,
    listeners: Slab<Listener>,
    connections: Slab<FrontConnection>,
    queue: VecDeque<usize>,
    asked: usize,
    rest_until_ms: u64,
}

impl Keeper {
    fn run(mut self) {
        let mut ready = Vec::new();
        let mut next_look_ms = 0;
        loop {
            let now_ms = reactor::now_ms();
            let waits = self.listeners.iter().any(|(_, listener)| listener.ready);
            let deadline = match (self.connections.is_empty(), waits) {
                (_, true) => Some(self.rest_until_ms),
                (true, false) => None,
                (false, false) => Some(next_look_ms),
            };
            if self.reactor.wait(deadline, &mut ready).is_err() {
                // Nothing that this thread could do about it; the next turn tries again.
                thread::sleep(std::time::Duration::from_millis(LOOK_MS));
            }
            for event in std::mem::take(&mut ready) {
                match event.token.0 {
                    0 => {
                        if !self.obey() {
                            return;
                        }
                    }
                    token if token < FIRST_CONNECTION => {
                        if let Some(listener) = self.listeners.get_mut(token - FIRST_LISTENER) {
                            listener.ready = true;
                        }
                    }
                    token => self.serve((token - FIRST_CONNECTION) / 2),
                }
            }
            self.accept();
            self.ask_next();
            if now_ms >= next_look_ms {
                next_look_ms = now_ms + LOOK_MS;
                self.look();
            }
        }
    }

    /// Returns whether there is still somebody who orders.
    fn obey(&mut self) -> bool {
        loop {
            match self.orders.try_recv() {
                Ok(Order::Listen(address, socket)) => {
                    let fd = socket.as_raw_fd();
                    let key = self.listeners.insert(Listener { socket, address, ready: true });
                    let token = Token(FIRST_LISTENER + key);
                    if FIRST_LISTENER + key >= FIRST_CONNECTION
                        || self.reactor.register_readable(fd, token).is_err()
                    {
                        tracing::error!("the API on {address} can't be served");
                        self.listeners.remove(key);
                    }
                }
                Ok(Order::Leave(address)) => {
                    let (reactor, listeners) = (&self.reactor, &mut self.listeners);
                    listeners.retain(|_, listener| {
                        let stays = listener.address != address;
                        if !stays {
                            let _ = reactor.deregister(listener.socket.as_raw_fd());
                        }
                        stays
                    });
                }
                Err(std::sync::mpsc::TryRecvError::Empty) => return true,
                Err(std::sync::mpsc::TryRecvError::Disconnected) => return false,
            }
        }
    }

    fn accept(&mut self) {
        let now_ms = reactor::now_ms();
        if now_ms < self.rest_until_ms {
            return;
        }
        let mut accepted = Vec::new();
        for (_, listener) in &mut self.listeners {
            while listener.ready && accepted.len() < 64 {
                match listener.socket.accept() {
                    Ok((socket, peer)) => accepted.push((socket, peer, listener.address)),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => listener.ready = false,
                    Err(error) if matches!(error.raw_os_error(), Some(24 | 23 | 105 | 12)) => {
                        self.rest_until_ms = now_ms + REST_MS;
                        break;
                    }
                    Err(_) => {}
                }
            }
        }
        for (socket, peer, door) in accepted {
            if self.connections.len() >= MOST {
                self.make_room();
            }
            if socket.set_nonblocking(true).is_err() {
                continue;
            }
            let _ = socket.set_nodelay(true);
            let fd = socket.as_raw_fd();
            let stage = Stage::Asking { bytes: Vec::new(), door };
            let key = self.connections.insert(FrontConnection {
                socket,
                peer,
                stage,
                until_ms: now_ms + HEAD_MS,
                since_ms: now_ms,
            });
            if self.reactor.register(fd, Token(FIRST_CONNECTION + 2 * key)).is_err() {
                self.connections.remove(key);
                continue;
            }
            self.serve(key);
        }
    }

    /// The oldest of those who are slow goes: who closes first, then who asks, then who takes.
    fn make_room(&mut self) {
        let rank = |stage: &Stage| match stage {
            Stage::Closing => 0,
            Stage::Asking { .. } => 1,
            Stage::Taking { .. } => 2,
            Stage::Queued { .. } | Stage::Answering { .. } => 3,
        };
        let slowest = self.connections.iter().min_by_key(|(_, c)| (rank(&c.stage), c.since_ms));
        if let Some((key, _)) = slowest {
            self.close(key);
        }
    }

    fn close(&mut self, key: usize) {
        let Some(connection) = self.connections.try_remove(key) else { return };
        if matches!(connection.stage, Stage::Answering { .. }) {
            self.asked -= 1;
        }
        self.queue.retain(|queued| *queued != key);
    }

    /// Deadlines, and the bound of what waits.
    fn look(&mut self) {
        let now_ms = reactor::now_ms();
        let late: Vec<usize> =
            self.connections.iter().filter(|(_, c)| now_ms >= c.until_ms).map(|(key, _)| key).collect();
        for key in late {
            match self.connections.get(key).map(|connection| &connection.stage) {
                Some(Stage::Asking { .. }) => self.refuse(key, 408, "the request did not come in time"),
                Some(Stage::Answering { .. } | Stage::Queued { .. }) => {
                    self.refuse(key, 503, "the server takes too long");
                }
                _ => self.close(key),
            }
        }
        let waiting = |connection: &FrontConnection| match &connection.stage {
            Stage::Taking { answer, .. } | Stage::Answering { answer, .. } => answer.len(),
            _ => 0,
        };
        while self.connections.iter().map(|(_, connection)| waiting(connection)).sum::<usize>() > MOST_WAITING
        {
            let largest = self.connections.iter().max_by_key(|(_, c)| (waiting(c), u64::MAX - c.since_ms));
            let Some((key, _)) = largest else { return };
            self.close(key);
        }
    }

    /// Does what can be done for a connection now.
    fn serve(&mut self, key: usize) {
        while let Some(connection) = self.connections.get_mut(key) {
            let next = match &mut connection.stage {
                Stage::Asking { bytes, door } => {
                    let door = *door;
                    match read_some(&mut connection.socket, bytes, head::MOST_BYTES + head::MOST_BODY + 1) {
                        Progress::Blocked => Step::Wait,
                        progress => match head::read(bytes) {
                            Head::Partial if matches!(progress, Progress::Over) => Step::Close,
                            Head::Partial => Step::Again,
                            Head::Bad(status, why) => Step::Refuse(status, why),
                            Head::Whole(whole) => Step::Next(whole.request(connection.peer.ip(), door)),
                        },
                    }
                }
                Stage::Queued { .. } => Step::Wait,
                Stage::Answering { api, request, answer } => exchange(api, request, answer),
                Stage::Taking { answer, taken } => give(&mut connection.socket, answer, taken),
                Stage::Closing => match read_some(&mut connection.socket, &mut Vec::new(), 1 << 16) {
                    Progress::Some => Step::Again,
                    Progress::Blocked => Step::Wait,
                    Progress::Over => Step::Close,
                },
            };
            match next {
                Step::Wait => return,
                Step::Again => {}
                Step::Close => {
                    self.close(key);
                    return;
                }
                Step::Refuse(status, why) => self.refuse(key, status, why),
                Step::Next(request) => {
                    connection.stage = Stage::Queued { request };
                    connection.until_ms = reactor::now_ms() + ANSWER_MS;
                    self.queue.push_back(key);
                    return;
                }
                Step::Answered(answer) => {
                    self.asked -= 1;
                    if answer.is_empty() {
                        connection.stage = Stage::Closing;
                        self.close(key);
                        return;
                    }
                    connection.stage = Stage::Taking { answer, taken: 0 };
                    connection.until_ms = reactor::now_ms() + TAKE_MS;
                }
                Step::Taken => {
                    let _ = connection.socket.shutdown(Shutdown::Write);
                    connection.stage = Stage::Closing;
                    connection.until_ms = reactor::now_ms() + LINGER_MS;
                }
            }
        }
    }

    /// Answers in the API's stead.
    fn refuse(&mut self, key: usize, status: u16, why: &str) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        if matches!(connection.stage, Stage::Answering { .. }) {
            self.asked -= 1;
        }
        self.queue.retain(|queued| *queued != key);
        connection.stage = Stage::Taking { answer: head::refusal(status, why), taken: 0 };
        connection.until_ms = reactor::now_ms() + LINGER_MS;
        self.serve(key);
    }

    /// Lets the API work on what waits.
    fn ask_next(&mut self) {
        while self.asked < MOST_ASKED
            && let Some(key) = self.queue.pop_front()
        {
            let Some(connection) = self.connections.get_mut(key) else { continue };
            let Stage::Queued { request } = &mut connection.stage else { continue };
            let request = std::mem::take(request);
            let api = UnixStream::connect(&self.api).and_then(|api| {
                api.set_nonblocking(true)?;
                self.reactor.register(api.as_raw_fd(), Token(FIRST_CONNECTION + 2 * key + 1))?;
                Ok(api)
            });
            match api {
                Ok(api) => {
                    connection.stage = Stage::Answering { api, request, answer: Vec::new() };
                    self.asked += 1;
                    self.serve(key);
                }
                Err(error) => {
                    tracing::error!("the API behind the gate can't be asked: {error}");
                    self.refuse(key, 503, "the API can't be asked");
                }
            }
        }
    }
}

enum Step {
    Wait,
    Again,
    Close,
    Refuse(u16, &'static str),
    Next(Vec<u8>),
    Answered(Vec<u8>),
    Taken,
}

enum Progress {
    Some,
    Blocked,
    Over,
}

fn read_some(socket: &mut impl Read, bytes: &mut Vec<u8>, most: usize) -> Progress {
    let mut buffer = [0; 8192];
    loop {
        if bytes.len() >= most {
            return Progress::Some;
        }
        match socket.read(&mut buffer) {
            Ok(0) => return Progress::Over,
            Ok(count) => {
                bytes.extend_from_slice(buffer.get(..count).unwrap_or(&[]));
                return Progress::Some;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Progress::Blocked,
            Err(_) => return Progress::Over,
        }
    }
}

/// Gives the API its request, and takes its answer until it closes.
fn exchange(api: &mut UnixStream, request: &mut Vec<u8>, answer: &mut Vec<u8>) -> Step {
    while !request.is_empty() {
        match api.write(request) {
            Ok(count) if count > 0 => drop(request.drain(..count)),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Step::Wait,
            _ => return Step::Answered(Vec::new()),
        }
    }
    match read_some(api, answer, MOST_WAITING) {
        Progress::Some if answer.len() >= MOST_WAITING => Step::Refuse(500, "the answer is too long"),
        Progress::Some => Step::Again,
        Progress::Blocked => Step::Wait,
        Progress::Over => Step::Answered(std::mem::take(answer)),
    }
}

/// Gives the client what it takes of its answer.
fn give(socket: &mut TcpStream, answer: &[u8], taken: &mut usize) -> Step {
    loop {
        let rest = answer.get(*taken..).unwrap_or(&[]);
        if rest.is_empty() {
            return Step::Taken;
        }
        match socket.write(rest) {
            Ok(count) if count > 0 => *taken += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Step::Wait,
            _ => return Step::Close,
        }
    }
}
