//! The control socket of a server on this host: one line of JSON each way.

use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use api::{Effect, Reload, Touched};

/// Processes have five seconds to apply a configuration; the answer comes then at the latest.
const PATIENCE: Duration = Duration::from_secs(10);

/// Names in a line for people.
const SHOWN: usize = 10;

/// Why there is no answer.
#[derive(Debug)]
pub(crate) struct ControlError {
    socket: PathBuf,
    cause: io::Error,
}

impl std::fmt::Display for ControlError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "no answer from the control socket {}: {}. Is the server running? The socket is srs.sock in the server's \
             runtime_dir; another one is given by --socket PATH.",
            self.socket.display(),
            self.cause
        )
    }
}

/// Asks for a reload, or what one would do.
pub(crate) fn reload(socket: &Path, dry_run: bool) -> Result<Reload, ControlError> {
    let request = serde_json::json!({"command": "reload", "dry_run": dry_run});
    ask(socket, &request).map_err(|cause| ControlError { socket: socket.to_owned(), cause })
}

fn ask(socket: &Path, request: &serde_json::Value) -> io::Result<Reload> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(format!("{request}\n").as_bytes())?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    serde_json::from_str(&line).map_err(io::Error::other)
}

/// Whom a reload would touch, in a sentence.
fn who(touched: &Touched) -> String {
    let clients = match touched.clients {
        1 => "1 client".to_owned(),
        count => format!("{count} clients"),
    };
    let becomes = match touched.effect {
        Effect::Changes => "would go on with it",
        Effect::Closes => "would be closed",
        Effect::Drains => "would stay, and nobody else would be taken there",
    };
    let mut text = format!("{}: {clients} {becomes}", touched.what);
    let list = |names: Vec<String>, all: usize| {
        let mut shown: Vec<String> = names.into_iter().take(SHOWN).collect();
        if all > shown.len() {
            shown.push(format!("and {} more", all - shown.len()));
        }
        shown.join(", ")
    };
    if !touched.streams.is_empty() {
        let _ = write!(text, "; streams {}", list(touched.streams.clone(), touched.streams.len()));
    }
    if !touched.ids.is_empty() {
        let ids = touched.ids.iter().map(ToString::to_string).collect();
        let _ = write!(text, "; ids {}", list(ids, usize::try_from(touched.clients).unwrap_or(usize::MAX)));
    }
    text
}

/// For people.
pub(crate) fn told(reload: &Reload, dry_run: bool) -> String {
    let mut text = String::new();
    if let Some(error) = &reload.error {
        return format!("nothing changes, generation {} stays in force:\n{error}", reload.generation);
    }
    let what = match (reload.changes.is_empty(), dry_run) {
        (true, _) => "nothing changes".to_owned(),
        (false, true) => "would change".to_owned(),
        (false, false) => format!("applied by {} of {}", reload.applied, reload.processes),
    };
    let _ = write!(text, "generation {}: {what}", reload.generation);
    for change in &reload.changes {
        let _ = write!(text, "\n  {change}");
    }
    for touched in &reload.touched {
        let _ = write!(text, "\n  {}", who(touched));
    }
    for change in &reload.after_restart {
        let _ = write!(text, "\n  {change} (only after a restart of the server)");
    }
    text
}
