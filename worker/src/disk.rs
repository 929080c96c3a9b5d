//! Writing to disk, in a thread of its own: a disk that hangs or is full is nobody's business who watches a live stream.
//!
//! Files appear whole under their names or not at all, and no link that somebody planted on the way is followed.

pub(crate) mod continued;
mod list;
pub(crate) mod recordings;
pub(crate) mod remains;

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{OwnedFd, RawFd};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use recordings::Recordings;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, mkdirat, open, openat, renameat, statat, unlinkat};
use rustix::io::Errno;

use self::remains::{Remains, Wanted};
use crate::recording::continued::{Length, Piece, Start};
use crate::recording::flv_file::Patch;
use crate::workers::{JobQueue, Pool, Workers};

/// Bytes that may wait for the disk.
const MAX_WAITING: usize = 256 << 20;
/// Largest file that is read back.
const MAX_READ: u64 = 4 << 20;
/// Most names that are looked through in a directory.
const MAX_NAMES: usize = 100_000;

/// A file below a directory that the configuration names.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct FilePath {
    pub(crate) root: PathBuf,
    /// Components with slashes between them.
    pub(crate) below: String,
}

impl FilePath {
    fn parts(&self) -> Result<(Vec<&str>, &str), Errno> {
        let mut parts: Vec<&str> = self.below.split('/').filter(|part| !part.is_empty()).collect();
        if parts.iter().any(|part| matches!(*part, "." | "..")) {
            return Err(Errno::INVAL);
        }
        let name = parts.pop().ok_or(Errno::INVAL)?;
        Ok((parts, name))
    }

    /// The directory that it is in, made if it has to be; and its name there.
    pub(crate) fn directory(&self, make: bool) -> Result<(OwnedFd, &str), Errno> {
        let (parents, name) = self.parts()?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let mode = Mode::from_bits_truncate(0o755);
        if make {
            std::fs::create_dir_all(&self.root)
                .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        }
        let mut at = open(&self.root, flags, Mode::empty())?;
        for parent in parents {
            if make {
                match mkdirat(&at, parent, mode) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(error) => return Err(error),
                }
            }
            at = openat(&at, parent, flags | OFlags::NOFOLLOW, Mode::empty())?;
        }
        Ok((at, name))
    }

    /// Opens it for reading.
    pub(crate) fn open(&self) -> io::Result<File> {
        let (directory, name) = self.directory(false)?;
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        Ok(File::from(openat(&directory, name, flags, Mode::empty())?))
    }

    /// Creates a file that is to get this name later; one that was left behind under its temporary name goes.
    pub(crate) fn create_beside(&self, ending: &str) -> io::Result<(File, OwnedFd, String)> {
        let (directory, name) = self.directory(true)?;
        let temporary = format!("{name}{ending}");
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::from_bits_truncate(0o644);
        let file = match openat(&directory, &temporary, flags, mode) {
            Err(Errno::EXIST) => {
                unlinkat(&directory, &temporary, AtFlags::empty())?;
                openat(&directory, &temporary, flags, mode)?
            }
            other => other?,
        };
        Ok((File::from(file), directory, temporary))
    }

    /// Writes it whole.
    pub(crate) fn write(&self, bytes: &[u8]) -> io::Result<()> {
        let (mut file, directory, temporary) = self.create_beside(".tmp")?;
        let (_, name) = self.parts()?;
        let written =
            file.write_all(bytes).and_then(|()| Ok(renameat(&directory, &temporary, &directory, name)?));
        if written.is_err() {
            let _ = unlinkat(&directory, &temporary, AtFlags::empty());
        }
        written
    }

    fn remove(&self) -> io::Result<()> {
        let (directory, name) = self.directory(false)?;
        Ok(unlinkat(&directory, name, AtFlags::empty())?)
    }

    /// Removes it; that it is not there is no failure, and no other is told of.
    pub(crate) fn remove_if_there(&self) {
        let _ = self.remove();
    }

    /// How long it is; `None` where there is no such file.
    pub(crate) fn len(&self) -> Option<u64> {
        let (directory, name) = self.directory(false).ok()?;
        let stat = statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        u64::try_from(stat.st_size).ok().filter(|_| is_file)
    }

    /// What is in it, empty where that can't be read.
    pub(crate) fn read_text(&self) -> String {
        let mut text = String::new();
        let read = self.open().and_then(|file| file.take(MAX_READ).read_to_string(&mut text));
        if read.is_err() {
            text.clear();
        }
        text
    }

    /// The names beside it.
    pub(crate) fn siblings(&self) -> Vec<String> {
        let Ok((parents, _)) = self.parts() else { return Vec::new() };
        let directory = self.root.join(parents.join("/"));
        let entries = std::fs::read_dir(directory).into_iter().flatten().take(MAX_NAMES);
        entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect()
    }
}

