//! The API behind the gate: tiny_http on a Unix socket of our own user. Requests are whole and small.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tiny_http::{Request, Server};

use super::reply::{self, Reply};
use super::{Known, routes};

/// Threads that answer.
const THREADS: usize = 4;
/// Answers up to this fit into the socket's buffer: giving them waits for nobody.
const SHORT: usize = 64 << 10;
/// Longer ones that wait to be taken, each in a thread of its own. The gate takes them at once; the web server, which passes
/// requests on, as its client does.
const MOST_TAKING: usize = 32;
/// How long to rest when the kernel has no descriptor for a client.
const REST: Duration = Duration::from_millis(100);

/// How often it is looked whether the socket is still there.
const LOOK: Duration = Duration::from_secs(1);

/// Begins to answer. When somebody removes the socket (a cleaner of temporary files, say) it is made again.
pub(crate) fn start(path: &Path, known: &Arc<Known>) -> std::io::Result<()> {
    let mut current = Some(Answering::begin(path, known)?);
    let (path, known) = (path.to_owned(), Arc::clone(known));
    thread::Builder::new().name("api-socket".to_owned()).stack_size(256 << 10).spawn(move || {
        loop {
            thread::sleep(LOOK);
            if path.exists() {
                continue;
            }
            // Nobody finds it any more. It goes first: its end takes away what has its name.
            if let Some(former) = current.take() {
                former.end();
            }
            let made = path.parent().map_or(Ok(()), std::fs::create_dir_all);
            match made.and_then(|()| Answering::begin(&path, &known)) {
                Ok(next) => {
                    tracing::info!("the socket {} was removed: made again", path.display());
                    current = Some(next);
                }
                Err(error) => tracing::debug!("the socket {} can't be made: {error}", path.display()),
            }
        }
    })?;
    Ok(())
}

/// A listener and the threads that answer there.
struct Answering {
    over: Arc<AtomicBool>,
    listener: Arc<UnixListener>,
    thread: JoinHandle<()>,
}

impl Answering {
    fn begin(path: &Path, known: &Arc<Known>) -> std::io::Result<Self> {
        if let Err(error) = std::fs::remove_file(path)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            return Err(error);
        }
        let listener = Arc::new(UnixListener::bind(path)?);
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
        let mut server = serve(&listener)?;
        let over = Arc::new(AtomicBool::new(false));
        let (ends, socket, known, path) =
            (Arc::clone(&over), Arc::clone(&listener), Arc::clone(known), path.to_owned());
        let thread =
            thread::Builder::new().name("api".to_owned()).stack_size(256 << 10).spawn(move || {
                loop {
                    answer(&server, &known);
                    if ends.load(Ordering::Relaxed) {
                        return;
                    }
                    // It listens no more after one accept that failed: another one goes on with the same socket.
                    thread::sleep(REST);
                    if let Ok(next) = serve(&socket) {
                        drop_without_its_file(std::mem::replace(&mut server, next), &path);
                    }
                }
            })?;
        Ok(Self { over, listener, thread })
    }

    /// Ends all its threads.
    fn end(self) {
        self.over.store(true, Ordering::Relaxed);
        // A thread of tiny_http waits in accept; it can't be called by a name that is not there.
        let _ = socket2::SockRef::from(&*self.listener).shutdown(std::net::Shutdown::Both);
        let _ = self.thread.join();
    }
}

/// A server of tiny_http takes the file of its socket with it, which another one goes on using.
fn drop_without_its_file(server: Server, path: &Path) {
    let aside = path.with_extension("aside");
    let moved = std::fs::rename(path, &aside).is_ok();
    drop(server);
    if moved {
        let _ = std::fs::rename(&aside, path);
    }
}

/// Gives an answer without holding up the thread that works.
fn give(request: Request, reply: Reply) {
    static TAKING: AtomicUsize = AtomicUsize::new(0);
    if reply.data_length().is_some_and(|length| length <= SHORT) {
        let _ = request.respond(reply);
        return;
    }
    if TAKING.fetch_add(1, Ordering::Relaxed) >= MOST_TAKING {
        TAKING.fetch_sub(1, Ordering::Relaxed);
        let busy = "too many answers wait to be taken\n";
        let _ = request.respond(reply::text(503, "text/plain;charset=utf-8", busy));
        return;
    }
    let respond = move || {
        let _ = request.respond(reply);
        TAKING.fetch_sub(1, Ordering::Relaxed);
    };
    if thread::Builder::new().name("api".to_owned()).stack_size(128 << 10).spawn(respond).is_err() {
        TAKING.fetch_sub(1, Ordering::Relaxed);
    }
}

fn serve(listener: &UnixListener) -> std::io::Result<Server> {
    Server::from_listener(listener.try_clone()?, None).map_err(std::io::Error::other)
}

/// Answers until the server listens no more.
fn answer(server: &Server, known: &Known) {
    thread::scope(|scope| {
        for _ in 0..THREADS {
            let work = || {
                while let Ok(request) = server.recv() {
                    let reply = routes::answer(&request, known);
                    give(request, reply);
                }
                // The others are told, too.
                server.unblock();
            };
            let thread = thread::Builder::new().name("api".to_owned()).stack_size(1 << 20);
            if let Err(error) = thread.spawn_scoped(scope, work) {
                tracing::error!("the API has a thread too few: {error}");
            }
        }
    });
}
