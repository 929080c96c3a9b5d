//! The private API: a thread that answers HTTP on loopback with what the loop tells it.
//!
//! The loop is asked through a channel and a waker, and answers when it comes round; a loop that hangs makes the API say
//! so after a second, never hang itself. Nobody is answered without the token: loopback is open to every user of the host.

use std::io::Read;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use api::Token;
use mio::{Token as LoopToken, Waker};
use serde_json::json;
use tiny_http::{Header, Method, Request, Response, Server};

/// Token of the API's waker in the child's loop.
pub const API_TOKEN: LoopToken = LoopToken(1);

/// How long the loop may take.
const PATIENCE: Duration = Duration::from_secs(1);

/// Answers that wait for clients to take them. A client that takes nothing keeps one thread, and holds up nobody.
const MOST_TAKING: usize = 16;
/// Longest body of a request.
const MOST_BODY: u64 = 16 << 10;
/// How long to rest when the kernel has no descriptor for a client.
const REST: Duration = Duration::from_millis(100);

/// Where an answer goes.
#[derive(Debug)]
pub struct Reply<T>(SyncSender<T>);

impl<T> Reply<T> {
    /// Answers.
    pub fn answer(self, answer: T) {
        let _ = self.0.send(answer);
    }
}

/// A question for the loop.
#[derive(Debug)]
pub enum Query {
    /// What it knows.
    Report {
        /// Its connections, too.
        with_clients: bool,
        /// The answer.
        reply: Reply<api::Report>,
    },
    /// Record a stream from now on, or no longer.
    Record {
        /// Which.
        record: api::Record,
        /// The answer.
        reply: Reply<api::RecordAnswer>,
    },
    /// Close the connection of this id. The answer says whether there is one.
    Kick {
        /// The id.
        id: u64,
        /// The answer.
        reply: Reply<bool>,
    },
}

/// The loop's end of the API.
#[derive(Debug)]
pub struct PrivateApi {
    queries: Receiver<Query>,
    port: u16,
}

impl PrivateApi {
    /// Binds a port on loopback (`port` 0: any; one that is taken: any) and begins to answer those who have the token.
    ///
    /// # Errors
    /// When no port can be bound.
    pub fn start(port: u16, token: Token, waker: Waker) -> std::io::Result<Self> {
        let bind = |port| TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], port)));
        let listener = bind(port).or_else(|_| bind(0))?;
        let port = listener.local_addr()?.port();
        let mut server = serve(&listener)?;
        let (sender, queries) = sync_channel(16);
        let asker = Asker { token, sender, waker };
        thread::Builder::new().name("private-api".to_owned()).stack_size(256 << 10).spawn(move || {
            let taking = Arc::new(AtomicUsize::new(0));
            loop {
                match server.recv() {
                    Ok(mut request) => {
                        let response = asker.answer(&mut request);
                        give(request, response, &taking);
                    }
                    // It listens no more after one accept that failed: another one goes on with the same socket.
                    Err(_) => {
                        thread::sleep(REST);
                        if let Ok(next) = serve(&listener) {
                            server = next;
                        }
                    }
                }
            }
        })?;
        Ok(Self { queries, port })
    }

    /// The port on loopback.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The next question, if one waits.
    #[must_use]
    pub fn next(&self) -> Option<Query> {
        self.queries.try_recv().ok()
    }
}

fn serve(listener: &TcpListener) -> std::io::Result<Server> {
    Server::from_listener(listener.try_clone()?, None).map_err(std::io::Error::other)
}

/// Gives a client its answer, at its own pace.
fn give(request: Request, response: Answer, taking: &Arc<AtomicUsize>) {
    if taking.fetch_add(1, Ordering::Relaxed) >= MOST_TAKING {
        taking.fetch_sub(1, Ordering::Relaxed);
        // Short enough for the socket's buffer.
        let _ = request.respond(error(503, "too many answers wait to be taken"));
        return;
    }
    let counted = Arc::clone(taking);
    let respond = move || {
        let _ = request.respond(response);
        counted.fetch_sub(1, Ordering::Relaxed);
    };
    if thread::Builder::new().name("private-api".to_owned()).stack_size(128 << 10).spawn(respond).is_err() {
        taking.fetch_sub(1, Ordering::Relaxed);
    }
}

type Answer = Response<std::io::Cursor<Vec<u8>>>;

struct Asker {
    token: Token,
    sender: SyncSender<Query>,
    waker: Waker,
}

impl Asker {
    fn answer(&self, request: &mut Request) -> Answer {
        if !self.is_allowed(request) {
            return error(401, "this private API needs the server's token: Authorization: Bearer TOKEN");
        }
        let url = request.url().to_owned();
        let path = url.split('?').next().unwrap_or("");
        let kicked = path.strip_prefix("/api/v1/clients/").and_then(|id| id.parse::<u64>().ok());
        let method = request.method().clone();
        match (method, path, kicked) {
            (Method::Get, "/api/v1/report" | "/api/v1/brief", _) => {
                let with_clients = path.ends_with("report");
                match self.ask(|reply| Query::Report { with_clients, reply }) {
                    Some(report) => json(200, &report),
                    None => silent(),
                }
            }
            (Method::Delete, _, Some(id)) => match self.ask(|reply| Query::Kick { id, reply }) {
                Some(kicked) => json(200, &api::Kicked { id, kicked }),
                None => silent(),
            },
            (Method::Post, "/api/v1/dvr", _) => {
                let mut body = Vec::new();
                let read = request.as_reader().take(MOST_BODY).read_to_end(&mut body);
                match read.map(|_| serde_json::from_slice(&body)) {
                    Ok(Ok(record)) => match self.ask(|reply| Query::Record { record, reply }) {
                        Some(answer) => json(200, &answer),
                        None => silent(),
                    },
                    _ => error(400, "the body does not say which stream"),
                }
            }
            _ => error(
                404,
                "this private API knows /api/v1/report, /api/v1/brief, POST /api/v1/dvr and DELETE /api/v1/clients/ID",
            ),
        }
    }

    fn is_allowed(&self, request: &Request) -> bool {
        let said = request.headers().iter().find(|header| header.field.equiv("Authorization"));
        let token = said.and_then(|header| header.value.as_str().strip_prefix("Bearer "));
        token.is_some_and(|token| self.token.matches(token))
    }

    fn ask<T>(&self, query: impl FnOnce(Reply<T>) -> Query) -> Option<T> {
        let (reply, answers) = sync_channel(1);
        let asked = self.sender.try_send(query(Reply(reply))).is_ok() && self.waker.wake().is_ok();
        if asked { answers.recv_timeout(PATIENCE).ok() } else { None }
    }
}

fn silent() -> Answer {
    error(503, "the process does not answer")
}

fn error(status: u16, sentence: &str) -> Answer {
    json(status, &json!({"code": status, "error": sentence}))
}

fn json(status: u16, body: &impl serde::Serialize) -> Answer {
    let response = Response::from_data(serde_json::to_vec(body).unwrap_or_default()).with_status_code(status);
    match Header::from_bytes("Content-Type", "application/json;charset=utf-8") {
        Ok(header) => response.with_header(header),
        Err(()) => response,
    }
}
