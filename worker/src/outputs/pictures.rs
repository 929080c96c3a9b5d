//! Pictures of live streams, for pages that embed one: the newest key frame, as an MP4 file of one fragment, becomes a JPEG.
//! ffmpeg does it, a stream's key frame once for all who ask. Each program has a thread of its own, so that one that hangs holds up
//! only those who configured it.

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use bytes::Bytes;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::workers::{JobQueue, Pool, Workers};

/// Key frames that may wait for a program, with the one that it works on.
const MAX_WAITING: usize = 33;
/// Programs that have a thread.
const MAX_PROGRAMS: usize = 16;
/// Processor time and memory that a picture may take, s and bytes.
const MAX_CPU_S: u64 = 10;
const MAX_MEMORY: u64 = 2 << 30;
/// Pictures that are kept for those who ask for the same key frame.
const MAX_KEPT: usize = 64;
/// Largest picture.
const MAX_BYTES: usize = 16 << 20;
/// How long a picture may take, ms.
const PATIENCE_MS: u64 = 5_000;
/// Least time between two lines about what fails, ms.
const COMPLAIN_MS: u64 = 60_000;

/// Why there is no picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NoPicture {
    /// There is no ffmpeg.
    NoProgram,
    /// It fails.
    Failed,
    /// Too many others wait for one.
    TooMany,
    /// There are only sounds.
    NoPictures,
}

/// What became of a key frame.
pub(crate) type Made = Result<Bytes, NoPicture>;

/// Who asks: key and id of a connection.
type Whom = (usize, u64);

#[derive(Debug)]
struct Job {
    tag: u64,
    /// What it is a picture of, for the log.
    stream: String,
    movie: Bytes,
}

/// The way to the threads, who waits, and what they made.
#[derive(Debug)]
pub(crate) struct Pictures {
    workers: Workers<(u64, Made)>,
    programs: HashMap<PathBuf, JobQueue<Job>>,
    waiting: HashMap<u64, Vec<Whom>>,
    made: VecDeque<(u64, Made)>,
}

impl Pictures {
    /// No thread yet.
    ///
    /// # Errors
    /// No descriptor is left.
    pub(crate) fn new() -> io::Result<Self> {
        let (programs, waiting, made) = (HashMap::new(), HashMap::new(), VecDeque::new());
        Ok(Self { workers: Workers::new()?, programs, waiting, made })
    }

    /// The way to the thread of a program.
    fn thread_of(&mut self, program: &Path) -> Option<&JobQueue<Job>> {
        if !self.programs.contains_key(program) {
            if self.programs.len() >= MAX_PROGRAMS {
                // Of those that were configured before: their threads end with what they are doing.
                self.programs.clear();
            }
            let started = self.start(program.to_owned()).ok()?;
            self.programs.insert(program.to_owned(), started);
        }
        self.programs.get(program)
    }

    fn start(&self, program: PathBuf) -> io::Result<JobQueue<Job>> {
        let pool = Pool { name: "pictures", threads: 1, stack_bytes: None, most: MAX_WAITING };
        self.workers.start(pool, || {
            let (program, mut complained_ms) = (program.clone(), 0);
            move |job: Job| {
                let made = picture(&program, &job.movie);
                if let Err(error) = &made
                    && (complained_ms == 0 || reactor::now_ms() >= complained_ms + COMPLAIN_MS)
                {
                    complained_ms = reactor::now_ms();
                    let (program, stream) = (program.display(), &job.stream);
                    tracing::warn!(
                        "{program} (http_remux snapshot_ffmpeg) makes no picture of a stream: {stream}: {error}"
                    );
                }
                let made = made.map_err(|error| match error.kind() {
                    io::ErrorKind::NotFound => NoPicture::NoProgram,
                    _ => NoPicture::Failed,
                });
                Some((job.tag, made))
            }
        })
    }

    /// What becomes readable when something was made.
    pub(crate) fn fd(&self) -> RawFd {
        self.workers.fd()
    }

    /// As [`Self::get`]; there is no picture where no program is configured, or the movie has none.
    pub(crate) fn of(
        &mut self,
        whom: Whom,
        program: Option<&Path>,
        stream: String,
        movie: Vec<u8>,
    ) -> Option<Made> {
        match program {
            _ if !has_pictures(&movie) => Some(Err(NoPicture::NoPictures)),
            Some(program) => self.get(whom, program, stream, movie),
            None => Some(Err(NoPicture::NoProgram)),
        }
    }

    /// The picture of this movie, if it is there, or can't be had; else whoever asks is told by [`Self::drain`].
    fn get(&mut self, whom: Whom, program: &Path, stream: String, movie: Vec<u8>) -> Option<Made> {
        let mut hasher = DefaultHasher::new();
        movie.hash(&mut hasher);
        let tag = hasher.finish();
        if let Some((_, made)) = self.made.iter().find(|(known, _)| *known == tag) {
            return Some(made.clone());
        }
        if let Some(waiting) = self.waiting.get_mut(&tag) {
            waiting.push(whom);
            return None;
        }
        let job = Job { tag, stream, movie: movie.into() };
        if self.thread_of(program).is_none_or(|thread| !thread.push(job, 1)) {
            return Some(Err(NoPicture::TooMany));
        }
        self.waiting.insert(tag, vec![whom]);
        None
    }

