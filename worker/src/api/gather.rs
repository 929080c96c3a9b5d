//! Asking every process for its report, and some of them to do something.

use std::thread;
use std::time::Duration;

use api::{Kicked, Process, Record, RecordAnswer, Report, State, Token};

/// How long a process may take.
const PATIENCE: Duration = Duration::from_millis(800);
/// Longest report.
const MOST_BYTES: u64 = 256 << 20;
/// Roles that know of clients, of streams, or of programs that they run.
const ASKED: [&str; 4] = ["backsource", "stream", "http", "ingest"];

/// The reports of all processes that answer. Asked side by side, so the whole takes no longer than the slowest. Those that
/// do not answer are marked so.
pub(crate) fn gather(processes: &mut [Process], token: &Token, with_clients: bool) -> Vec<Report> {
    let what = if with_clients { "report" } else { "brief" };
    let asked: Vec<_> = processes
        .iter()
        .map(|process| {
            let (port, token) = (process.private_api_port, token.of_process(&process.role, process.slot));
            let worth = port != 0 && process.state != State::Hung && ASKED.contains(&process.role.as_str());
            worth
                .then(|| {
                    thread::Builder::new().stack_size(256 << 10).spawn(move || ask(port, &token, what)).ok()
                })
                .flatten()
        })
        .collect();
    let mut reports = Vec::new();
    for (process, thread) in processes.iter_mut().zip(asked) {
        let Some(thread) = thread else { continue };
        let report = thread.join().ok().flatten();
        process.answered = report.is_some();
        reports.extend(report);
    }
    reports
}

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder().timeout_global(Some(PATIENCE)).proxy(None).build().new_agent()
}

fn ask(port: u16, token: &Token, what: &str) -> Option<Report> {
    let request = agent()
        .get(format!("http://127.0.0.1:{port}/api/v1/{what}"))
        .header("Authorization", format!("Bearer {}", token.reveal()));
    request.call().ok()?.body_mut().with_config().limit(MOST_BYTES).read_json().ok()
}

/// Closes a connection, whoever has it. `None` when nobody has it, and somebody did not answer who might.
pub(crate) fn kick(processes: &[Process], token: &Token, id: u64) -> Option<bool> {
    let asked: Vec<_> = processes
        .iter()
        .filter(|process| process.private_api_port != 0 && ASKED.contains(&process.role.as_str()))
        .map(|process| {
            let (port, token) = (process.private_api_port, token.of_process(&process.role, process.slot));
            thread::Builder::new().stack_size(256 << 10).spawn(move || kick_at(port, &token, id)).ok()
        })
        .collect();
    let answers: Vec<Option<Kicked>> =
        asked.into_iter().map(|thread| thread.and_then(|thread| thread.join().ok()).flatten()).collect();
    if answers.iter().flatten().any(|answer| answer.kicked) {
        return Some(true);
    }
    answers.iter().all(Option::is_some).then_some(false)
}

fn kick_at(port: u16, token: &Token, id: u64) -> Option<Kicked> {
    let request = agent()
        .delete(format!("http://127.0.0.1:{port}/api/v1/clients/{id}"))
        .header("Authorization", format!("Bearer {}", token.reveal()));
    request.call().ok()?.body_mut().read_json().ok()
}

/// Lets the http process of a stream record it, or record it no longer. `None` when none answers.
pub(crate) fn record(processes: &[Process], token: &Token, record: &Record) -> Option<RecordAnswer> {
    let answers = processes
        .iter()
        .filter(|process| process.private_api_port != 0 && process.role == "http")
        .map(|process| {
            let url = format!("http://127.0.0.1:{}/api/v1/dvr", process.private_api_port);
            let key = token.of_process(&process.role, process.slot);
            let request = agent().post(url).header("Authorization", format!("Bearer {}", key.reveal()));
            request.send_json(record).ok()?.body_mut().read_json::<RecordAnswer>().ok()
        });
    let answers: Vec<RecordAnswer> = answers.flatten().collect();
    // The process that the stream belongs to has the word.
    let is_elsewhere = |answer: &&RecordAnswer| answer.error.as_deref() == Some(api::ELSEWHERE);
    answers.iter().find(|answer| !is_elsewhere(answer)).or_else(|| answers.first()).cloned()
}