/// What is to be done; in the order in which it was said.
#[derive(Debug)]
pub(crate) enum Job {
    /// Write a file whole. Answered with [`HlsDone::Written`].
    Write(u64, FilePath, Bytes),
    /// Write a file whole; nobody waits for it.
    Note(FilePath, Bytes),
    /// Remove files.
    Remove(Vec<FilePath>),
    /// Begin a recording with these bytes. A failure is told with [`DvrDone::Failed`], also of what follows.
    Begin(u64, FilePath, Bytes),
    /// Write over a part of a recording.
    Patch(u64, Patch),
    /// Append to a recording, all or nothing.
    Append(u64, Bytes),
    /// Go on with the recording that is there, or begin one. Answered with [`DvrDone::GoesOn`].
    GoOn(u64, FilePath, Box<Start>),
    /// Put these into a recording that is continued.
    Take(u64, Vec<Piece>),
    /// What was to be appended is lost: answered as a failure.
    Fail(u64),
    /// Finish a recording, writing over a part of it. Answered with [`DvrDone::Finished`].
    Finish(u64, Option<Patch>),
    /// Finish what a former run left below this directory. Answered with [`DvrDone::Repaired`], for each.
    Repair(PathBuf),
    /// Read a file whole. Answered with [`HlsDone::Read`].
    Read(u64, FilePath),
    /// Look for what a former process left of a stream. Answered with [`HlsDone::Recovered`].
    Recover(u64, Box<Wanted>),
}

/// Stands for a number in a pattern of names: no name holds it.
pub(crate) const NUMBER: &str = "\0";

/// What was done, and whose business that is.
#[derive(Debug)]
pub(crate) enum Done {
    Hls(HlsDone),
    Dvr(DvrDone),
}

/// What was done for lists of segments.
#[derive(Debug)]
pub(crate) enum HlsDone {
    /// A file is there, or why it is not.
    Written(u64, io::Result<()>),
    /// The text of a file, empty where there was none.
    Read(u64, String),
    /// What there is of a stream.
    Recovered(u64, Box<Remains>),
}

/// What was done for recordings.
#[derive(Debug)]
pub(crate) enum DvrDone {
    /// A recording can't be written.
    Failed(u64, io::Error),
    /// A recording is continued that was so long before.
    GoesOn(u64, Length),
    /// Where a recording is now, or why not.
    Finished(u64, io::Result<Ended>),
    /// Recordings that a former run left unfinished below this directory, and the names that they were to get.
    Repaired(PathBuf, Vec<(String, Ended)>),
}

/// A recording that is finished.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) path: PathBuf,
    /// How long it is, where only the disk's thread knows it.
    pub(crate) length: Option<Length>,
}

/// The way to the thread.
#[derive(Debug)]
pub(crate) struct Disk {
    workers: Workers<Done>,
    jobs: JobQueue<Job>,
    next_ticket: u64,
}

impl Disk {
    /// Starts the thread.
    ///
    /// # Errors
    /// There is no descriptor or no thread for it.
    pub(crate) fn start() -> io::Result<Self> {
        let workers = Workers::new()?;
        // One thread: what is to be done is done in the order in which it was said.
        let pool = Pool { name: "disk", threads: 1, stack_bytes: None, most: MAX_WAITING };
        let jobs = workers.start(pool, || {
            let mut recordings = Recordings::default();
            move |job| work(job, &mut recordings)
        })?;
        Ok(Self { workers, jobs, next_ticket: 1 })
    }

    /// A number for a question.
    pub(crate) fn ticket(&mut self) -> u64 {
        self.next_ticket += 1;
        self.next_ticket
    }

    /// Says what is to be done. `false` when too much waits already: it is not done then.
    pub(crate) fn push(&self, job: Job) -> bool {
        let size = match &job {
            Job::Write(_, _, bytes) | Job::Note(_, bytes) | Job::Begin(_, _, bytes) => bytes.len(),
            Job::Append(_, bytes) => bytes.len(),
            Job::Take(_, pieces) => pieces.iter().map(|piece| piece.len() + size_of::<Piece>()).sum(),
            _ => 0,
        } + 256;
        self.jobs.push(job, size)
    }

    /// Appends to a recording; one that the disk is too slow for fails like one that it has no room for.
    pub(crate) fn append(&self, id: u64, bytes: Bytes) {
        if !self.push(Job::Append(id, bytes)) {
            self.jobs.push_over(Job::Fail(id));
        }
    }

