//! Programs of others that `make test-tools` puts beside the build: an AMF decoder, and Prometheus' own checker.

use std::path::PathBuf;

/// Where they are, when not beside the build.
const DIRECTORY_VARIABLE: &str = "SRS_TESTS_TOOLS";

fn directory() -> PathBuf {
    if let Some(directory) = std::env::var_os(DIRECTORY_VARIABLE) {
        return directory.into();
    }
    // target/PROFILE/deps/it-HASH
    let test = std::env::current_exe().expect("the test has a path");
    test.ancestors().nth(3).expect("cargo's directories").join("test-tools")
}

fn tool(name: &str, path: PathBuf) -> Option<PathBuf> {
    if path.is_file() {
        return Some(path);
    }
    eprintln!("SKIPPED: {name} is not in {}: `make test-tools` puts it there where it can", path.display());
    None
}

/// A Python that has Py3AMF; the test is to return early without.
#[must_use]
pub fn python_with_amf() -> Option<PathBuf> {
    tool("Py3AMF", directory().join("venv/bin/python"))
}

/// promtool; the test is to return early without.
#[must_use]
pub fn promtool() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let installed = std::env::split_paths(&path).map(|directory| directory.join("promtool"));
    installed
        .into_iter()
        .find(|path| path.is_file())
        .or_else(|| tool("promtool", directory().join("promtool")))
}
