//! The private API: a thread that answers HTTP on loopback with what the loop tells it.
//!
//! The loop is asked through a channel and a waker, and answers when it comes round; a loop that hangs makes the API say
//! so after a second, never hang itself.

use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use mio::{Token, Waker};
use tiny_http::{Header, Request, Response, Server};

/// Token of the API's waker in the child's loop.
pub const API_TOKEN: Token = Token(1);

/// How long the loop may take.
const PATIENCE: Duration = Duration::from_secs(1);

/// A question for the loop: answer it with the report.
#[derive(Debug)]
pub struct Query {
    reply: SyncSender<api::Report>,
}

impl Query {
    /// Answers.
    pub fn answer(self, report: api::Report) {
        let _ = self.reply.send(report);
    }
}

/// The loop's end of the API.
#[derive(Debug)]
pub struct PrivateApi {
    queries: Receiver<Query>,
    port: u16,
}

impl PrivateApi {
    /// Binds a port on loopback (`port` 0: any; one that is taken: any) and begins to answer.
    ///
    /// # Errors
    /// When no port can be bound.
    pub fn start(port: u16, waker: Waker) -> std::io::Result<Self> {
        let bind = |port| Server::http(SocketAddr::from(([127, 0, 0, 1], port)));
        let server = bind(port).or_else(|_| bind(0)).map_err(std::io::Error::other)?;
        let port = server.server_addr().to_ip().map_or(0, |address| address.port());
        let (sender, queries) = sync_channel(16);
        thread::Builder::new().name("private-api".to_owned()).stack_size(128 << 10).spawn(move || {
            for request in server.incoming_requests() {
                let response = answer(&request, &sender, &waker);
                let _ = request.respond(response);
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

fn answer(
    request: &Request,
    sender: &SyncSender<Query>,
    waker: &Waker,
) -> Response<std::io::Cursor<Vec<u8>>> {
    let path = request.url().split('?').next().unwrap_or("");
    if path != "/api/v1/report" {
        return json(
            404,
            &serde_json::json!({"code": 404, "error": "this private API knows /api/v1/report"}),
        );
    }
    let (reply, answers) = sync_channel(1);
    let asked = sender.try_send(Query { reply }).is_ok() && waker.wake().is_ok();
    match asked.then(|| answers.recv_timeout(PATIENCE)) {
        Some(Ok(report)) => json(200, &serde_json::to_value(report).unwrap_or_default()),
        _ => json(503, &serde_json::json!({"code": 503, "error": "the process does not answer"})),
    }
}

fn json(status: u16, body: &serde_json::Value) -> Response<std::io::Cursor<Vec<u8>>> {
    let response = Response::from_string(body.to_string()).with_status_code(status);
    match Header::from_bytes("Content-Type", "application/json;charset=utf-8") {
        Ok(header) => response.with_header(header),
        Err(()) => response,
    }
}
