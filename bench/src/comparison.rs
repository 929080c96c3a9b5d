//! Who is measured: the floor, our server and its peers take turns at the same load, each time afresh, because machines are
//! noisy. Several rounds make medians.

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;

use crate::floor;
use crate::load::Load;
use crate::outcome::Outcome;
use crate::server::{Drops, Gather, Peer, Server, Settings, default_binary};
use crate::synthetic::Plan;

/// Viewers that connect within a second where a job does not say otherwise.
const COME_PER_SECOND: usize = 2000;

/// Which servers are measured.
#[derive(Debug, Clone, Args)]
pub struct Comparison {
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
    /// Viewers take HTTP-FLV instead of RTMP (a peer's URL has #http=ADDRESS:PORT behind it then)
    #[arg(long)]
    pub http: bool,
    /// Log level of the server; what it says beside the ordinary is shown where connections failed
    #[arg(long, default_value = "warn")]
    pub log_level: String,
    /// Seconds to wait before measuring
    #[arg(long, default_value_t = 2.0)]
    pub settle: f64,
    /// Seconds that each figure is measured
    #[arg(long, default_value_t = 6.0)]
    pub duration: f64,
    /// How often each figure is measured, all servers in turn; the tables show medians
    #[arg(long, default_value_t = 1)]
    pub rounds: usize,
    /// Processes that publish and play; 0 for one for each 15,000 connections
    #[arg(long, default_value_t = 0)]
    pub generators: usize,
}

impl Default for Comparison {
    /// Our server alone, as on the command line.
    fn default() -> Self {
        Self {
            server: None,
            workers: 1,
            backsources: 1,
            video_kbps: 500,
            audio_kbps: 48,
            streams: 1,
            peer: Vec::new(),
            http: false,
            log_level: "warn".into(),
            settle: 2.0,
            duration: 6.0,
            rounds: 1,
            generators: 0,
        }
    }
}

/// Name of our server in tables.
pub const OURS: &str = "srs";

/// What one of the servers came to.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// Medians over all rounds.
    pub outcome: Outcome,
    /// What our server says that it dropped, where that was asked.
    pub drops: Option<Drops>,
}

impl Entry {
    /// Goals are those of our server.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.name == OURS
    }
}

impl Comparison {
    /// What is published.
    #[must_use]
    pub fn plan(&self) -> Plan {
        Plan { video_kbps: self.video_kbps, audio_kbps: self.audio_kbps, fps: 25, gop_s: 2 }
    }

    /// Bit rate of a stream, kbit/s.
    #[must_use]
    pub fn rate(&self) -> u64 {
        self.video_kbps + self.audio_kbps
    }

    /// An ordinary load: so many viewers of each stream.
    #[must_use]
    pub fn load(&self, viewers: usize) -> Load {
        let total = viewers * self.streams.max(1) as usize;
        Load {
            plan: self.plan(),
            streams: self.streams,
            viewers,
            within: (total as f64 / COME_PER_SECOND as f64).max(1.0),
            settle: self.settle,
            duration: self.duration,
            generators: self.generators,
            ..Load::default()
        }
    }

    /// The command line of a job with these options.
    #[must_use]
    pub fn command(&self, job: &str) -> String {
        let usual = Self::default();
        let mut text = format!("srs-bench {job}");
        let options = [
            ("workers", u64::from(self.workers), u64::from(usual.workers)),
            ("backsources", u64::from(self.backsources), u64::from(usual.backsources)),
            ("video-kbps", self.video_kbps, usual.video_kbps),
            ("audio-kbps", self.audio_kbps, usual.audio_kbps),
            ("streams", u64::from(self.streams), u64::from(usual.streams)),
            ("rounds", self.rounds as u64, usual.rounds as u64),
            ("generators", self.generators as u64, usual.generators as u64),
        ];
        for (option, value, usual) in options {
            if value != usual {
                let _ = write!(text, " --{option} {value}");
            }
        }
        for (option, value, usual) in
            [("settle", self.settle, usual.settle), ("duration", self.duration, usual.duration)]
        {
            if (value - usual).abs() > 1e-9 {
                let _ = write!(text, " --{option} {value}");
            }
        }
        if self.http {
            text.push_str(" --http");
        }
        for peer in &self.peer {
            let _ = write!(text, " --peer {}=…", peer.name);
        }
        text
    }

