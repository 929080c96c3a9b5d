//! Crash points, for tests of what the death of a process at an exact place costs. Releases have none.
//!
//! `SRS_TEST_CRASH_AT=NAME:FILE` names a place and a file: the first process that comes to that place while the file is there
//! takes it away and is killed on the spot, as by kill -9.

/// The process dies here if a test wants it to.
#[cfg(debug_assertions)]
pub fn crash_point(name: &str) {
    static WANTED: std::sync::OnceLock<Option<(String, String)>> = std::sync::OnceLock::new();
    let wanted = WANTED.get_or_init(|| {
        let text = std::env::var("SRS_TEST_CRASH_AT").ok()?;
        let (name, file) = text.split_once(':')?;
        Some((name.to_owned(), file.to_owned()))
    });
    if let Some((wanted, file)) = wanted
        && wanted == name
        && std::fs::remove_file(file).is_ok()
    {
        let _ = nix::sys::signal::kill(nix::unistd::getpid(), nix::sys::signal::Signal::SIGKILL);
    }
}

/// Nothing, in a release.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub fn crash_point(_: &str) {}
