//! Files that grow: recordings. Each has a temporary name until it is finished, is whole up to its last append whatever
//! happens, and never takes the place of another.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FlockOperation, RenameFlags, flock, renameat_with, statat, unlinkat};
use rustix::io::Errno;

use super::{Ended, FilePath};
use crate::recording::continued::{Length, MAX_TORN, Tail};
use crate::recording::flv_file::Patch;
use crate::recording::flv_tail::FlvTail;
use crate::recording::mp4_file::Mp4File;

/// Behind the name of a file that is not finished.
pub(crate) const UNFINISHED: &str = ".tmp";
/// Names that are tried before a recording keeps its temporary one.
pub(crate) const MAX_NAMES: u32 = 100;
/// How deep directories are looked through for what was left behind, and how many names in all.
const MAX_DEPTH: usize = 8;
const MAX_ENTRIES: usize = 200_000;

/// The recordings that are open.
#[derive(Debug, Default)]
pub(crate) struct Recordings(HashMap<u64, Open>);

/// A recording that is open.
#[derive(Debug)]
pub(crate) struct Open {
    file: File,
    directory: OwnedFd,
    temporary: String,
    place: FilePath,
    len: u64,
    /// Something that was to be in it is lost: the file ends before that.
    failed: bool,
    /// Of a file that is continued: what is known of its end.
    tail: Option<Tail>,
    /// Bytes that it begins with, in front of the first packet.
    head_len: u64,
}

impl Open {
    /// A file that is written from `len` on, under its temporary name.
    pub(crate) fn new(
        mut file: File,
        (directory, temporary): (OwnedFd, String),
        place: FilePath,
        len: u64,
        tail: Option<Tail>,
    ) -> io::Result<Self> {
        lock(&file)?;
        file.seek(SeekFrom::Start(len))?;
        Ok(Self { file, directory, temporary, place, len, failed: false, tail, head_len: 0 })
    }
}

impl Recordings {
    /// Creates a file and writes its first bytes.
    pub(crate) fn begin(&mut self, id: u64, place: FilePath, bytes: &[u8]) -> io::Result<()> {
        let (file, directory, temporary) = place.create_beside(UNFINISHED)?;
        let open = Open::new(file, (directory, temporary), place, 0, None)?;
        self.insert(id, Open { head_len: bytes.len() as u64, ..open });
        self.append(id, bytes)
    }

    pub(crate) fn insert(&mut self, id: u64, open: Open) {
        self.0.insert(id, open);
    }

    pub(crate) fn set_tail(&mut self, id: u64, tail: Tail) {
        if let Some(open) = self.0.get_mut(&id) {
            open.tail = Some(tail);
        }
    }

    pub(crate) fn tail(&mut self, id: u64) -> Option<&mut Tail> {
        self.0.get_mut(&id).filter(|open| !open.failed)?.tail.as_mut()
    }

    /// Writes what follows; all of it, or nothing. Behind a hole there is nothing.
    pub(crate) fn append(&mut self, id: u64, bytes: &[u8]) -> io::Result<()> {
        let Some(open) = self.0.get_mut(&id).filter(|open| !open.failed) else { return Ok(()) };
        let written = open.file.write_all(bytes);
        match written {
            Ok(()) => open.len += bytes.len() as u64,
            Err(_) => {
                open.failed = true;
                let _ = open.file.set_len(open.len).and_then(|()| open.file.seek(SeekFrom::Start(open.len)));
            }
        }
        written
    }

    /// Writes over a part of what is there.
    pub(crate) fn patch(&mut self, id: u64, patch: &Patch) -> io::Result<()> {
        let Some(open) = self.0.get(&id).filter(|open| !open.failed) else { return Ok(()) };
        open.file.write_all_at(&patch.bytes, patch.at)
    }

    /// Something that was to be appended is lost.
    pub(crate) fn fail(&mut self, id: u64) {
        if let Some(open) = self.0.get_mut(&id) {
            open.failed = true;
        }
    }

    /// Writes over what changes with the end, and gives the file its name. Returns where it is. One in which there is nothing
    /// to see, because nothing could be written, goes.
    pub(crate) fn finish(&mut self, id: u64, patch: Option<&Patch>) -> io::Result<Ended> {
        let end = self.tail(id).map(|tail| (tail.finish(), tail.length()));
        if let Some(((bytes, _), _)) = &end {
            // What there is no room for is missing, nothing else.
            let _ = self.append(id, bytes);
        }
        let Some(open) = self.0.remove(&id) else { return Err(io::ErrorKind::NotFound.into()) };
        let patch = end.as_ref().map_or(patch, |((_, patch), _)| Some(patch));
        if open.len <= open.head_len {
            unlinkat(&open.directory, &open.temporary, AtFlags::empty())?;
            return Err(io::Error::other("nothing of it could be written"));
        }
        let patch = patch.filter(|patch| patch.at + patch.bytes.len() as u64 <= open.len);
        let ended = match patch {
            // It has less than what the end was made for.
            _ if open.failed => mend(&open.file, &open.place).map(|_| ()),
            Some(patch) => open.file.write_all_at(&patch.bytes, patch.at),
            None => Ok(()),
        };
        if let Err(error) = ended {
            // It can be played without.
            tracing::warn!("{} does not say its length: {error}", open.place.below);
        }
        let path = name(&open.directory, &open.temporary, &open.place)?;
        Ok(Ended { path, length: end.map(|(_, length)| length) })
    }
}

