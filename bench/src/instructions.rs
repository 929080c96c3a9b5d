//! Instructions in user space for each packet, batch and viewer, as callgrind counts them: repeatable to the instruction, so
//! that a regression is seen without a quiet machine.
//!
//! This program runs itself under valgrind, once for each case; what is counted is only what happens within
//! [`counted_region`]. What the kernel does is not seen.

pub mod cases;
pub mod fan_out;
pub mod table;

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use cases::CASES;
use table::Counts;

/// Runs `work`; valgrind counts between its first instruction and its last.
#[inline(never)]
pub fn counted_region<T>(work: impl FnOnce() -> T) -> T {
    std::hint::black_box(work())
}

/// Why nothing can be counted here, if so.
#[must_use]
pub fn missing() -> Option<String> {
    let version = Command::new("valgrind").arg("--version").stdout(Stdio::null()).status();
    match version {
        Ok(status) if status.success() => None,
        Ok(status) => Some(format!("valgrind does not run: {status}")),
        Err(error) => Some(format!("valgrind is not installed ({error}): apt-get install valgrind")),
    }
}

/// The sum that callgrind wrote into its file.
fn total(text: &str) -> Option<u64> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("totals:").or_else(|| line.strip_prefix("summary:")))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Counts one case.
fn count(name: &str, directory: &Path) -> Result<f64> {
    let file = directory.join(format!("{name}.callgrind"));
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--quiet", "--toggle-collect=*counted_region*"])
        .arg(format!("--callgrind-out-file={}", file.display()))
        .arg(std::env::current_exe()?)
        .args(["instructions-load", name])
        // The C library would choose another copy loop on each kind of processor.
        .env("GLIBC_TUNABLES", "glibc.cpu.hwcaps=-AVX2,-AVX,-ERMS,-FSRM")
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .output()?;
    if !output.status.success() {
        bail!("{name}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    let units: u64 = String::from_utf8_lossy(&output.stdout).trim().parse().context("no count of units")?;
    let text = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    let total = total(&text).with_context(|| format!("{name}: callgrind counted nothing"))?;
    if total == 0 || units == 0 {
        bail!("{name}: nothing was counted");
    }
    // One digit behind the point is what can be noted.
    Ok((total as f64 / units as f64 * 10.0).round() / 10.0)
}

/// Counts all cases.
///
/// # Errors
/// When valgrind, or a case, fails.
pub fn count_all() -> Result<Counts> {
    let directory = std::env::temp_dir().join(format!("srs-bench-instructions-{}", std::process::id()));
    std::fs::create_dir_all(&directory)?;
    let counts = CASES.iter().map(|case| Ok((case.name.to_owned(), count(case.name, &directory)?))).collect();
    let _ = std::fs::remove_dir_all(&directory);
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_stands_in_the_file() {
        assert_eq!(total("version: 1\nevents: Ir\nfn=(1)\n1 5\ntotals: 1234\n"), Some(1234));
        assert_eq!(total("summary: 77 1\n"), Some(77));
        assert_eq!(total("version: 1\n"), None);
    }
}