    fn settings(&self, gather: Gather, queue_s: Option<u64>) -> Settings<'_> {
        Settings {
            log_level: &self.log_level,
            gather,
            workers: self.workers,
            backsources: self.backsources,
            queue_s,
            http: self.http,
        }
    }

    /// One run of our server; with `queue_s` viewers may lag so many seconds, and it says what it dropped.
    ///
    /// # Errors
    /// When it does not start, or the load can't be made.
    pub fn ours(
        &self,
        load: &Load,
        gather: Gather,
        queue_s: Option<u64>,
    ) -> Result<(Outcome, Option<Drops>)> {
        let settings = self.settings(gather, queue_s);
        let binary = self.server.clone().unwrap_or_else(default_binary);
        let server = Server::start(&binary, settings)?;
        server.require_descriptors(settings, load.total() + load.early, load.streams as usize)?;
        let mut drops = None;
        let outcome = load.run_and_look(std::slice::from_ref(&server.target), &server.tree, || {
            drops = queue_s.map(|_| server.drops());
        })?;
        if !outcome.failures.is_empty() {
            for line in server.complaints() {
                eprintln!("{line}");
            }
        }
        Ok((outcome, drops.transpose()?))
    }

    fn peer(peer: &Peer, load: &Load) -> Result<Outcome> {
        let server = Server::start_peer(peer)?;
        load.run(std::slice::from_ref(&server.target), &server.tree).with_context(|| peer.name.clone())
    }

    /// All servers in turn, as often as there are rounds.
    ///
    /// # Errors
    /// When a server does not start, or the load can't be made.
    pub fn entries(&self, load: &Load, gather: Gather) -> Result<Vec<Entry>> {
        self.all(load, None, gather, None).map(|(_, entries)| entries)
    }

    /// The same where viewers may lag `queue_s` seconds; our server says what it dropped.
    ///
    /// # Errors
    /// As [`Self::entries`].
    pub fn entries_with_queue(&self, load: &Load, gather: Gather, queue_s: u64) -> Result<Vec<Entry>> {
        self.all(load, None, gather, Some(queue_s)).map(|(_, entries)| entries)
    }

    /// All servers and before each of their rounds the floor with a write each `floor_ms` (0: for each packet).
    ///
    /// # Errors
    /// As [`Self::entries`].
    pub fn with_floor(&self, load: &Load, floor_ms: u64, gather: Gather) -> Result<(Outcome, Vec<Entry>)> {
        self.all(load, Some(floor_ms), gather, None)
    }

    fn all(
        &self,
        load: &Load,
        floor_ms: Option<u64>,
        gather: Gather,
        queue_s: Option<u64>,
    ) -> Result<(Outcome, Vec<Entry>)> {
        let mut floors = Vec::new();
        let mut ours = Vec::new();
        let mut drops = Vec::new();
        let mut peers: Vec<Vec<Outcome>> = vec![Vec::new(); self.peer.len()];
        for _ in 0..self.rounds.max(1) {
            if let Some(floor_ms) = floor_ms {
                floors.push(floor::measure(load, floor_ms)?);
            }
            let (outcome, dropped) = self.ours(load, gather, queue_s)?;
            ours.push(outcome);
            drops.extend(dropped);
            for (peer, outcomes) in self.peer.iter().zip(&mut peers) {
                outcomes.push(Self::peer(peer, load)?);
            }
        }
        let mut entries =
            vec![Entry { name: OURS.into(), outcome: Outcome::median(&ours), drops: drops.pop() }];
        for (peer, outcomes) in self.peer.iter().zip(&peers) {
            entries.push(Entry { name: peer.name.clone(), outcome: Outcome::median(outcomes), drops: None });
        }
        Ok((Outcome::median(&floors), entries))
    }
}

/// Medians over rounds that have the same servers in the same order.
#[must_use]
pub fn medians(rounds: &[Vec<Entry>]) -> Vec<Entry> {
    let Some(first) = rounds.first() else { return Vec::new() };
    let one = |(at, entry): (usize, &Entry)| {
        let outcomes: Vec<Outcome> =
            rounds.iter().filter_map(|entries| entries.get(at)).map(|entry| entry.outcome.clone()).collect();
        Entry { name: entry.name.clone(), outcome: Outcome::median(&outcomes), drops: entry.drops }
    };
    first.iter().enumerate().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_names_what_is_not_usual() {
        let comparison = Comparison { workers: 2, duration: 60.0, ..Comparison::default() };
        assert_eq!(
            comparison.command("cost --viewers 19000"),
            "srs-bench cost --viewers 19000 --workers 2 --duration 60"
        );
        assert_eq!(Comparison::default().command("scale"), "srs-bench scale");
    }

    #[test]
    fn many_viewers_take_their_time_to_come() {
        let comparison = Comparison { streams: 10, ..Comparison::default() };
        assert!((comparison.load(2000).within - 10.0).abs() < 1e-9);
        assert!((comparison.load(10).within - 1.0).abs() < 1e-9);
    }
}
