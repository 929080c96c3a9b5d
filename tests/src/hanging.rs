//! A disk that hangs when it is told to: a file system of this process (FUSE), with files that can only be read.

mod scratch;

use std::ffi::OsStr;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use fuser::{
    BackgroundSession, Errno, FileAttr, FileHandle, FileType, Filesystem, Generation, INodeNo, LockOwner,
    OpenFlags, ReplyAttr, ReplyData, ReplyEntry, Request,
};

/// What the kernel learns of a file holds for so long: nothing is asked for twice at once, everything is soon asked again.
const VALID: Duration = Duration::from_millis(100);

/// Whether it hangs.
#[derive(Debug, Default)]
struct Gate {
    is_shut: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    fn pass(&self) {
        let shut = self.is_shut.lock().unwrap();
        drop(self.opened.wait_while(shut, |is_shut| *is_shut).unwrap());
    }

    fn set(&self, is_shut: bool) {
        *self.is_shut.lock().unwrap() = is_shut;
        self.opened.notify_all();
    }
}

/// What the kernel learns of a file or directory.
fn attributes(ino: INodeNo, kind: FileType, size: u64, perm: u16) -> FileAttr {
    FileAttr {
        ino,
        size,
        blocks: size.div_ceil(512),
        atime: UNIX_EPOCH,
        mtime: UNIX_EPOCH,
        ctime: UNIX_EPOCH,
        crtime: UNIX_EPOCH,
        kind,
        perm,
        nlink: 1,
        uid: nix::unistd::geteuid().as_raw(),
        gid: nix::unistd::getegid().as_raw(),
        rdev: 0,
        blksize: 4096,
        flags: 0,
    }
}

struct Files {
    gate: Arc<Gate>,
    files: Vec<(String, Vec<u8>)>,
}

impl Files {
    fn attributes(&self, ino: INodeNo) -> Option<FileAttr> {
        let at = u64::from(ino);
        let (kind, size) = match at {
            1 => (FileType::Directory, 0),
            _ => (FileType::RegularFile, self.file(ino)?.len() as u64),
        };
        Some(attributes(ino, kind, size, if at == 1 { 0o755 } else { 0o644 }))
    }

    fn file(&self, ino: INodeNo) -> Option<&[u8]> {
        let at = usize::try_from(u64::from(ino)).ok()?.checked_sub(2)?;
        self.files.get(at).map(|(_, bytes)| bytes.as_slice())
    }
}

impl Filesystem for Files {
    fn lookup(&self, _: &Request, _: INodeNo, name: &OsStr, reply: ReplyEntry) {
        self.gate.pass();
        let at = self.files.iter().position(|(known, _)| OsStr::new(known) == name);
        match at.and_then(|at| self.attributes(INodeNo(at as u64 + 2))) {
            Some(attributes) => reply.entry(&VALID, &attributes, Generation(0)),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        self.gate.pass();
        match self.attributes(ino) {
            Some(attributes) => reply.attr(&VALID, &attributes),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        self.gate.pass();
        let Some(bytes) = self.file(ino) else { return reply.error(Errno::ENOENT) };
        let begin = bytes.len().min(usize::try_from(offset).unwrap());
        reply.data(&bytes[begin..bytes.len().min(begin + size as usize)]);
    }
}

/// A directory on such a disk. It is gone when this is dropped, and its files with it.
#[derive(Debug)]
pub struct HangingDisk {
    gate: Arc<Gate>,
    session: Option<BackgroundSession>,
}

impl HangingDisk {
    /// Puts it where `directory` is; `None`, said, where that is not possible.
    #[must_use]
    pub fn mount(directory: &Path, files: Vec<(String, Vec<u8>)>) -> Option<Self> {
        let gate = Arc::new(Gate::default());
        let files = Files { gate: Arc::clone(&gate), files };
        match fuser::spawn_mount(files, directory, &fuser::Config::default()) {
            Ok(session) => Some(Self { gate, session: Some(session) }),
            Err(error) => {
                crate::skipped!("no file system of our own can be mounted here: {error}");
                None
            }
        }
    }

    /// The same with nothing on it yet: files and sockets can be made there.
    #[must_use]
    pub fn mount_empty(directory: &Path) -> Option<Self> {
        let gate = Arc::new(Gate::default());
        match fuser::spawn_mount(
            scratch::Scratch::new(Arc::clone(&gate)),
            directory,
            &fuser::Config::default(),
        ) {
            Ok(session) => Some(Self { gate, session: Some(session) }),
            Err(error) => {
                crate::skipped!("no file system of our own can be mounted here: {error}");
                None
            }
        }
    }

    /// From now on it answers nothing.
    pub fn hang(&self) {
        self.gate.set(true);
    }

    /// It answers again, also what was asked meanwhile.
    pub fn go_on(&self) {
        self.gate.set(false);
    }
}

impl Drop for HangingDisk {
    fn drop(&mut self) {
        self.go_on();
        if let Some(session) = self.session.take() {
            let _ = session.umount_and_join();
        }
    }
}
