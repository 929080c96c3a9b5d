//! Files: which directory a path belongs to, opened so that nothing outside of it can be reached.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::Arc;

use conf::Config;
use conf::vhost::Vhost;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, fstatfs, open, openat, openat2};
use rustix::io::{Errno, ReadWriteFlags, preadv2};

/// Largest file that is compressed while it is sent.
const MAX_COMPRESSED: u64 = 1 << 20;

/// Part of a file that is copied rather than sent by the kernel from where it lies, bytes.
const SMALL: usize = 64 << 10;
/// How long a directory stays open: one that is replaced is seen after that, ms.
const ROOT_MS: u64 = 500;

/// A directory under a path.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Mount {
    /// Hosts that see it; `None`: all.
    vhost: Option<String>,
    components: Vec<String>,
    directory: Arc<Path>,
}

/// All directories that are served.
#[derive(Debug, Default)]
pub(crate) struct Mounts {
    mounts: Vec<Mount>,
    /// Directories of which it is known whether they are on a disk of this machine.
    local: HashMap<Arc<Path>, bool>,
    /// Of those that are, the ones that were opened lately, and when, ms.
    roots: HashMap<Arc<Path>, (OwnedFd, u64)>,
}

/// Why there is no file to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    /// Nothing of that name, or nothing that may be shown.
    NotFound,
    /// It is a directory, and the path does not say so.
    Directory,
    /// The machine could not do it now.
    Failed,
    /// It is being looked for.
    Later,
}

/// A file that can be sent.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) file: File,
    pub(crate) len: u64,
    pub(crate) modified_s: u64,
    pub(crate) tag: String,
    pub(crate) mime: &'static str,
    /// The directory that it was found below, and whether that is on a disk of this machine.
    pub(crate) root: Arc<Path>,
    pub(crate) is_local: bool,
    /// All of it, where it is to be compressed.
    text: Option<Vec<u8>>,
}

fn components(text: &str) -> Vec<String> {
    text.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

impl Mounts {
    /// What a configuration serves: the server's directory under `/`, and what vhosts mount.
    pub(crate) fn new(config: &Config) -> Self {
        let of_vhost = |vhost: &Vhost| {
            let files = &vhost.http_static;
            (vhost.enabled && files.enabled).then(|| {
                let text = &files.mount;
                // A mount that begins with the vhost's name is for that host alone.
                let bound = text.strip_prefix("[vhost]");
                let vhost_name = bound.is_some().then(|| vhost.name.clone());
                Mount {
                    vhost: vhost_name,
                    components: components(bound.unwrap_or(text)),
                    directory: Arc::from(files.dir.as_path()),
                }
            })
        };
        let mut mounts: Vec<Mount> = config.vhosts.iter().filter_map(of_vhost).collect();
        let directory = Arc::from(config.http_server.dir.as_path());
        mounts.push(Mount { vhost: None, components: Vec::new(), directory });
        // The longest goes first; of two equal ones that of one host, then the earlier.
        mounts.sort_by_key(|mount| (usize::MAX - mount.components.len(), mount.vhost.is_none()));
        Self { mounts, ..Self::default() }
    }

    /// Where the file of a path is.
    pub(crate) fn wanted(&self, vhost: Option<&str>, path: &http1::Path, as_text: bool) -> Option<Wanted> {
        let all = path.components();
        let fits = |mount: &&Mount| {
            all.starts_with(&mount.components)
                && mount
                    .vhost
                    .as_deref()
                    .is_none_or(|name| vhost.is_some_and(|host| host.eq_ignore_ascii_case(name)))
        };
        let mount = self.mounts.iter().find(fits)?;
        let mut rest: Vec<&str> = all.iter().skip(mount.components.len()).map(String::as_str).collect();
        if path.is_directory || rest.is_empty() {
            rest.push("index.html");
        }
        let mime = http1::mime::of(rest.last().unwrap_or(&""));
        let root = Arc::clone(&mount.directory);
        Some(Wanted { root, below: rest.join("/"), mime, as_text: as_text && http1::mime::is_text(mime) })
    }

    /// Opens a file as far as that takes no time. `None` when it may: then it is a thread's business.
    pub(crate) fn open_cached(&mut self, wanted: &Wanted, now_ms: u64) -> Option<Result<Found, Missing>> {
        if self.local.get(&wanted.root) != Some(&true) {
            return None;
        }
        let cached = ResolveFlags::CACHED | ResolveFlags::NO_XDEV;
        let known = self.roots.get(&wanted.root).filter(|(_, at_ms)| now_ms < *at_ms + ROOT_MS);
        if known.is_none() {
            match openat2(CWD, &*wanted.root, SEARCH, Mode::empty(), ResolveFlags::CACHED) {
                Ok(root) => drop(self.roots.insert(Arc::clone(&wanted.root), (root, now_ms))),
                Err(_) => return None,
            }
        }
        let (root, _) = self.roots.get(&wanted.root)?;
        match openat2(root, &wanted.below, READ, Mode::empty(), BENEATH | cached) {
            Ok(file) => match describe(file, wanted.mime, &wanted.root, true) {
                Ok(found) if wanted.as_text && found.is_small() => {
                    if !is_in_memory(&found.file, 0, found.len) {
                        return None;
                    }
                    Some(Ok(found.with_text()))
                }
                found => Some(found),
            },
            Err(error) if is_missing(error) => Some(Err(Missing::NotFound)),
            Err(_) => None,
        }
    }

    /// Directories that were not asked for lately are closed.
    pub(crate) fn close_roots(&mut self, now_ms: u64) {
        self.roots.retain(|_, (_, at_ms)| now_ms < *at_ms + ROOT_MS);
    }

    /// A thread has learned whether a directory is on a disk of this machine.
    pub(crate) fn learn(&mut self, root: &Arc<Path>, is_local: bool) {
        self.local.insert(Arc::clone(root), is_local);
    }

    /// Whether a directory is one of them.
    pub(crate) fn has(&self, root: &Path) -> bool {
        self.mounts.iter().any(|mount| *mount.directory == *root)
    }
}

/// A file that is wanted: where it is, and what of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) root: Arc<Path>,
    pub(crate) below: String,
    pub(crate) mime: &'static str,
    /// It will be compressed if it is small.
    pub(crate) as_text: bool,
}

