//! Control groups of a test's own: limits for a few processes. Only where the test may make one.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A control group; dropping it moves what is left in it back and removes it.
#[derive(Debug)]
pub struct Cgroup {
    directory: PathBuf,
    parent: PathBuf,
    unified: bool,
}

impl Cgroup {
    /// A group with a controller, `memory` or `pids`; `None`, said on standard error, where that can't be had.
    #[must_use]
    pub fn new(controller: &str) -> Option<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("srs-test-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let old = Path::new("/sys/fs/cgroup").join(controller);
        let unified = !old.is_dir();
        let parent = if unified { PathBuf::from("/sys/fs/cgroup") } else { old };
        if unified {
            let _ = fs::write(parent.join("cgroup.subtree_control"), format!("+{controller}"));
        }
        let directory = parent.join(name);
        let group = fs::create_dir(&directory).ok().map(|()| Self { directory, parent, unified });
        let group = group.filter(|group| group.file(controller).is_some());
        if group.is_none() {
            crate::skipped!("no control group with {controller} can be made here");
        }
        group
    }

    fn file(&self, controller: &str) -> Option<PathBuf> {
        let name = match (controller, self.unified) {
            ("memory", true) => "memory.max",
            ("memory", false) => "memory.limit_in_bytes",
            _ => "pids.max",
        };
        let path = self.directory.join(name);
        path.exists().then_some(path)
    }

    /// Limits it; `None`: no limit.
    ///
    /// # Panics
    /// When the kernel refuses.
    pub fn limit(&self, controller: &str, value: Option<u64>) {
        let none = if self.unified || controller == "pids" { "max" } else { "-1" };
        let text = value.map_or_else(|| none.to_owned(), |value| value.to_string());
        let file = self.file(controller).expect("its controller's file");
        fs::write(file, text).expect("a limit");
    }

    /// Moves a process here.
    ///
    /// # Panics
    /// When the kernel refuses.
    pub fn take(&self, pid: u32) {
        fs::write(self.directory.join("cgroup.procs"), pid.to_string()).expect("a process in a group");
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let left = fs::read_to_string(self.directory.join("cgroup.procs")).unwrap_or_default();
        for pid in left.lines() {
            let _ = fs::write(self.parent.join("cgroup.procs"), pid);
        }
        let _ = fs::remove_dir(&self.directory);
    }
}
