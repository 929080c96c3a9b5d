//! The short form of everything: each job against the floor, our server and its peers in turn, each time with a fresh
//! server, in less than five minutes.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use crate::floor;
use crate::load::{Load, Outcome};
use crate::report::{Report, failures, number};
use crate::server::{Peer, Server, Settings, default_binary};
use crate::synthetic::Plan;

/// Which servers are measured.
#[derive(Debug, Clone, Args)]
pub struct Contest {
    /// Executable of the server [default: srs beside this program]
    #[arg(long)]
    pub server: Option<PathBuf>,
    /// Stream processes of the server
    #[arg(long, default_value_t = 1)]
    pub workers: u32,
    /// Back-sources of the server
    #[arg(long, default_value_t = 1)]
    pub backsources: u32,
    /// Video bit rate in kbit/s
    #[arg(long, default_value_t = 500)]
    pub video_kbps: u64,
    /// Audio bit rate in kbit/s
    #[arg(long, default_value_t = 48)]
    pub audio_kbps: u64,
    /// Streams, with so many viewers each
    #[arg(long, default_value_t = 1)]
    pub streams: u32,
    /// Another server, as NAME=COMMAND,URL; may be repeated
    #[arg(long)]
    pub peer: Vec<Peer>,
    /// Log level of the server; what it says beside the ordinary is shown where connections failed
    #[arg(long, default_value = "warn")]
    pub log_level: String,
    /// Seconds that each figure is measured
    #[arg(long, default_value_t = 6.0)]
    pub duration: f64,
}

fn load(plan: Plan, viewers: usize, duration: f64) -> Load {
    Load {
        plan,
        streams: 1,
        first_stream: 0,
        viewers,
        within: 1.0,
        settle: 2.0,
        duration,
        look: 20,
        slow_percent: 0,
        raw: false,
    }
}

impl Contest {
    fn plan(&self) -> Plan {
        Plan { video_kbps: self.video_kbps, audio_kbps: self.audio_kbps, fps: 25, gop_s: 2 }
    }

    fn load(&self, viewers: usize) -> Load {
        Load { streams: self.streams, ..load(self.plan(), viewers, self.duration) }
    }

    fn binary(&self) -> PathBuf {
        self.server.clone().unwrap_or_else(default_binary)
    }

    /// The same load against our server and all peers: name and outcome.
    fn each(&self, load: &Load, mw_latency_ms: u64) -> Result<Vec<(String, Outcome)>> {
        let settings = Settings {
            log_level: &self.log_level,
            mw_latency_ms,
            workers: self.workers,
            backsources: self.backsources,
        };
        let server = Server::start(&self.binary(), settings)?;
        let outcome = load.run(&server.target, &server.tree)?;
        if !outcome.failures.is_empty() {
            for line in server.complaints() {
                eprintln!("{line}");
            }
        }
        let mut outcomes = vec![("srs".to_owned(), outcome)];
        drop(server);
        for peer in &self.peer {
            let server = Server::start_peer(peer)?;
            outcomes.push((peer.name.clone(), load.run(&server.target, &server.tree)?));
        }
        Ok(outcomes)
    }

    /// Processor time against the floor, for several batch intervals.
    ///
    /// # Errors
    /// When a server does not start.
    pub fn cost(&self, viewers: usize, intervals: &[u64]) -> Result<Report> {
        let rate = self.video_kbps + self.audio_kbps;
        let title =
            format!("Processor time: {} stream(s) of {rate} kbit/s, {viewers} viewer(s) each", self.streams);
        let head = [
            "batch ms",
            "server",
            "CPU s/Gbit",
            "floor",
            "ratio (goal: near 1)",
            "Gbit/s",
            "p50 ms",
            "p99 ms",
            "lost",
            "PSS MiB",
            "failures",
        ];
        let mut report = Report::new(title, &head);
        for interval_ms in intervals {
            let load = self.load(viewers);
            let floor = floor::measure(&load, *interval_ms)?.cpu_s_per_gbit;
            for (name, outcome) in self.each(&load, *interval_ms)? {
                report.row([
                    interval_ms.to_string(),
                    name,
                    number(outcome.cpu_s_per_gbit),
                    number(floor),
                    number(outcome.cpu_s_per_gbit / floor),
                    number(outcome.gbit_per_s),
                    number(outcome.latency.p50_ms),
                    number(outcome.latency.p99_ms),
                    outcome.findings.lost.to_string(),
                    number(outcome.memory_steady.pss_kib as f64 / 1024.0),
                    failures(&outcome),
                ]);
            }
        }
        Ok(report)
    }