    /// Takes what was made, for whoever asked.
    pub(crate) fn drain(&mut self) -> Vec<(Whom, Made)> {
        let mut told = Vec::new();
        for (tag, made) in self.workers.drain() {
            let waiting = self.waiting.remove(&tag).unwrap_or_default();
            told.extend(waiting.into_iter().map(|whom| (whom, made.clone())));
            self.made.push_back((tag, made));
            if self.made.len() > MAX_KEPT {
                self.made.pop_front();
            }
        }
        told
    }
}

/// Whether a movie has a track of pictures: its handler (ISO/IEC 14496-12, 8.4.3).
fn has_pictures(movie: &[u8]) -> bool {
    movie.windows(4).take(1 << 16).any(|four| four == b"vide")
}

/// Has the program decode the first picture of a movie.
fn picture(program: &Path, movie: &[u8]) -> io::Result<Bytes> {
    let found =
        find(program).ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "there is no such program"))?;
    // Through our own executable, which asks the kernel to end it with us (`external`).
    let mut command = Command::new("/proc/self/exe");
    command.arg("--become").arg(std::process::id().to_string()).arg(found);
    command.args([
        "-v",
        "error",
        "-protocol_whitelist",
        "pipe",
        "-threads",
        "1",
        "-f",
        "mp4",
        "-i",
        "pipe:0",
    ]);
    command.args([
        "-map",
        "0:v:0",
        "-frames:v",
        "1",
        "-q:v",
        "3",
        "-f",
        "image2pipe",
        "-c:v",
        "mjpeg",
        "pipe:1",
    ]);
    // It learns nothing of us, and its complaints are not for our log.
    command.env_clear().process_group(0).current_dir("/");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn()?;
    confine(child.id());
    let out = converse(&mut child, movie);
    // Done or not: neither it nor what it has started outlives its answer.
    if let Ok(group) = i32::try_from(child.id()) {
        let _ =
            nix::sys::signal::killpg(nix::unistd::Pid::from_raw(group), nix::sys::signal::Signal::SIGKILL);
    }
    let _ = child.kill();
    let _ = child.wait();
    let out = out?;
    if out.starts_with(&[0xff, 0xd8]) {
        Ok(out.into())
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidData, "it could not decode the key frame"))
    }
}

/// It decodes what strangers publish: no more than a picture takes.
fn confine(pid: u32) {
    use rustix::process::{Pid, Resource, Rlimit, prlimit};
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return };
    for (resource, most) in [(Resource::Cpu, MAX_CPU_S), (Resource::As, MAX_MEMORY), (Resource::Core, 0)] {
        let limit = Rlimit { current: Some(most), maximum: Some(most) };
        if let Err(error) = prlimit(Some(pid), resource, limit) {
            tracing::debug!("a program that makes pictures has no limit: {error}");
        }
    }
}

/// A program by its path, or by its name where programs are.
fn find(program: &Path) -> Option<PathBuf> {
    if program.components().count() > 1 {
        return program.is_file().then(|| program.to_owned());
    }
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
    std::env::split_paths(&path).map(|place| place.join(program)).find(|file| file.is_file())
}

/// Gives a program its input and takes its output, side by side, until it closes that.
fn converse(child: &mut Child, input: &[u8]) -> io::Result<Vec<u8>> {
    let (Some(stdin), Some(mut stdout)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(io::ErrorKind::BrokenPipe.into());
    };
    let (mut stdin, mut rest, mut out) = (Some(stdin), input, Vec::new());
    nonblocking(stdin.as_ref(), &stdout)?;
    let until_ms = reactor::now_ms() + PATIENCE_MS;
    let mut buffer = vec![0; 64 << 10];
    loop {
        let left_ms = until_ms.saturating_sub(reactor::now_ms());
        if left_ms == 0 || out.len() > MAX_BYTES {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let mut wanted = vec![PollFd::new(stdout.as_fd(), PollFlags::POLLIN)];
        wanted.extend(stdin.as_ref().map(|pipe| PollFd::new(pipe.as_fd(), PollFlags::POLLOUT)));
        poll(&mut wanted, PollTimeout::try_from(left_ms).unwrap_or(PollTimeout::ZERO))?;
        if let Some(pipe) = &mut stdin {
            match pipe.write(rest) {
                Ok(count) => rest = rest.get(count..).unwrap_or_default(),
                Err(error) if is_for_later(&error) => {}
                // It needs no more.
                Err(_) => rest = &[],
            }
        }
        if rest.is_empty() {
            stdin = None;
        }
        match stdout.read(&mut buffer) {
            Ok(0) => return Ok(out),
            Ok(count) => out.extend_from_slice(buffer.get(..count).unwrap_or_default()),
            Err(error) if is_for_later(&error) => {}
            Err(error) => return Err(error),
        }
    }
}

fn is_for_later(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

fn nonblocking(stdin: Option<&ChildStdin>, stdout: &ChildStdout) -> io::Result<()> {
    let set = |fd: BorrowedFd<'_>| -> io::Result<()> {
        use nix::fcntl::{FcntlArg, OFlag, fcntl};
        fcntl(fd, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).map(drop).map_err(io::Error::from)
    };
    stdin.map_or(Ok(()), |pipe| set(pipe.as_fd()))?;
    set(stdout.as_fd())
}
