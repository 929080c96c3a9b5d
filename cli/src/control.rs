//! A server on this host: its master is asked on the control socket who is there, then each process at its private port,
//! side by side. Nobody is waited for longer than [`PATIENCE`].

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use api::{Kicked, Order, Process, ProcessList, Record, RecordAnswer, Report, State, Token};
use serde::de::DeserializeOwned;

use crate::snapshot::{Detail, Snapshot};

/// How long the master, and after it all processes together, may take.
const PATIENCE: Duration = Duration::from_millis(450);
/// Processes have five seconds to apply a configuration; the answer comes then at the latest.
const RELOAD_PATIENCE: Duration = Duration::from_secs(10);
/// Longest answers.
const MOST_BYTES: u64 = 4 << 20;
const MOST_REPORT_BYTES: u64 = 256 << 20;
/// Roles that know of clients, of streams, or of programs that they run.
const ASKED: [&str; 4] = ["backsource", "stream", "http", "ingest"];

/// Why there is no answer.
#[derive(Debug)]
pub(crate) struct ControlError {
    socket: PathBuf,
    pub(crate) cause: io::Error,
}

impl std::fmt::Display for ControlError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let socket = self.socket.display();
        match self.cause.kind() {
            io::ErrorKind::PermissionDenied => write!(
                f,
                "the control socket {socket} is for root and the server's own user: permission denied"
            ),
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                write!(f, "the master behind the control socket {socket} does not answer: it hangs")
            }
            _ => write!(
                f,
                "no answer from the control socket {socket}: {}. Is the server running? The socket is srs.sock in the \
                 server's runtime_dir; another one is given by --socket PATH, an HTTP API by --api URL.",
                self.cause
            ),
        }
    }
}

/// Gives the master an order.
pub(crate) fn order<T: DeserializeOwned>(socket: &Path, order: &Order) -> Result<T, ControlError> {
    let patience = if matches!(order, Order::Reload { .. }) { RELOAD_PATIENCE } else { PATIENCE };
    ask_master(socket, order, patience).map_err(|cause| ControlError { socket: socket.to_owned(), cause })
}

fn ask_master<T: DeserializeOwned>(socket: &Path, order: &Order, patience: Duration) -> io::Result<T> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    let line = serde_json::to_string(order).map_err(io::Error::other)?;
    stream.write_all(format!("{line}\n").as_bytes())?;
    let mut answer = String::new();
    BufReader::new(stream.take(MOST_BYTES)).read_line(&mut answer)?;
    serde_json::from_str(&answer).map_err(io::Error::other)
}

/// The server behind a control socket.
pub(crate) fn look(socket: &Path, want: Detail) -> Result<Snapshot, ControlError> {
    let mut list: ProcessList = order(socket, &Order::Processes)?;
    let reports = gather(&mut list.processes, &list.token, want);
    let mut snapshot = Snapshot {
        node: "local".to_owned(),
        version: list.version,
        server: list.pid.to_string(),
        uptime_ms: list.uptime_ms,
        generation: list.generation,
        totals: list.totals,
        ended: api::merge_ended(&reports),
        externals: reports.iter().flat_map(|report| report.externals.clone()).collect(),
        hls: reports.iter().flat_map(|report| report.hls.clone()).collect(),
        processes: list.processes,
        note: list.log_trouble.map(|why| format!("the log is not where it is to be: {why}")),
        ..Snapshot::default()
    };
    for report in &reports {
        snapshot.dvr.merge(report.dvr.clone());
    }
    let merged = api::merge(reports);
    snapshot.vhosts = api::vhosts(&list.vhosts, &merged);
    snapshot.set(merged);
    Ok(snapshot)
}

/// What a process said, or how it is when it said nothing.
type Answer<T> = Result<T, State>;

