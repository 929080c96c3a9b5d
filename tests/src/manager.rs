//! A service manager as far as the server can tell: it hears what the server says of itself, keeps sockets for it, and starts
//! it with sockets to listen on.

use std::fs::File;
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use tempfile::TempDir;

use crate::program;
use crate::wait::{SOON, wait_for};

/// Moves the sockets that came as standard input and output to where the server looks for them, and becomes the server.
const PASS_ON: &str = "
case $LISTEN_FDS in
1) exec 3<&0 ;;
2) exec 3<&0 4<&1 ;;
esac
exec 0</dev/null 1>&2
export LISTEN_PID=$$
exec \"$0\" \"$@\"";

/// One message that it heard.
#[derive(Debug)]
pub struct Heard {
    /// Such as `READY=1`.
    pub lines: Vec<String>,
}

impl Heard {
    /// The value of a line.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&str> {
        self.lines.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
    }
}

/// A service manager.
#[derive(Debug)]
pub struct Manager {
    directory: TempDir,
    socket: UnixDatagram,
    /// Everything it heard, in order.
    pub heard: Vec<Heard>,
    kept: Vec<(String, OwnedFd)>,
}

impl Manager {
    /// One that nobody speaks to yet.
    #[must_use]
    pub fn new() -> Self {
        let directory = TempDir::new().expect("a temporary directory");
        let socket = UnixDatagram::bind(directory.path().join("notify")).expect("a socket");
        socket.set_nonblocking(true).expect("a socket");
        Self { directory, socket, heard: Vec::new(), kept: Vec::new() }
    }

    /// The command that starts the server as this manager's service, with at most two sockets to listen on. Its output is
    /// in `log`.
    ///
    /// # Panics
    /// When there are more sockets.
    #[must_use]
    pub fn service(&self, log: &Path, sockets: Vec<(String, OwnedFd)>) -> Command {
        let output = || File::options().create(true).append(true).open(log).expect("a file");
        let mut command = Command::new("sh");
        command.args(["-c", PASS_ON]).arg(program::srs());
        command.env("NOTIFY_SOCKET", self.path()).stdin(Stdio::null()).stdout(output()).stderr(output());
        if !sockets.is_empty() {
            let names: Vec<&str> = sockets.iter().map(|(name, _)| name.as_str()).collect();
            command.env("LISTEN_FDS", sockets.len().to_string()).env("LISTEN_FDNAMES", names.join(":"));
        }
        for (place, (_, socket)) in sockets.into_iter().enumerate() {
            match place {
                0 => command.stdin(socket),
                1 => command.stdout(socket),
                _ => panic!("at most two sockets"),
            };
        }
        command
    }

    /// Waits until it hears a line; the index of its message.
    ///
    /// # Panics
    /// When it does not.
    pub fn wait_line(&mut self, line: &str) -> usize {
        self.wait_line_after(0, line)
    }

    /// Waits until it hears a line in a message with this index or a later one.
    ///
    /// # Panics
    /// When it does not.
    pub fn wait_line_after(&mut self, first: usize, line: &str) -> usize {
        wait_for(&format!("{line} from the server"), SOON, || {
            self.listen();
            let found = self.heard.iter().skip(first).position(|heard| heard.lines.iter().any(|l| l == line));
            found.map(|at| first + at)
        })
    }

    /// How often it has heard a line.
    pub fn count(&mut self, line: &str) -> usize {
        self.listen();
        self.heard.iter().filter(|heard| heard.lines.iter().any(|said| said == line)).count()
    }

    /// The sockets that it keeps: those that came in and were not forgotten since, with their names.
    pub fn kept(&mut self) -> &[(String, OwnedFd)] {
        self.listen();
        &self.kept
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("notify")
    }

    fn listen(&mut self) {
        let mut buffer = [0; 4096];
        loop {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let mut parts = [IoSliceMut::new(&mut buffer)];
            let received = recvmsg(&self.socket, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC);
            let Ok(received) = received else { return };
            let text = String::from_utf8_lossy(&buffer[..received.bytes]).into_owned();
            let heard = Heard { lines: text.lines().map(str::to_owned).collect() };
            let name = heard.value("FDNAME").unwrap_or_default();
            if heard.value("FDSTOREREMOVE").is_some() {
                self.kept.retain(|(known, _)| known != name);
            }
            for message in control.drain() {
                if let RecvAncillaryMessage::ScmRights(sockets) = message {
                    self.kept.extend(sockets.map(|socket| (name.to_owned(), socket)));
                }
            }
            self.heard.push(heard);
        }
    }
}

impl Default for Manager {
    fn default() -> Self {
        Self::new()
    }
}
