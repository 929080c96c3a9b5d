//! Going to the background: the command that the operator typed starts the server as a child in a session of its own and
//! waits until it serves. What goes wrong before that is the command's own error.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

/// Set for the process that is to serve.
pub const ENVIRONMENT: &str = "_SRS_DAEMON";

/// What the server writes to its standard output when it serves.
const READY: &str = "srs is ready";

/// Starts the server in the background with our own arguments and waits until it serves. Returns the exit code for the
/// shell.
///
/// # Errors
/// When it can't be started.
pub fn launch() -> io::Result<i32> {
    let mut words = std::env::args_os();
    let name = words.next().unwrap_or_else(|| "srs".into());
    let mut child = Command::new("/proc/self/exe")
        .arg0(name)
        .args(words)
        .env(ENVIRONMENT, "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).lines() {
            let line = line?;
            if line == READY {
                return Ok(0);
            }
            let _ = writeln!(io::stdout(), "{line}");
        }
    }
    Ok(child.wait()?.code().unwrap_or(1))
}

/// Whether this process is the one that serves in the background.
#[must_use]
pub fn is_daemon() -> bool {
    std::env::var_os(ENVIRONMENT).is_some()
}

/// Leaves the operator's session. From now on this process has the name of the command that was typed (in ps, top, pgrep and
/// killall), not that of the link by which it was started.
///
/// # Errors
/// When the kernel refuses.
pub fn detach() -> io::Result<()> {
    nix::unistd::setsid()?;
    let path = std::env::args_os().next().unwrap_or_default();
    let name = std::path::Path::new(&path).file_name().map(|name| name.as_bytes().to_vec());
    if let Some(name) = name.and_then(|name| std::ffi::CString::new(name).ok()) {
        // The kernel keeps fifteen bytes of it (prctl(2), PR_SET_NAME).
        rustix::thread::set_name(&name)?;
    }
    Ok(())
}

/// Tells the command in the foreground that the server serves, and lets go of the terminal.
///
/// # Errors
/// When standard output and error can't be replaced.
pub fn ready() -> io::Result<()> {
    let mut stdout = io::stdout();
    writeln!(stdout, "{READY}")?;
    stdout.flush()?;
    let null = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null")?;
    nix::unistd::dup2_stdout(&null)?;
    nix::unistd::dup2_stderr(&null)?;
    Ok(())
}
