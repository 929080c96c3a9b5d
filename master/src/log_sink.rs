//! Where the lines of the log go: a file, or standard output. Nobody waits there for anybody: a pipe that nobody empties, a
//! full socket of a service manager or a full disk costs lines, not the server.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::net::SendFlags;
use tracing::Level;

/// Longest line in bytes with its newline: a pipe takes it whole or not at all.
const MAX_LINE: usize = 4096;
/// What makes a line of a terminal red or yellow, and the end of that.
const COLOURS: [&str; 2] = ["\x1b[31m", "\x1b[33m"];
const PLAIN: &str = "\x1b[0m";

/// Where lines go.
#[derive(Debug)]
pub(crate) enum LogSink {
    /// Standard output.
    Console { colours: bool, mode: StdoutMode },
    /// A file that only grows.
    File(File),
}

/// How lines get to standard output.
#[derive(Debug)]
pub(crate) enum StdoutMode {
    /// A pipe or a terminal, opened once more: that it does not wait is our affair alone, and not that of all who have it.
    Own(File),
    /// A socket.
    Socket,
    /// Something else, or a pipe that may not be opened.
    Plain,
}

impl LogSink {
    /// Opens a file, or standard output where there is none.
    pub(crate) fn open(file: Option<&Path>) -> io::Result<Self> {
        let Some(path) = file else {
            return Ok(Self::Console {
                colours: io::stdout().is_terminal(),
                mode: StdoutMode::of_standard_output(),
            });
        };
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            std::fs::create_dir_all(parent)?;
        }
        Ok(Self::File(OpenOptions::new().create(true).append(true).open(path)?))
    }

    /// Whether it is a file that has no name any more.
    pub(crate) fn is_removed(&self) -> bool {
        use std::os::unix::fs::MetadataExt;
        matches!(self, Self::File(file) if file.metadata().is_ok_and(|known| known.nlink() == 0))
    }

    /// Writes a line without its end; `false` when it could not be.
    pub(crate) fn write(&self, level: Level, mut line: String) -> bool {
        let colour = match self {
            Self::Console { colours: true, .. } if level == Level::ERROR => COLOURS.first(),
            Self::Console { colours: true, .. } if level == Level::WARN => COLOURS.last(),
            _ => None,
        };
        let room = MAX_LINE - 1 - colour.map_or(0, |colour| colour.len() + PLAIN.len());
        let mut end = line.len().min(room);
        while !line.is_char_boundary(end) {
            end -= 1;
        }
        line.truncate(end);
        if let Some(colour) = colour {
            line = format!("{colour}{line}{PLAIN}");
        }
        line.push('\n');
        match self {
            Self::File(file) => whole(file, &line),
            Self::Console { mode, .. } => mode.write(&line),
        }
    }
}

/// A line on standard error, if somebody takes it.
pub(crate) fn complain(line: &str) {
    let stderr = io::stderr();
    let mut wanted = [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)];
    if poll(&mut wanted, PollTimeout::ZERO).is_ok_and(|ready| ready > 0) {
        let _ = writeln!(stderr.lock(), "{line}");
    }
}

/// One system call: a part of a line that is full does not get its rest later, behind those of others.
fn whole(mut file: &File, line: &str) -> bool {
    file.write(line.as_bytes()).is_ok_and(|count| count == line.len())
}

impl StdoutMode {
    fn of_standard_output() -> Self {
        // By its name in /proc a pipe or a terminal is opened anew; a file would begin at its start again.
        let path = Path::new("/proc/self/fd/1");
        let Ok(kind) = std::fs::metadata(path).map(|found| found.file_type()) else { return Self::Plain };
        if kind.is_socket() {
            return Self::Socket;
        }
        let can_be = kind.is_fifo() || kind.is_char_device() && io::stdout().is_terminal();
        if !can_be {
            return Self::Plain;
        }
        let flags = nix::libc::O_NONBLOCK | nix::libc::O_NOCTTY | nix::libc::O_CLOEXEC;
        // For appending: what a confined process may open at all. To a pipe it is all the same.
        OpenOptions::new().append(true).custom_flags(flags).open(path).map_or(Self::Plain, Self::Own)
    }

    fn write(&self, line: &str) -> bool {
        let stdout = io::stdout();
        match self {
            Self::Own(file) => whole(file, line),
            Self::Socket => {
                let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
                rustix::net::send(&stdout, line.as_bytes(), flags).is_ok_and(|count| count == line.len())
            }
            Self::Plain => {
                let mut wanted = [PollFd::new(stdout.as_fd(), PollFlags::POLLOUT)];
                let is_ready = poll(&mut wanted, PollTimeout::ZERO).is_ok_and(|ready| ready > 0);
                is_ready && stdout.lock().write_all(line.as_bytes()).is_ok()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_gets_whole_lines_and_long_ones_are_cut_between_characters() {
        let path = std::env::temp_dir().join(format!("srs-sink-{}", std::process::id()));
        let sink = LogSink::open(Some(&path)).unwrap();
        assert!(sink.write(Level::ERROR, "one".to_owned()));
        assert!(sink.write(Level::INFO, format!("x{}", "\u{fc}".repeat(4000))));
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!((lines[0], lines[1].len()), ("one", 4095));
        std::fs::remove_file(&path).unwrap();
        assert!(!LogSink::open(Some(Path::new("/dev/full"))).unwrap().write(Level::INFO, "x".to_owned()));
    }
}
