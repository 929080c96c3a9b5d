//! Programs of others that `make test-tools` puts beside the build: an AMF decoder, a newer ffmpeg, Prometheus' own
//! checker, nginx, players for browsers.

use std::path::PathBuf;
use std::process::Command;

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
    crate::skipped!("{name} is not in {}: `make test-tools` puts it there where it can", path.display());
    None
}

/// A Python that has Py3AMF; the test is to return early without.
#[must_use]
pub fn python_with_amf() -> Option<PathBuf> {
    tool("Py3AMF", directory().join("venv/bin/python"))
}

/// An ffmpeg that speaks Enhanced RTMP, which those of distributions may be too old for; the test is to return early without.
#[must_use]
pub fn ffmpeg_enhanced() -> Option<PathBuf> {
    let python = tool("imageio-ffmpeg", directory().join("venv/bin/python"))?;
    let ask = "import imageio_ffmpeg; print(imageio_ffmpeg.get_ffmpeg_exe())";
    let said = Command::new(python).args(["-c", ask]).output().map(|said| said.stdout).unwrap_or_default();
    tool("imageio-ffmpeg", String::from_utf8_lossy(&said).trim().into())
}

/// A file of a package of npm, such as a player for browsers; the test is to return early without.
#[must_use]
pub fn npm(package: &str, file: &str) -> Option<PathBuf> {
    tool(package, directory().join("npm/node_modules").join(package).join(file))
}

/// promtool; the test is to return early without.
#[must_use]
pub fn promtool() -> Option<PathBuf> {
    installed("promtool").or_else(|| tool("promtool", directory().join("promtool")))
}

/// nginx, which may be where the path of an ordinary user does not lead; the test is to return early without.
#[must_use]
pub fn nginx() -> Option<PathBuf> {
    let system = PathBuf::from("/usr/sbin/nginx");
    installed("nginx")
        .or_else(|| system.is_file().then_some(system))
        .or_else(|| tool("nginx", directory().join("nginx")))
}

/// nginx and its RTMP module; the test is to say so and go on without.
#[must_use]
pub fn nginx_rtmp() -> Option<(PathBuf, PathBuf)> {
    let name = "ngx_rtmp_module.so";
    let system = PathBuf::from("/usr/lib/nginx/modules").join(name);
    let module = if system.is_file() { system } else { tool(name, directory().join(name))? };
    Some((nginx()?, module))
}

fn installed(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|directory| directory.join(name)).find(|path| path.is_file())
}
