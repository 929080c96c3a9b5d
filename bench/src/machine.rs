//! The machine on which something was measured.

use std::fmt;
use std::fs;

/// What belongs beside each figure.
#[derive(Debug, Clone)]
pub struct Machine {
    processor: String,
    cores: usize,
    kernel: String,
    date: String,
}

/// The number alone: what distributors append says nothing to others.
fn version(release: &str) -> &str {
    let end = release.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(release.len());
    release.get(..end).unwrap_or(release)
}

impl Machine {
    /// This machine, today.
    #[must_use]
    pub fn here() -> Self {
        let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = info.lines().find(|line| line.starts_with("model name"));
        let model = model.and_then(|line| line.split_once(':')).map(|(_, name)| name.trim().to_owned());
        let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        Self {
            processor: model.unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            kernel: version(&release).to_owned(),
            date: jiff::Zoned::now().date().to_string(),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { processor, cores, kernel, date } = self;
        write!(f, "{processor}, {cores} cores, Linux {kernel}, {date}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_is_its_version() {
        assert_eq!(version("6.1.0-28-amd64\n"), "6.1.0");
        assert_eq!(version("6.18\n"), "6.18");
        assert!(Machine::here().to_string().contains("Linux"));
    }
}