impl Wanted {
    /// Opens it, however long that takes; says, too, whether its directory is on a disk of this machine.
    pub(crate) fn open(&self) -> (Result<Found, Missing>, Option<bool>) {
        let root = match open(&*self.root, SEARCH, Mode::empty()) {
            Ok(root) => root,
            Err(error) => return (Err(missing(error)), None),
        };
        let is_local =
            fstatfs(&root).ok().map(|it| LOCAL.contains(&(it.f_type.cast_unsigned() & 0xffff_ffff)));
        let opened = open_beneath(&root, &self.below);
        let found = opened.and_then(|file| describe(file, self.mime, &self.root, is_local == Some(true)));
        let as_text = |found: Found| if self.as_text && found.is_small() { found.with_text() } else { found };
        (found.map(as_text), is_local)
    }
}

/// Flags of a directory that is only looked below, and of a file that is read: a pipe or a device must not hold us up.
const SEARCH: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
const READ: OFlags = OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK).union(OFlags::NOCTTY);
/// No link is followed on the way.
const BENEATH: ResolveFlags =
    ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);
/// File systems (statfs(2)) that do not depend on another machine or program: ext2 to ext4, XFS, Btrfs, F2FS, tmpfs, ramfs,
/// overlay, ZFS.
const LOCAL: [u64; 8] =
    [0xef53, 0x5846_5342, 0x9123_683e, 0xf2f5_2010, 0x0102_1994, 0x8584_58f6, 0x794c_7630, 0x2fc1_2fc1];

pub(crate) fn describe(
    fd: OwnedFd,
    mime: &'static str,
    root: &Arc<Path>,
    is_local: bool,
) -> Result<Found, Missing> {
    let file = File::from(fd);
    let metadata = file.metadata().map_err(|_| Missing::Failed)?;
    if metadata.is_dir() {
        return Err(Missing::Directory);
    }
    if !metadata.is_file() {
        return Err(Missing::NotFound);
    }
    let modified_s = u64::try_from(metadata.mtime()).unwrap_or(0);
    let tag = format!(
        "\"{:x}-{:x}-{:x}\"",
        metadata.ino(),
        metadata.mtime_nsec() ^ metadata.mtime(),
        metadata.len()
    );
    let root = Arc::clone(root);
    Ok(Found { file, len: metadata.len(), modified_s, tag, mime, root, is_local, text: None })
}

fn is_missing(error: Errno) -> bool {
    matches!(
        error,
        Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::ACCESS | Errno::NAMETOOLONG | Errno::NXIO
    )
}

fn missing(error: Errno) -> Missing {
    if is_missing(error) || error == Errno::XDEV { Missing::NotFound } else { Missing::Failed }
}

/// Opens a file below a directory without following any link on the way.
fn open_beneath(root: &OwnedFd, below: &str) -> Result<OwnedFd, Missing> {
    match openat2(root, below, READ, Mode::empty(), BENEATH) {
        Err(Errno::NOSYS | Errno::PERM) => {}
        other => return other.map_err(missing),
    }
    // A kernel without it, or a sandbox that does not know it: one step at a time.
    let (parents, last) = below.rsplit_once('/').unwrap_or(("", below));
    let mut at = root.try_clone().map_err(|_| Missing::Failed)?;
    for parent in parents.split('/').filter(|parent| !parent.is_empty()) {
        at = openat(&at, parent, SEARCH | OFlags::NOFOLLOW, Mode::empty()).map_err(missing)?;
    }
    openat(&at, last, READ | OFlags::NOFOLLOW, Mode::empty()).map_err(missing)
}

