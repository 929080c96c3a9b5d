//! The API behind the gate: tiny_http on a Unix socket of our own user. Requests are whole and small, and somebody is always
//! there to take the answer.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use tiny_http::Server;

use super::{Known, routes};

/// Threads that answer.
const THREADS: usize = 4;

/// Begins to answer.
pub(crate) fn start(path: &Path, known: &Arc<Known>) -> std::io::Result<()> {
    if let Err(error) = std::fs::remove_file(path)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        return Err(error);
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    let server = Arc::new(Server::from_listener(listener, None).map_err(std::io::Error::other)?);
    for _ in 0..THREADS {
        let (server, known) = (Arc::clone(&server), Arc::clone(known));
        thread::Builder::new().name("api".to_owned()).stack_size(1 << 20).spawn(move || {
            while let Ok(request) = server.recv() {
                let reply = routes::answer(&request, &known);
                let _ = request.respond(reply);
            }
            // Accepting has failed for good: another process takes over.
            tracing::error!("the API has stopped listening behind its gate");
            std::process::exit(1);
        })?;
    }
    Ok(())
}
