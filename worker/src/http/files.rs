//! Files: which directory a path belongs to, opened so that nothing outside of it can be reached.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use conf::Config;
use conf::vhost::Vhost;
use rustix::fs::{Mode, OFlags, ResolveFlags, open, openat, openat2};
use rustix::io::Errno;

/// Largest file that is compressed while it is sent.
const MAX_COMPRESSED: u64 = 1 << 20;

/// A directory under a path.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Mount {
    /// Hosts that see it; `None`: all.
    vhost: Option<String>,
    components: Vec<String>,
    directory: PathBuf,
}

/// All directories that are served.
#[derive(Debug, Default)]
pub(crate) struct Mounts(Vec<Mount>);

/// Why there is no file to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    /// Nothing of that name, or nothing that may be shown.
    NotFound,
    /// It is a directory, and the path does not say so.
    Directory,
    /// The machine could not do it now.
    Failed,
}

/// A file that can be sent.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) file: File,
    pub(crate) len: u64,
    pub(crate) modified_s: u64,
    pub(crate) tag: String,
    pub(crate) mime: &'static str,
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
                    directory: files.dir.clone(),
                }
            })
        };
        let mut mounts: Vec<Mount> = config.vhosts.iter().filter_map(of_vhost).collect();
        let directory = config.http_server.dir.clone();
        mounts.push(Mount { vhost: None, components: Vec::new(), directory });
        // The longest goes first; of two equal ones that of one host, then the earlier.
        mounts.sort_by_key(|mount| (usize::MAX - mount.components.len(), mount.vhost.is_none()));
        Self(mounts)
    }

    /// Opens the file of a path.
    pub(crate) fn open(&self, vhost: Option<&str>, path: &http1::Path) -> Result<Found, Missing> {
        let all = path.components();
        let fits = |mount: &&Mount| {
            all.starts_with(&mount.components)
                && mount
                    .vhost
                    .as_deref()
                    .is_none_or(|name| vhost.is_some_and(|host| host.eq_ignore_ascii_case(name)))
        };
        let mount = self.0.iter().find(fits).ok_or(Missing::NotFound)?;
        let mut rest: Vec<&str> = all.iter().skip(mount.components.len()).map(String::as_str).collect();
        if path.is_directory || rest.is_empty() {
            rest.push("index.html");
        }
        let found = open_beneath(&mount.directory, &rest)?;
        let mime = http1::mime::of(rest.last().unwrap_or(&""));
        describe(found, mime)
    }
}

pub(crate) fn describe(fd: OwnedFd, mime: &'static str) -> Result<Found, Missing> {
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
    Ok(Found { file, len: metadata.len(), modified_s, tag, mime })
}

/// Opens a file below a directory without following any link on the way.
fn open_beneath(directory: &Path, components: &[&str]) -> Result<OwnedFd, Missing> {
    let missing = |error: Errno| match error {
        Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV | Errno::ACCESS | Errno::NAMETOOLONG => {
            Missing::NotFound
        }
        Errno::NXIO => Missing::NotFound,
        _ => Missing::Failed,
    };
    let search = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = open(directory, search, Mode::empty()).map_err(missing)?;
    // A pipe or a device must not hold us up.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    match openat2(&root, components.join("/"), flags, Mode::empty(), resolve) {
        Err(Errno::NOSYS | Errno::PERM) => {}
        other => return other.map_err(missing),
    }
    // A kernel without it, or a sandbox that does not know it: one step at a time.
    let (last, parents) = components.split_last().ok_or(Missing::NotFound)?;
    let mut at = root;
    for parent in parents {
        at = openat(&at, *parent, search | OFlags::NOFOLLOW, Mode::empty()).map_err(missing)?;
    }
    openat(&at, *last, flags | OFlags::NOFOLLOW, Mode::empty()).map_err(missing)
}

impl Found {
    /// The whole file compressed, where that is worth it.
    pub(crate) fn compressed(&self) -> Option<Vec<u8>> {
        if !http1::mime::is_text(self.mime) || !(256..=MAX_COMPRESSED).contains(&self.len) {
            return None;
        }
        let mut bytes = Vec::new();
        (&self.file).take(MAX_COMPRESSED).read_to_end(&mut bytes).ok()?;
        Some(gzip(&bytes))
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
            mounts.open(vhost, &http1::Path::parse(path).unwrap())?.file.read_to_string(&mut text).unwrap();
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
