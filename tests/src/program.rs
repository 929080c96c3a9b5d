//! Finds the programs that tests run: ours, built on first use, and those of others.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// When set to 1, tests whose programs are missing pass without having tested anything.
const SKIP_VARIABLE: &str = "SRS_TESTS_SKIP_MISSING";

/// A directory with ready-made executables of ours, to test those.
const DIRECTORY_VARIABLE: &str = "SRS_TESTS_BIN_DIR";

/// The server's executable.
#[must_use]
pub fn srs() -> PathBuf {
    executables().join("srs")
}

/// The executable of `srs-cli`.
#[must_use]
pub fn srs_cli() -> PathBuf {
    executables().join("srs-cli")
}

/// A file to which every test that is skipped adds a line.
const SKIPPED_VARIABLE: &str = "SRS_TESTS_SKIPPED";

/// Notes that the test of this thread is skipped.
pub fn skip(reason: &str) {
    use std::io::Write;
    eprintln!("SKIPPED: {reason}");
    let Some(path) = std::env::var_os(SKIPPED_VARIABLE) else { return };
    let thread = std::thread::current();
    let line = format!("{}: {reason}\n", thread.name().unwrap_or("a test"));
    let file = fs::OpenOptions::new().create(true).append(true).open(path);
    let _ = file.and_then(|mut file| file.write_all(line.as_bytes()));
}

/// Whether all of these programs are there; the test is to return early if not.
///
/// # Panics
/// When one is missing, unless the environment allows to skip.
#[must_use]
pub fn have(programs: &[&str]) -> bool {
    let Some(missing) = programs.iter().find(|program| !is_on_path(program)) else { return true };
    let skip = std::env::var(SKIP_VARIABLE).is_ok_and(|value| value == "1");
    assert!(skip, "install {missing}, or set {SKIP_VARIABLE}=1 to go without this test");
    crate::skipped!("{missing} is missing");
    false
}

/// Whether all of these programs are there that not every machine can have; if not, the test says so and is to return early.
#[must_use]
pub fn optional(programs: &[&str]) -> bool {
    let missing = programs.iter().find(|program| !is_on_path(program));
    if let Some(missing) = missing {
        crate::skipped!("{missing} is missing");
    }
    missing.is_none()
}

/// Where a program is.
///
/// # Panics
/// When it is nowhere on the path.
#[must_use]
pub fn find(program: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places = std::env::split_paths(&path).map(|directory| directory.join(program));
    places.find(|place| place.is_file()).unwrap_or_else(|| panic!("{program} is not on the path"))
}

/// The top of the source tree.
#[must_use]
pub fn source_tree() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("tests stands in the source tree").to_owned()
}

/// All files of the source tree with this ending, by their paths in it, with their texts. What was built, and what is hidden, is
/// passed over.
///
/// # Panics
/// When one can't be read.
#[must_use]
pub fn source_files(ending: &str) -> Vec<(PathBuf, String)> {
    fn walk(directory: &Path, ending: &str, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(directory).unwrap().flatten() {
            let path = entry.path();
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if path.is_dir() && name != "target" && !name.starts_with('.') {
                walk(&path, ending, found);
            } else if name.ends_with(ending) {
                found.push(path);
            }
        }
    }
    let (top, mut found) = (source_tree(), Vec::new());
    walk(&top, ending, &mut found);
    found.sort();
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        (path.strip_prefix(&top).unwrap().to_owned(), text)
    };
    found.into_iter().map(read).collect()
}

/// Whether a program is on the path.
#[must_use]
pub fn is_on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
}

/// The directory of our executables. They are built once per test program, in the profile of the tests, where cargo has
/// put the tests themselves.
fn executables() -> &'static Path {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    DIRECTORY.get_or_init(|| {
        if let Some(directory) = std::env::var_os(DIRECTORY_VARIABLE) {
            return directory.into();
        }
        // target/PROFILE/deps/it-HASH
        let test = std::env::current_exe().expect("the test has a path");
        let directory = test.ancestors().nth(2).expect("cargo's directories").to_owned();
        let target = directory.parent().expect("cargo's directories");
        let profile = if directory.ends_with("release") { "release" } else { "test" };
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let status = Command::new(cargo)
            .current_dir(source_tree())
            .args(["build", "--quiet", "-p", "srs", "-p", "srs-cli", "--profile", profile, "--target-dir"])
            .arg(target)
            .status()
            .expect("cargo runs");
        assert!(status.success(), "the executables can't be built");
        directory
    })
}