    /// Delay when nothing waits to be batched.
    ///
    /// # Errors
    /// When a server does not start.
    pub fn latency(&self, viewers: usize) -> Result<Report> {
        let title =
            format!("Latency without batching: {viewers} viewers, publisher's socket to viewer's socket");
        let head = ["server", "p50 ms", "p99 ms", "max ms", "packets", "lost", "CPU s/Gbit", "failures"];
        let mut report = Report::new(title, &head);
        for (name, outcome) in self.each(&self.load(viewers), 0)? {
            report.row([
                name,
                number(outcome.latency.p50_ms),
                number(outcome.latency.p99_ms),
                number(outcome.latency.max_ms),
                outcome.latency.count.to_string(),
                outcome.findings.lost.to_string(),
                number(outcome.cpu_s_per_gbit),
                failures(&outcome),
            ]);
        }
        Ok(report)
    }

    /// Memory that one more viewer costs.
    ///
    /// # Errors
    /// When a server does not start.
    pub fn memory(&self, viewers: usize) -> Result<Report> {
        let rate = 100 + self.audio_kbps;
        let title = format!("Memory: {viewers} viewers of one stream of {rate} kbit/s, PSS of all processes");
        let head =
            ["server", "KiB per viewer", "goal", "before KiB", "with viewers KiB", "processes", "failures"];
        let mut report = Report::new(title, &head);
        let plan = Plan { video_kbps: 100, ..self.plan() };
        let load = Load { within: 2.0, settle: 3.0, ..load(plan, viewers, 2.0) };
        for (name, outcome) in self.each(&load, 350)? {
            let (before, steady) = (outcome.memory_before, outcome.memory_steady);
            let grown = steady.pss_kib.saturating_sub(before.pss_kib);
            report.row([
                name,
                number(grown as f64 / outcome.stayed.max(1) as f64),
                "< 4, stretch < 1".into(),
                before.pss_kib.to_string(),
                steady.pss_kib.to_string(),
                steady.processes.to_string(),
                failures(&outcome),
            ]);
        }
        Ok(report)
    }

    /// From connect to the first key frame, one viewer after the other.
    ///
    /// # Errors
    /// When a server does not start.
    pub fn first_picture(&self, viewers: usize, within: f64) -> Result<Report> {
        let title = format!("First picture: {viewers} viewers come within {within} s to a running stream");
        let head = ["server", "p50 ms", "p99 ms", "max ms", "goal", "with a picture", "failures"];
        let mut report = Report::new(title, &head);
        let load = Load { within, settle: 0.5, look: 0, ..load(self.plan(), viewers, 0.5) };
        for (name, outcome) in self.each(&load, 350)? {
            let summary = outcome.first_picture;
            report.row([
                name,
                number(summary.p50_ms),
                number(summary.p99_ms),
                number(summary.max_ms),
                "p99 < 50".into(),
                format!("{} of {}", outcome.pictured, outcome.viewers),
                failures(&outcome),
            ]);
        }
        Ok(report)
    }

    /// Healthy viewers beside slow ones: what the slow ones cost the others.
    ///
    /// # Errors
    /// When a server does not start.
    pub fn slow_viewers(&self, viewers: usize, percent: usize) -> Result<Report> {
        let title = format!("Slow viewers: {percent} % of {viewers} read at half the bit rate");
        let head = ["server", "p99 ms of the others", "lost by the others", "PSS KiB", "stayed", "failures"];
        let mut report = Report::new(title, &head);
        let plan = Plan { gop_s: 1, ..self.plan() };
        let load = Load { slow_percent: percent, ..load(plan, viewers, self.duration * 2.0) };
        for (name, outcome) in self.each(&load, 0)? {
            report.row([
                name,
                number(outcome.latency.p99_ms),
                outcome.findings.lost.to_string(),
                outcome.memory_steady.pss_kib.to_string(),
                format!("{} of {}", outcome.stayed, outcome.viewers),
                failures(&outcome),
            ]);
        }
        Ok(report)
    }

    /// All of them; each report is told as soon as it is there.
    ///
    /// # Errors
    /// When a server does not start.
    pub fn run(&self, mut tell: impl FnMut(Report)) -> Result<()> {
        tell(self.cost(400, &[350, 100, 15])?);
        tell(self.latency(200)?);
        tell(self.first_picture(300, 6.0)?);
        tell(self.first_picture(1000, 1.0)?);
        tell(self.memory(2000)?);
        tell(self.slow_viewers(200, 20)?);
        Ok(())
    }
}
