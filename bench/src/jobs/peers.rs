//! Our server and its peers at the same jobs, in turn: what `make bench-peers` does.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::{arrivals, cost, latency, memory, slow};
use crate::comparison::Comparison;
use crate::report::Report;
use crate::server::Peer;

/// Where Debian and others put the module.
const MODULES: [&str; 3] = [
    "/usr/lib/nginx/modules/ngx_rtmp_module.so",
    "/usr/lib64/nginx/modules/ngx_rtmp_module.so",
    "/usr/local/lib/nginx/ngx_rtmp_module.so",
];
const INSTALL: &str = "apt-get install nginx-light libnginx-mod-rtmp";
const URL: &str = "rtmp://127.0.0.1:19359/live/bench";

fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from);
    let places = std::env::split_paths(&path).chain(system);
    places.map(|place| place.join(name)).find(|file| file.is_file())
}

/// nginx with its RTMP module, configured by `configuration`.
///
/// # Errors
/// Why it is skipped.
pub fn nginx(configuration: &Path) -> Result<Peer, String> {
    let Some(nginx) = program("nginx") else { return Err(format!("nginx is not installed: {INSTALL}")) };
    if !MODULES.iter().any(|module| Path::new(module).is_file()) {
        return Err(format!("nginx has no RTMP module: {INSTALL}"));
    }
    let configuration =
        configuration.canonicalize().map_err(|error| format!("{}: {error}", configuration.display()))?;
    let text = format!("nginx-rtmp={} -c {},{URL}", nginx.display(), configuration.display());
    text.parse().map_err(|error: anyhow::Error| error.to_string())
}

/// How large the jobs are.
#[derive(Debug, Clone)]
pub struct Sizes {
    /// Viewers for `cost` and `latency`.
    pub viewers: Vec<usize>,
    /// Streams with one viewer each.
    pub streams: u32,
    /// Viewers for `memory`.
    pub memory: usize,
    /// Viewers of which some are slow.
    pub slow: usize,
}

/// All jobs that a peer can do too; each table is told as soon as it is there.
///
/// # Errors
/// When a server does not start, or a table can't be told.
pub fn peers(
    comparison: &Comparison,
    sizes: &Sizes,
    mut tell: impl FnMut(Report) -> Result<()>,
) -> Result<()> {
    let named = |mut report: Report, viewers: Option<usize>| {
        report.name = match viewers {
            Some(viewers) => format!("peers-{}-{viewers}", report.name),
            None => format!("peers-{}", report.name),
        };
        report
    };
    for viewers in &sizes.viewers {
        tell(named(cost::cost(comparison, *viewers, &[350, 100, 15])?, Some(*viewers)))?;
    }
    for viewers in &sizes.viewers {
        tell(named(latency::latency(comparison, *viewers)?, Some(*viewers)))?;
    }
    tell(named(memory::memory(comparison, sizes.memory)?, None))?;
    tell(named(arrivals::first_picture(comparison, 300, 6.0)?, None))?;
    tell(named(cost::many_streams(comparison, sizes.streams)?, None))?;
    tell(named(slow::slow_viewers(comparison, sizes.slow, 10, comparison.duration * 2.0)?, None))
}

/// Other peers as `make` hands them over: separated by `|`.
///
/// # Errors
/// When one of them is no peer.
pub fn list(text: &str) -> Result<Vec<Peer>> {
    text.split('|').map(str::trim).filter(|peer| !peer.is_empty()).map(str::parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_said_with_its_remedy() {
        match nginx(Path::new("peers/nginx-rtmp.conf")) {
            Ok(peer) => assert_eq!(peer.name, "nginx-rtmp"),
            Err(why) => assert!(why.contains(INSTALL), "{why}"),
        }
    }

    #[test]
    fn peers_are_listed() {
        let peers =
            list("a=x -g 'daemon off;',rtmp://127.0.0.1:1/l/b | b=y,rtmp://127.0.0.1:2/l/b |").unwrap();
        assert_eq!(peers.iter().map(|peer| peer.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        assert!(list("").unwrap().is_empty() && list("a").is_err());
    }
}