    /// Puts pieces into a recording that is continued; too many that wait are a failure, too.
    pub(crate) fn take(&self, id: u64, pieces: Vec<Piece>) {
        if !self.push(Job::Take(id, pieces)) {
            self.jobs.push_over(Job::Fail(id));
        }
    }

    /// What becomes readable when something was done.
    pub(crate) fn fd(&self) -> RawFd {
        self.workers.fd()
    }

    /// Whether nothing waits for the disk.
    pub(crate) fn is_done(&self) -> bool {
        self.jobs.is_done()
    }

    /// Its descriptor was readable.
    pub(crate) fn drain_notifications(&mut self) {
        self.workers.drain_notifications();
    }

    /// What was done since the last call.
    pub(crate) fn completions(&mut self) -> Vec<Done> {
        self.workers.completions()
    }
}

fn work(job: Job, recordings: &mut Recordings) -> Option<Done> {
    let failure =
        |id, result: io::Result<()>| result.err().map(|error| Done::Dvr(DvrDone::Failed(id, error)));
    match job {
        Job::Begin(id, place, bytes) => failure(id, recordings.begin(id, place, &bytes)),
        Job::Append(id, bytes) => failure(id, recordings.append(id, &bytes)),
        Job::Patch(id, patch) => failure(id, recordings.patch(id, &patch)),
        Job::GoOn(id, place, start) => Some(Done::Dvr(match recordings.go_on(id, &place, &start) {
            Ok(before) => DvrDone::GoesOn(id, before),
            Err(error) => DvrDone::Failed(id, error),
        })),
        Job::Take(id, pieces) => failure(id, recordings.take(id, &pieces)),
        Job::Fail(id) => {
            recordings.fail(id);
            Some(Done::Dvr(DvrDone::Failed(id, io::ErrorKind::TimedOut.into())))
        }
        Job::Finish(id, patch) => {
            Some(Done::Dvr(DvrDone::Finished(id, recordings.finish(id, patch.as_ref()))))
        }
        Job::Repair(root) => {
            let repaired = recordings::repair(&root);
            Some(Done::Dvr(DvrDone::Repaired(root, repaired)))
        }
        Job::Write(ticket, place, bytes) => Some(Done::Hls(HlsDone::Written(ticket, place.write(&bytes)))),
        Job::Note(place, bytes) => {
            if let Err(error) = place.write(&bytes) {
                tracing::error!("{} can't be written: {error}", place.root.join(&place.below).display());
            }
            reactor::crash_point(&place.below);
            None
        }
        Job::Remove(places) => {
            for place in places {
                match place.remove() {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => {
                        tracing::warn!(
                            "{} can't be removed: {error}",
                            place.root.join(&place.below).display()
                        );
                    }
                    _ => {}
                }
            }
            None
        }
        Job::Read(ticket, place) => Some(Done::Hls(HlsDone::Read(ticket, place.read_text()))),
        Job::Recover(ticket, wanted) => {
            Some(Done::Hls(HlsDone::Recovered(ticket, Box::new(remains::look(&wanted)))))
        }
    }
}

/// The root of a configuration as a path that exists or can be made.
pub(crate) fn place(root: &Path, below: String) -> FilePath {
    FilePath { root: root.to_owned(), below }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_whole_and_links_are_not_followed() {
        let top = std::env::temp_dir().join(format!("srs-disk-{}", std::process::id()));
        std::fs::create_dir_all(&top).unwrap();
        let at = |below: &str| place(&top.join("root"), below.to_owned());
        at("live/a.ts").write(b"segment").unwrap();
        assert_eq!((at("live/a.ts").len(), at("live").len(), at("live/b.ts").len()), (Some(7), None, None));
        assert_eq!((at("live/a.ts").read_text(), at("x").read_text()), ("segment".to_owned(), String::new()));
        // A link in place of a directory, and one in place of the temporary file.
        std::os::unix::fs::symlink(&top, top.join("root/out")).unwrap();
        assert!(at("out/x").write(b"x").is_err());
        std::fs::write(top.join("victim"), "victim").unwrap();
        std::os::unix::fs::symlink(top.join("victim"), top.join("root/live/b.ts.tmp")).unwrap();
        at("live/b.ts").write(b"new").unwrap();
        assert_eq!(std::fs::read(top.join("victim")).unwrap(), b"victim");
        assert_eq!(std::fs::read(top.join("root/live/b.ts")).unwrap(), b"new");
        assert!(at("../x").write(b"x").is_err());
        std::fs::remove_dir_all(&top).unwrap();
    }
}
