//! A server whose disk and clock go wrong when a test says so, by `tests/shims/faults.c` in front of the C library.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::process::run;
use crate::program::{is_on_path, source_tree};
use crate::server::{Server, configuration};
use crate::wait::SOON;

/// What goes wrong.
#[derive(Debug)]
pub struct Shim {
    directory: PathBuf,
}

impl Shim {
    /// Starts a server with this configuration, in which `DISK` is the directory that can go wrong. `None`, and said so,
    /// where there is no C compiler.
    ///
    /// # Panics
    /// When the server does not come up.
    #[must_use]
    pub fn start(own: &str) -> Option<(Server, Self)> {
        if !is_on_path("cc") {
            crate::skipped!("cc is missing");
            return None;
        }
        let directory = TempDir::new().expect("a temporary directory");
        let library = directory.path().join("faults.so");
        let mut command = Command::new("cc");
        command.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library);
        drop(run(command.arg(source_tree().join("tests/shims/faults.c")), SOON).expect_success());
        let shim = Self { directory: directory.path().to_owned() };
        fs::create_dir_all(shim.disk()).expect("a directory");
        let text = configuration(directory.path(), &own.replace("DISK", &shim.disk().to_string_lossy()));
        let (library, top) = (library.to_string_lossy().into_owned(), shim.directory.display().to_string());
        let environment = [("LD_PRELOAD", library.as_str()), ("SRS_SHIM", top.as_str())];
        Some((Server::start_with(directory, &text, &environment), shim))
    }

    /// The directory whose files can go wrong.
    #[must_use]
    pub fn disk(&self) -> PathBuf {
        self.directory.join("disk")
    }

    /// What becomes of writes from now on: a letter of the shim; `None` is all well.
    ///
    /// # Panics
    /// When it can't be said.
    pub fn writes(&self, letter: Option<char>) {
        say(&self.directory.join("write"), letter.map(String::from));
    }

    /// Moves the time of day from what it is.
    ///
    /// # Panics
    /// When it can't be said.
    pub fn clock(&self, seconds: i64) {
        say(&self.directory.join("clock"), Some(seconds.to_string()));
    }
}

/// Whole or not at all: it is read at every moment.
fn say(path: &Path, text: Option<String>) {
    match text {
        None => drop(fs::remove_file(path)),
        Some(text) => {
            let whole = path.with_extension("new");
            fs::write(&whole, text).expect("a file");
            fs::rename(whole, path).expect("a file");
        }
    }
}
