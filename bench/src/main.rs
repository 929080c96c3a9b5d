//! `srs-bench`: the command line of the load generator.

#![forbid(unsafe_code)]
// Tables on standard output are what this program is for.
#![allow(clippy::print_stdout)]

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};
use srs_bench::floor::{self, Sender};
use srs_bench::load::Load;
use srs_bench::proctree::ProcessTree;
use srs_bench::report::{Report, of_load};
use srs_bench::short::Contest;
use srs_bench::target::Target;

/// Load generator and measurements for RTMP servers
#[derive(Debug, Parser)]
#[command(name = "srs-bench")]
struct Arguments {
    /// Append the tables to this file as Markdown
    #[arg(long, global = true, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Write the figures of `load` and `floor` to this file as JSON
    #[arg(long, global = true, value_name = "FILE")]
    json: Option<PathBuf>,
    #[command(subcommand)]
    job: Job,
}

#[derive(Debug, Subcommand)]
enum Job {
    /// Publish and play against a running server
    Load {
        /// rtmp://host[:port]/app[/name]: streams are name0, name1 …
        #[arg(long, default_value = "rtmp://127.0.0.1:1935/live/bench")]
        url: Target,
        /// Process id of the server; its children are counted too
        #[arg(long)]
        server_pid: Vec<u32>,
        /// File with the process id of the server
        #[arg(long)]
        pid_file: Vec<PathBuf>,
        #[command(flatten)]
        load: Load,
    },
    /// The cost of the same bytes without a server
    Floor {
        /// Milliseconds between two writes to the same viewer
        #[arg(long, default_values_t = [350, 100, 15])]
        interval_ms: Vec<u64>,
        #[command(flatten)]
        load: Load,
    },
    /// Memory per viewer
    Memory {
        /// How many viewers
        #[arg(long, default_value_t = 2000)]
        viewers: usize,
        #[command(flatten)]
        contest: Contest,
    },
    /// Connect to first key frame on a running stream
    FirstPicture {
        /// How many viewers
        #[arg(long, default_value_t = 300)]
        viewers: usize,
        /// Seconds within which they come
        #[arg(long, default_value_t = 6.0)]
        within: f64,
        #[command(flatten)]
        contest: Contest,
    },
    /// Processor time against the floor
    Cost {
        /// How many viewers
        #[arg(long, default_value_t = 400)]
        viewers: usize,
        /// Batch intervals in milliseconds
        #[arg(long, default_values_t = [350, 100, 15])]
        interval_ms: Vec<u64>,
        #[command(flatten)]
        contest: Contest,
    },
    /// Latency without batching
    Latency {
        /// How many viewers
        #[arg(long, default_value_t = 200)]
        viewers: usize,
        #[command(flatten)]
        contest: Contest,
    },
    /// Healthy viewers beside slow ones
    SlowViewers {
        /// How many viewers
        #[arg(long, default_value_t = 200)]
        viewers: usize,
        /// Percentage that reads at half the bit rate
        #[arg(long, default_value_t = 20)]
        percent: usize,
        #[command(flatten)]
        contest: Contest,
    },
    /// All of it in less than five minutes
    RunShort {
        #[command(flatten)]
        contest: Contest,
    },
    /// The sending process of `floor`
    #[command(hide = true)]
    FloorSender(Sender),
}

/// Where tables go.
struct Desk {
    markdown: Option<PathBuf>,
}

impl Desk {
    fn show(&self, report: &Report) -> Result<()> {
        println!("{}", report.text());
        let Some(path) = &self.markdown else { return Ok(()) };
        let mut file = OpenOptions::new().append(true).create(true).open(path)?;
        writeln!(file, "{}", report.markdown()).with_context(|| path.display().to_string())
    }
}

fn write_json(path: Option<&Path>, value: &impl serde::Serialize) -> Result<()> {
    match path {
        Some(path) => Ok(std::fs::write(path, serde_json::to_vec_pretty(value)?)?),
        None => Ok(()),
    }
}

fn tree(mut pids: Vec<u32>, files: &[PathBuf]) -> Result<ProcessTree> {
    for file in files {
        let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
        pids.push(text.trim().parse().with_context(|| format!("{} holds no pid", file.display()))?);
    }
    Ok(ProcessTree::new(pids))
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("srs-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<()> {
    srs_bench::raise_descriptor_limit();
    let desk = Desk { markdown: arguments.markdown };
    let json = arguments.json.as_deref();
    match arguments.job {
        Job::Load { url, server_pid, pid_file, load } => {
            let outcome = load.run(&url, &tree(server_pid, &pid_file)?)?;
            desk.show(&of_load(&outcome))?;
            write_json(json, &outcome)?;
            if !outcome.is_clean() {
                bail!("not every viewer got what was published");
            }
        }
        Job::Floor { interval_ms, load } => {
            let mut outcomes = Vec::new();
            for interval_ms in interval_ms {
                let outcome = floor::measure(&load, interval_ms)?;
                let mut report = of_load(&outcome);
                report.title = format!("floor, a write each {interval_ms} ms");
                desk.show(&report)?;
                outcomes.push(outcome);
            }
            write_json(json, &outcomes)?;
        }
        Job::Memory { viewers, contest } => desk.show(&contest.memory(viewers)?)?,
        Job::FirstPicture { viewers, within, contest } => {
            desk.show(&contest.first_picture(viewers, within)?)?;
        }
        Job::Cost { viewers, interval_ms, contest } => desk.show(&contest.cost(viewers, &interval_ms)?)?,
        Job::Latency { viewers, contest } => desk.show(&contest.latency(viewers)?)?,
        Job::SlowViewers { viewers, percent, contest } => {
            desk.show(&contest.slow_viewers(viewers, percent)?)?;
        }
        Job::RunShort { contest } => {
            let mut shown = Ok(());
            contest.run(|report| {
                if shown.is_ok() {
                    shown = desk.show(&report);
                }
            })?;
            shown?;
        }
        Job::FloorSender(sender) => sender.run(&mut std::io::stdout())?,
    }
    Ok(())
}
