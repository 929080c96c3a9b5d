//! The management API over HTTP. It has threads of its own, so that a slow client delays only other API clients.

use std::io::Cursor;
use std::net::TcpListener;
use std::sync::Arc;
use std::thread;

use serde::Serialize;
use serde_json::json;
use tiny_http::{Header, Method, Request, Response, Server};

use super::Known;
use super::gather::gather;

/// Threads that answer.
const THREADS: usize = 4;

type Reply = Response<Cursor<Vec<u8>>>;

/// Answers on one listening socket, until it is dropped.
pub(crate) struct ApiServer(Arc<Server>);

impl ApiServer {
    /// Begins to answer.
    pub(crate) fn start(listener: TcpListener, known: &Arc<Known>) -> std::io::Result<Self> {
        listener.set_nonblocking(false)?;
        let server = Arc::new(Server::from_listener(listener, None).map_err(std::io::Error::other)?);
        for _ in 0..THREADS {
            let (server, known) = (Arc::clone(&server), Arc::clone(known));
            thread::Builder::new().name("http-api".to_owned()).stack_size(512 << 10).spawn(move || {
                while let Ok(request) = server.recv() {
                    let reply = answer(&request, &known);
                    let _ = request.respond(reply);
                }
            })?;
        }
        Ok(Self(server))
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        for _ in 0..THREADS {
            self.0.unblock();
        }
    }
}

fn answer(request: &Request, known: &Known) -> Reply {
    match request.method() {
        Method::Get | Method::Head => {}
        Method::Options => return finish(Response::from_data(Vec::new()).with_status_code(200), true),
        _ => return error(request, 405, "Method Not Allowed"),
    }
    let url = request.url().split(['?', '#']).next().unwrap_or("");
    let path: Vec<&str> = url.split('/').filter(|part| !part.is_empty()).collect();
    match path.as_slice() {
        [] => ok(&json!({"code": 0, "urls": {"api": "the api root"}})),
        ["api"] => ok(&json!({"code": 0, "urls": {"v1": "the api version 1.0"}})),
        ["api", "v1"] => ok(&json!({"code": 0, "urls": {
            "versions": "the version of this server",
            "streams": "all streams, over all processes",
            "clients": "all connections, over all processes",
            "processes": "the processes of this server",
            "reload": "what the last reload of the configuration did",
        }})),
        ["api", "v1", "versions"] => {
            let data = api::Version::parse(env!("CARGO_PKG_VERSION"));
            respond(api::Versions { data })
        }
        ["api", "v1", "streams"] => {
            let (reports, _) = gather(known.processes());
            respond(api::Streams { streams: api::merge(reports).streams })
        }
        ["api", "v1", "clients"] => {
            let (reports, _) = gather(known.processes());
            respond(api::Clients { clients: api::merge(reports).clients })
        }
        ["api", "v1", "reload"] => ok(&json!({"code": 0, "reload": known.reload()})),
        ["api", "v1", "processes"] => {
            let (reports, processes) = gather(known.processes());
            let ended = api::merge_ended(&reports);
            ok(&json!({"code": 0, "processes": processes, "ended": ended}))
        }
        _ => error(request, 404, "Not Found"),
    }
}

fn respond<T: Serialize>(data: T) -> Reply {
    ok(&api::Answer { code: 0, server: std::process::id().to_string(), data })
}

fn ok<T: Serialize>(body: &T) -> Reply {
    json_reply(200, body)
}

/// The form that the reference's users know: code 3011 with the reason inside.
fn error(request: &Request, status: u16, reason: &str) -> Reply {
    let url = request.url();
    let data = json!({"status_code": status, "reason_phrase": reason, "url": url});
    json_reply(status, &json!({"code": 3011, "data": data}))
}

fn json_reply<T: Serialize>(status: u16, body: &T) -> Reply {
    let bytes = serde_json::to_vec(body).unwrap_or_default();
    finish(Response::from_data(bytes).with_status_code(status), false)
}

fn finish(mut reply: Reply, preflight: bool) -> Reply {
    let mut headers = vec![
        ("Content-Type", "application/json;charset=utf-8".to_owned()),
        ("Server", format!("SRS/{}", env!("CARGO_PKG_VERSION"))),
        ("X-Content-Type-Options", "nosniff".to_owned()),
        ("Access-Control-Allow-Origin", "*".to_owned()),
    ];
    if preflight {
        headers.push(("Access-Control-Allow-Methods", "GET, HEAD".to_owned()));
        headers.push(("Allow", "GET, HEAD, OPTIONS".to_owned()));
    }
    for (name, value) in headers {
        if let Ok(header) = Header::from_bytes(name, value) {
            reply.add_header(header);
        }
    }
    reply
}