/// A name with a number in it; 0 is the name itself.
pub(crate) fn numbered(name: &str, number: u32) -> String {
    let (stem, ending) = name.rsplit_once('.').unwrap_or((name, ""));
    if number == 0 { name.to_owned() } else { format!("{stem}-{number}.{ending}") }
}

/// Gives a file its name, or one beside it where that is taken. One that has its name already keeps it.
fn name(directory: &OwnedFd, temporary: &str, place: &FilePath) -> io::Result<PathBuf> {
    let (above, wanted) = place.below.rsplit_once('/').unwrap_or(("", &place.below));
    for attempt in 0..MAX_NAMES {
        let name = numbered(wanted, attempt);
        let path = || place.root.join(above).join(&name);
        match renameat_with(directory, temporary, directory, &name, RenameFlags::NOREPLACE) {
            Ok(()) => return Ok(path()),
            Err(Errno::EXIST) if is_same(directory, temporary, &name) => {
                unlinkat(directory, temporary, AtFlags::empty())?;
                return Ok(path());
            }
            Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// Whether two names are those of one file.
fn is_same(directory: &OwnedFd, one: &str, other: &str) -> bool {
    let file = |name: &str| {
        let stat = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        Some((stat.st_dev, stat.st_ino))
    };
    file(one).is_some_and(|found| file(other) == Some(found))
}

/// Says that a file is being written; [`io::ErrorKind::WouldBlock`] when somebody else does that, here or in another process.
/// It is said no longer when the file is closed, however that comes.
pub(crate) fn lock(file: &File) -> io::Result<()> {
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => Err(io::ErrorKind::WouldBlock.into()),
        // A file system that has no locks.
        _ => Ok(()),
    }
}

/// Looks for recordings that a former run left unfinished below a directory, and finishes them. Returns those, each with the name that it
/// was to get.
pub(crate) fn repair(root: &Path) -> Vec<(String, Ended)> {
    let mut repaired = Vec::new();
    let mut left = MAX_ENTRIES;
    let mut directories = vec![(root.to_owned(), 0)];
    while let Some((directory, depth)) = directories.pop() {
        let Ok(entries) = std::fs::read_dir(&directory) else { continue };
        for entry in entries.flatten() {
            left = left.saturating_sub(1);
            if left == 0 {
                tracing::warn!("{}: too many files to look for unfinished recordings", root.display());
                return repaired;
            }
            let Ok(kind) = entry.file_type() else { continue };
            let path = entry.path();
            if kind.is_dir() && depth < MAX_DEPTH {
                directories.push((path, depth + 1));
            } else if kind.is_file()
                && let Some(below) = unfinished(root, &path)
            {
                match repair_one(&path, FilePath { root: root.to_owned(), below: below.clone() }) {
                    Ok(Some(ended)) => {
                        tracing::warn!("a recording of a former run is repaired: {}", ended.path.display());
                        repaired.push((below, ended));
                    }
                    Ok(None) => tracing::warn!("left by a former run, and no recording: {}", path.display()),
                    // Nothing is left there: another http process is writing it.
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => tracing::error!("{} can't be repaired: {error}", path.display()),
                }
            }
        }
    }
    repaired
}

/// The name that a file was to get, below the root, if it is an unfinished recording.
fn unfinished(root: &Path, path: &Path) -> Option<String> {
    let below = path.strip_prefix(root).ok()?.to_str()?.strip_suffix(UNFINISHED)?;
    (below.ends_with(".flv") || below.ends_with(".mp4")).then(|| below.to_owned())
}

/// Finishes what was left of a recording under this path. Returns where it is then; nothing, where it was none.
pub(crate) fn repair_one(path: &Path, place: FilePath) -> io::Result<Option<Ended>> {
    let file = File::options().read(true).write(true).open(path)?;
    lock(&file)?;
    let mended = mend(&file, &place)?;
    if mended == Mended::Not {
        return Ok(None);
    }
    let (directory, name) = place.directory(false)?;
    let temporary = format!("{name}{UNFINISHED}");
    let Mended::Whole(length) = mended else {
        // No player opens it, and nothing is lost.
        unlinkat(&directory, &temporary, AtFlags::empty())?;
        return Ok(None);
    };
    let path = self::name(&directory, &temporary, &place)?;
    Ok(Some(Ended { path, length: Some(length) }))
}

/// What a file that was left behind is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mended {
    /// No recording.
    Not,
    /// The beginning of one, without a picture or sound.
    Empty,
    /// Whole, and so long.
    Whole(Length),
}

/// Cuts a recording where it is whole, and finishes it.
fn mend(file: &File, place: &FilePath) -> io::Result<Mended> {
    let (mut length, index, patch, is_empty) = if place.below.ends_with(".flv") {
        let Some(back) = FlvTail::read_back(file)? else { return Ok(Mended::Not) };
        (back.length(), Vec::new(), back.finish(), back.is_empty())
    } else {
        let Some(back) = Mp4File::read_back(file)? else { return Ok(Mended::Not) };
        let (index, patch) = back.finish();
        let length = Length { duration_ms: back.end_ms(), bytes: back.len() };
        (length, index, patch, back.is_empty())
    };
    let len = length.bytes;
    if file.metadata()?.len().saturating_sub(len) > MAX_TORN {
        return Ok(Mended::Not);
    }
    if is_empty {
        return Ok(Mended::Empty);
    }
    file.set_len(len)?;
    file.write_all_at(&patch.bytes, patch.at)?;
    // The index only helps; a full disk may have no room for it.
    match file.write_all_at(&index, len) {
        Ok(()) => length.bytes += index.len() as u64,
        Err(error) => {
            tracing::warn!("{} has no index: {error}", place.below);
            file.set_len(len)?;
        }
    }
    Ok(Mended::Whole(length))
}

#[cfg(test)]
mod tests {
    use media::Kind;

    use super::*;
    use crate::recording::flv_file::FlvFile;

    #[test]
    fn what_was_left_behind_becomes_a_recording_and_no_name_is_taken_twice() {
        let top = std::env::temp_dir().join(format!("srs-recordings-{}", std::process::id()));
        let at = |below: &str| FilePath { root: top.clone(), below: below.to_owned() };
        let mut recordings = Recordings::default();
        for id in 1..3 {
            let (mut file, mut bytes) = FlvFile::begin(None, false, true);
            recordings.begin(id, at("live/a.flv"), &bytes).unwrap();
            bytes.clear();
            file.tag(&mut bytes, Kind::Video, 0, b"\x17\x01\0\0\0key", true);
            file.tag(&mut bytes, Kind::Video, 960, b"\x27\x01\0\0\0p", false);
            recordings.append(id, &bytes).unwrap();
            let path = recordings.finish(id, Some(&file.finish())).unwrap().path;
            assert_eq!(path, top.join(if id == 1 { "live/a.flv" } else { "live/a-1.flv" }));
        }
        // Nothing was written into it but what it begins with.
        recordings.begin(3, at("live/empty.flv"), b"FLV").unwrap();
        assert!(recordings.finish(3, None).is_err());
        assert!(!top.join("live/empty.flv").exists() && !top.join("live/empty.flv.tmp").exists());
        let whole = std::fs::read(top.join("live/a.flv")).unwrap();
        std::fs::write(top.join("live/b.flv.tmp"), &whole[..whole.len() - 5]).unwrap();
        std::fs::write(top.join("live/c.flv.tmp"), "something else").unwrap();
        let boxes = b"\0\0\0\x08ftyp\0\0\0\x08moov\0\0\0\x08moof\0\0\0\x09mdatx\0\0\0\x08moof\0\0\0\x20mdat";
        std::fs::write(top.join("live/d.mp4.tmp"), boxes).unwrap();
        // What somebody writes is not left behind.
        let (_, bytes) = FlvFile::begin(None, false, true);
        recordings.begin(3, at("live/e.flv"), &bytes).unwrap();
        repair(&top);
        assert!(top.join("live/e.flv.tmp").exists() && !top.join("live/e.flv").exists());
        drop(recordings);
        repair(&top);
        assert!(!top.join("live/e.flv").exists() && !top.join("live/e.flv.tmp").exists(), "nothing is in it");
        let repaired = File::open(top.join("live/b.flv")).unwrap();
        let length = FlvTail::read_back(&repaired).unwrap().unwrap().length();
        assert!(length.bytes < whole.len() as u64 && length.bytes == repaired.metadata().unwrap().len());
        assert_eq!(length.duration_ms, 0, "the last tag was not whole");
        assert!(top.join("live/c.flv.tmp").exists());
        // The first fragment was never whole.
        assert!(!top.join("live/d.mp4").exists() && !top.join("live/d.mp4.tmp").exists());
        std::fs::remove_dir_all(&top).unwrap();
    }
}
