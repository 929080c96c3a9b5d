//! Asking every process for its report.

use std::thread;
use std::time::Duration;

use ipc::{ProcessInfo, Role};

/// How long a process may take.
const PATIENCE: Duration = Duration::from_secs(1);

/// The reports of all processes that answer, and the list of all with whether they did. Asked side by side, so the whole
/// takes no longer than the slowest.
pub(crate) fn gather(processes: Vec<ProcessInfo>) -> (Vec<api::Report>, Vec<api::Process>) {
    let asked: Vec<_> = processes
        .into_iter()
        .map(|process| {
            let port = process.private_api_port;
            let thread = (port != 0 && matches!(process.role, Role::BackSource | Role::Stream | Role::Http))
                .then(|| thread::Builder::new().stack_size(256 << 10).spawn(move || ask(port)).ok())
                .flatten();
            (process, thread)
        })
        .collect();
    let mut reports = Vec::new();
    let mut list = Vec::new();
    for (process, thread) in asked {
        let is_asked = thread.is_some();
        let report = thread.and_then(|thread| thread.join().ok()).flatten();
        list.push(api::Process {
            role: process.role.name().to_owned(),
            slot: process.slot,
            pid: process.pid,
            restarts: process.restarts,
            private_api_port: process.private_api_port,
            answered: report.is_some() || !is_asked,
        });
        reports.extend(report);
    }
    (reports, list)
}

fn ask(port: u16) -> Option<api::Report> {
    let agent = ureq::Agent::config_builder().timeout_global(Some(PATIENCE)).proxy(None).build().new_agent();
    let mut response = agent.get(format!("http://127.0.0.1:{port}/api/v1/report")).call().ok()?;
    response.body_mut().with_config().limit(256 << 20).read_json().ok()
}