/// Whether a part of a file can be read at once, as far as its ends tell. A file system that can't say so has no disk.
pub(crate) fn is_in_memory(file: &File, at: u64, end: u64) -> bool {
    let mut byte = [0];
    [at, end.saturating_sub(1)].into_iter().all(|at| {
        let mut into = [io::IoSliceMut::new(&mut byte)];
        match preadv2(file, &mut into, at, ReadWriteFlags::NOWAIT) {
            Err(Errno::AGAIN) => false,
            Ok(_) | Err(_) => true,
        }
    })
}

impl Found {
    /// Whether it is so small that it is sent compressed where it is a text.
    fn is_small(&self) -> bool {
        (256..=MAX_COMPRESSED).contains(&self.len)
    }

    /// A small part of it, if that is in memory: it goes out with the head.
    pub(crate) fn small_part(&self, at: u64, end: u64) -> Option<Vec<u8>> {
        let len = usize::try_from(end.checked_sub(at)?).ok().filter(|len| self.is_local && *len <= SMALL)?;
        let mut bytes = vec![0; len];
        let mut into = [io::IoSliceMut::new(&mut bytes)];
        match preadv2(&self.file, &mut into, at, ReadWriteFlags::NOWAIT) {
            Ok(count) => (count == len).then_some(bytes),
            // It has no disk.
            Err(Errno::OPNOTSUPP) => self.file.read_exact_at(&mut bytes, at).ok().map(|()| bytes),
            Err(_) => None,
        }
    }

    fn with_text(mut self) -> Self {
        let mut bytes = Vec::new();
        let read = (&self.file).take(MAX_COMPRESSED).read_to_end(&mut bytes);
        self.text = read.is_ok().then_some(bytes);
        self
    }

    /// The whole file compressed, where that is worth it.
    pub(crate) fn compressed(&self) -> Option<Vec<u8>> {
        self.text.as_deref().map(gzip)
    }
}

/// Compresses a text.
pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    // Into memory nothing fails.
    let _ = encoder.write_all(bytes);
    encoder.finish().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        conf::parse_text("x", text.as_bytes(), &conf::Environment::empty()).unwrap().config
    }

    #[test]
    fn the_longest_mount_on_a_boundary_wins_and_links_lead_nowhere() {
        let top = std::env::temp_dir().join(format!("srs-mounts-{}", std::process::id()));
        let file = |name: &str, text: &str| {
            let path = top.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        file("root/hls.txt", "root");
        file("root/index.html", "index");
        file("hls/a.txt", "hls");
        file("own/a.txt", "own");
        file("secret", "secret");
        let _ = std::os::unix::fs::symlink(top.join("secret"), top.join("root/link"));
        let _ = std::os::unix::fs::symlink(&top, top.join("root/up"));
        let at = top.display();
        let config = config(&format!(
            "listen 1; http_server {{ enabled on; dir {at}/root; }} \
             vhost a {{ http_static {{ enabled on; mount /hls; dir {at}/hls; }} }} \
             vhost b.c {{ http_static {{ enabled on; mount [vhost]/hls; dir {at}/own; }} }}"
        ));
        let mounts = Mounts::new(&config);
        let read = |vhost: Option<&str>, path: &str| {
            let mut text = String::new();
            let wanted = mounts.wanted(vhost, &http1::Path::parse(path).unwrap(), false).unwrap();
            let (found, is_local) = wanted.open();
            // The same by the short way, where it is open.
            let mut known = Mounts::new(&config);
            known.learn(&wanted.root, true);
            if let Some(cached) = known.open_cached(&wanted, 0) {
                assert_eq!(cached.as_ref().err(), found.as_ref().err(), "{path}");
            }
            assert!(found.is_err() || is_local.is_some());
            found?.file.read_to_string(&mut text).unwrap();
            Ok(text)
        };
        assert_eq!(read(None, "/hls/a.txt").as_deref(), Ok("hls"));
        assert_eq!(read(Some("B.c"), "/hls/a.txt").as_deref(), Ok("own"));
        assert_eq!(read(None, "/hls.txt").as_deref(), Ok("root"));
        assert_eq!(read(None, "/").as_deref(), Ok("index"));
        assert_eq!(read(None, "/hls"), Err(Missing::NotFound));
        assert_eq!(read(None, "/link"), Err(Missing::NotFound));
        assert_eq!(read(None, "/up/secret"), Err(Missing::NotFound));
        assert_eq!(read(None, "/hls.txt/x"), Err(Missing::NotFound));
        std::fs::remove_dir_all(&top).unwrap();
    }
}
