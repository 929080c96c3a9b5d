//! The same kind of disk, on which files and sockets can be made: one flat directory in memory.

use std::ffi::{OsStr, OsString};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use fuser::{
    BsdFileFlags, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo,
    LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyEmpty, ReplyEntry, ReplyWrite,
    Request, TimeOrNow, WriteFlags,
};

use super::{Gate, VALID, attributes};

/// What lies in the directory; a node without a name was removed.
#[derive(Debug)]
struct Node {
    name: Option<OsString>,
    kind: FileType,
    mode: u32,
    bytes: Vec<u8>,
}

pub(super) struct Scratch {
    pub(super) gate: Arc<Gate>,
    nodes: Mutex<Vec<Node>>,
}

impl Scratch {
    pub(super) fn new(gate: Arc<Gate>) -> Self {
        Self { gate, nodes: Mutex::new(Vec::new()) }
    }

    fn attributes(node: Option<&Node>, ino: u64) -> FileAttr {
        let size = node.map_or(0, |node| node.bytes.len() as u64);
        let kind = node.map_or(FileType::Directory, |node| node.kind);
        let perm = u16::try_from(node.map_or(0o755, |node| node.mode & 0o777)).unwrap();
        attributes(INodeNo(ino), kind, size, perm)
    }

    /// The attributes of a node by its number; 1 is the directory.
    fn of(&self, ino: INodeNo) -> Option<FileAttr> {
        let number = u64::from(ino);
        if number == 1 {
            return Some(Self::attributes(None, 1));
        }
        let nodes = self.nodes.lock().unwrap();
        nodes.get(usize::try_from(number - 2).unwrap()).map(|node| Self::attributes(Some(node), number))
    }

    fn find(&self, name: &OsStr) -> Option<usize> {
        self.nodes.lock().unwrap().iter().position(|node| node.name.as_deref() == Some(name))
    }

    fn make(&self, name: &OsStr, mode: u32) -> FileAttr {
        let kind = if mode & 0o170_000 == 0o140_000 { FileType::Socket } else { FileType::RegularFile };
        let mut nodes = self.nodes.lock().unwrap();
        nodes.push(Node { name: Some(name.to_owned()), kind, mode, bytes: Vec::new() });
        Self::attributes(nodes.last(), nodes.len() as u64 + 1)
    }
}

impl Filesystem for Scratch {
    fn lookup(&self, _: &Request, _: INodeNo, name: &OsStr, reply: ReplyEntry) {
        self.gate.pass();
        match self.find(name).and_then(|at| self.of(INodeNo(at as u64 + 2))) {
            Some(attributes) => reply.entry(&VALID, &attributes, Generation(0)),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        self.gate.pass();
        match self.of(ino) {
            Some(attributes) => reply.attr(&VALID, &attributes),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn setattr(
        &self,
        _: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        size: Option<u64>,
        _: Option<TimeOrNow>,
        _: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        self.gate.pass();
        if let Some(at) = u64::from(ino).checked_sub(2)
            && let Some(node) = self.nodes.lock().unwrap().get_mut(usize::try_from(at).unwrap())
        {
            node.mode = mode.unwrap_or(node.mode);
            if let Some(size) = size {
                node.bytes.resize(usize::try_from(size).unwrap(), 0);
            }
        }
        self.getattr_of(ino, reply);
    }

    fn mknod(&self, _: &Request, _: INodeNo, name: &OsStr, mode: u32, _: u32, _: u32, reply: ReplyEntry) {
        self.gate.pass();
        reply.entry(&VALID, &self.make(name, mode), Generation(0));
    }

    fn create(&self, _: &Request, _: INodeNo, name: &OsStr, mode: u32, _: u32, _: i32, reply: ReplyCreate) {
        self.gate.pass();
        let attributes = self.make(name, mode);
        reply.created(&VALID, &attributes, Generation(0), FileHandle(0), FopenFlags::FOPEN_DIRECT_IO);
    }

    fn unlink(&self, _: &Request, _: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.gate.pass();
        match self.find(name) {
            Some(at) => {
                self.nodes.lock().unwrap()[at].name = None;
                reply.ok();
            }
            None => reply.error(Errno::ENOENT),
        }
    }

    fn rename(
        &self,
        _: &Request,
        _: INodeNo,
        name: &OsStr,
        _: INodeNo,
        new: &OsStr,
        _: RenameFlags,
        reply: ReplyEmpty,
    ) {
        self.gate.pass();
        if let Some(at) = self.find(new) {
            self.nodes.lock().unwrap()[at].name = None;
        }
        match self.find(name) {
            Some(at) => {
                self.nodes.lock().unwrap()[at].name = Some(new.to_owned());
                reply.ok();
            }
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
        let nodes = self.nodes.lock().unwrap();
        let Some(node) = nodes.get(usize::try_from(u64::from(ino) - 2).unwrap()) else {
            return reply.error(Errno::ENOENT);
        };
        let begin = node.bytes.len().min(usize::try_from(offset).unwrap());
        reply.data(&node.bytes[begin..node.bytes.len().min(begin + size as usize)]);
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        self.gate.pass();
        let mut nodes = self.nodes.lock().unwrap();
        let Some(node) = nodes.get_mut(usize::try_from(u64::from(ino) - 2).unwrap()) else {
            return reply.error(Errno::ENOENT);
        };
        let begin = usize::try_from(offset).unwrap();
        if node.bytes.len() < begin + data.len() {
            node.bytes.resize(begin + data.len(), 0);
        }
        node.bytes[begin..begin + data.len()].copy_from_slice(data);
        reply.written(u32::try_from(data.len()).unwrap());
    }
}

impl Scratch {
    fn getattr_of(&self, ino: INodeNo, reply: ReplyAttr) {
        match self.of(ino) {
            Some(attributes) => reply.attr(&VALID, &attributes),
            None => reply.error(Errno::ENOENT),
        }
    }
}