/// Asks all processes that know something.
fn each<T: Send + 'static>(
    processes: &[Process],
    token: &Token,
    ask: impl Fn(u16, &Token) -> Answer<T> + Clone + Send + 'static,
) -> Vec<Option<Answer<T>>> {
    let asked: Vec<_> = processes
        .iter()
        .map(|process| {
            let worth = process.private_api_port != 0
                && process.state != State::Hung
                && ASKED.contains(&process.role.as_str());
            let key = token.of_process(&process.role, process.slot);
            let (port, ask) = (process.private_api_port, ask.clone());
            worth
                .then(|| thread::Builder::new().stack_size(256 << 10).spawn(move || ask(port, &key)).ok())
                .flatten()
        })
        .collect();
    asked.into_iter().map(|thread| thread.map(|thread| thread.join().unwrap_or(Err(State::Hung)))).collect()
}

fn gather(processes: &mut [Process], token: &Token, want: Detail) -> Vec<Report> {
    let path = if want == Detail::Clients { "/api/v1/report" } else { "/api/v1/brief" };
    let answers = each(processes, token, move |port, token| {
        let request = agent().get(format!("http://127.0.0.1:{port}{path}"));
        let request = request.header("Authorization", format!("Bearer {}", token.reveal()));
        let mut answer = request.call().map_err(|error| how(&error))?;
        answer
            .body_mut()
            .with_config()
            .limit(MOST_REPORT_BYTES)
            .read_json::<Report>()
            .map_err(|error| how(&error))
    });
    let mut reports = Vec::new();
    for (process, answer) in processes.iter_mut().zip(answers) {
        match answer {
            Some(Ok(report)) => {
                process.answered = true;
                reports.push(report);
            }
            Some(Err(state)) => (process.answered, process.state) = (false, state),
            None => {}
        }
    }
    reports
}

/// A port that nobody listens on is that of a process that is gone.
fn how(error: &ureq::Error) -> State {
    let gone =
        [io::ErrorKind::ConnectionRefused, io::ErrorKind::ConnectionReset, io::ErrorKind::UnexpectedEof];
    match error {
        ureq::Error::Io(error) if gone.contains(&error.kind()) => State::Dead,
        ureq::Error::ConnectionFailed => State::Dead,
        _ => State::Hung,
    }
}

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder().timeout_global(Some(PATIENCE)).proxy(None).build().new_agent()
}

/// Lets the http process record a stream, or record it no longer. `None` when it does not answer.
pub(crate) fn record(socket: &Path, record: &Record) -> Result<Option<RecordAnswer>, ControlError> {
    let list: ProcessList = order(socket, &Order::Processes)?;
    let https: Vec<Process> = list.processes.into_iter().filter(|process| process.role == "http").collect();
    let record = record.clone();
    let answers = each(&https, &list.token, move |port, token| {
        let request = agent().post(format!("http://127.0.0.1:{port}/api/v1/dvr"));
        let request = request.header("Authorization", format!("Bearer {}", token.reveal()));
        let mut answer = request.send_json(&record).map_err(|error| how(&error))?;
        answer.body_mut().read_json::<RecordAnswer>().map_err(|error| how(&error))
    });
    let answers: Vec<RecordAnswer> = answers.into_iter().flatten().flatten().collect();
    Ok(answers.iter().find(|answer| answer.error.is_none()).or_else(|| answers.first()).cloned())
}

/// Closes a connection, whoever has it. `None`: nobody has it, and somebody did not answer who might.
pub(crate) fn kick(socket: &Path, id: u64) -> Result<Option<bool>, ControlError> {
    let list: ProcessList = order(socket, &Order::Processes)?;
    let answers = each(&list.processes, &list.token, move |port, token| {
        let request = agent().delete(format!("http://127.0.0.1:{port}/api/v1/clients/{id}"));
        let request = request.header("Authorization", format!("Bearer {}", token.reveal()));
        let mut answer = request.call().map_err(|error| how(&error))?;
        answer.body_mut().read_json::<Kicked>().map_err(|error| how(&error))
    });
    let kicked = answers.iter().flatten().flatten().any(|answer| answer.kicked);
    let silent = answers.iter().flatten().any(Result::is_err)
        || list.processes.iter().any(|process| process.state == State::Hung);
    Ok((kicked || !silent).then_some(kicked))
}
