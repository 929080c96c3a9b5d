//! The private API: a thread that answers HTTP on loopback with what the loop tells it.
//!
//! The loop is asked through a channel and a waker, and answers when it comes round; a loop that hangs makes the API say
//! so after a second, never hang itself. Nobody is answered without the token: loopback is open to every user of the host.

use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use api::SharedToken;
use mio::{Token as LoopToken, Waker};
use serde_json::json;

use crate::loopback::{self, Answer, Request};

/// Token of the API's waker in the child's loop.
pub(crate) const API_TOKEN: LoopToken = LoopToken(1);

/// How long the loop may take.
const PATIENCE: Duration = Duration::from_secs(1);

/// Where an answer goes.
#[derive(Debug)]
pub(crate) struct Reply<T>(SyncSender<T>);

impl<T> Reply<T> {
    /// Answers.
    pub(crate) fn answer(self, answer: T) {
        let _ = self.0.send(answer);
    }
}

/// A question for the loop.
#[derive(Debug)]
pub(crate) enum Query {
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
pub(crate) struct PrivateApi {
    queries: Receiver<Query>,
    port: u16,
}

impl PrivateApi {
    /// Binds a port on loopback (`port` 0: any; one that is taken: any) and begins to answer those who have the token.
    ///
    /// # Errors
    /// When no port can be bound.
    pub(crate) fn start(port: u16, token: SharedToken, waker: Waker) -> std::io::Result<Self> {
        let bind = |port| TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], port)));
        let listener = bind(port).or_else(|_| bind(0))?;
        let port = listener.local_addr()?.port();
        let (sender, queries) = sync_channel(16);
        let asker = Asker { token, sender, waker };
        loopback::serve(listener, move |request| asker.answer(request))?;
        Ok(Self { queries, port })
    }

    /// The port on loopback.
    #[must_use]
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The next question, if one waits.
    #[must_use]
    pub(crate) fn next(&self) -> Option<Query> {
        self.queries.try_recv().ok()
    }
}

struct Asker {
    token: SharedToken,
    sender: SyncSender<Query>,
    waker: Waker,
}

impl Asker {
    fn answer(&self, request: &Request) -> Answer {
        if !request.bearer.as_deref().is_some_and(|token| self.token.get().matches(token)) {
            return error(401, "this private API needs the server's token: Authorization: Bearer TOKEN");
        }
        let path = request.path.as_str();
        let kicked = path.strip_prefix("/api/v1/clients/").and_then(|id| id.parse::<u64>().ok());
        match (request.method.as_str(), path, kicked) {
            ("GET", "/api/v1/report" | "/api/v1/brief", _) => {
                let with_clients = path.ends_with("report");
                match self.ask(|reply| Query::Report { with_clients, reply }) {
                    Some(report) => json(200, &report),
                    None => silent(),
                }
            }
            ("DELETE", _, Some(id)) => match self.ask(|reply| Query::Kick { id, reply }) {
                Some(kicked) => json(200, &api::Kicked { id, kicked }),
                None => silent(),
            },
            ("POST", "/api/v1/dvr", _) => match serde_json::from_slice(&request.body) {
                Ok(record) => match self.ask(|reply| Query::Record { record, reply }) {
                    Some(answer) => json(200, &answer),
                    None => silent(),
                },
                Err(_) => error(400, "the body does not say which stream"),
            },
            _ => error(
                404,
                "this private API knows /api/v1/report, /api/v1/brief, POST /api/v1/dvr and DELETE /api/v1/clients/ID",
            ),
        }
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
    Answer { status, body: serde_json::to_vec(body).unwrap_or_default() }
}
