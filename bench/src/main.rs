//! `srs-bench`: the command line of the load generator.

#![forbid(unsafe_code)]

use std::io::{Write, stdout};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};
use srs_bench::comparison::Comparison;
use srs_bench::floor::{self, Sender};
use srs_bench::instructions::table::{self, Counts};
use srs_bench::instructions::{self, cases};
use srs_bench::jobs::peers::{Sizes, list, nginx};
use srs_bench::jobs::scale::Steps;
use srs_bench::load::Load;
use srs_bench::output::Output;
use srs_bench::proctree::ProcessTree;
use srs_bench::report::{Report, of_load};
use srs_bench::short::{FULL, SHORT, Yield};
use srs_bench::target::Target;
use srs_bench::{descriptors, jobs, share, short};

/// Load generator and measurements for RTMP servers
#[derive(Debug, Parser)]
#[command(name = "srs-bench")]
struct Arguments {
    #[command(flatten)]
    output: Output,
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
    /// Cost and latency of the same packets without a server
    Floor {
        /// Milliseconds between two writes to the same viewer; 0 for a write as soon as a packet is due
        #[arg(long, default_values_t = [350, 100, 15, 0])]
        interval_ms: Vec<u64>,
        #[command(flatten)]
        load: Load,
    },
    /// Memory per viewer
    Memory {
        /// How many viewers
        #[arg(long, default_value_t = 4000)]
        viewers: usize,
        #[command(flatten)]
        comparison: Comparison,
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
        comparison: Comparison,
    },
    /// Very many viewers come at once, while others watch
    Storm {
        /// How many viewers come
        #[arg(long, default_value_t = 4000)]
        viewers: usize,
        /// Seconds within which they come
        #[arg(long, default_value_t = 2.0)]
        within: f64,
        /// How many are there already
        #[arg(long, default_value_t = 200)]
        running: usize,
        #[command(flatten)]
        comparison: Comparison,
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
        comparison: Comparison,
    },
    /// More viewers than one process may have, beside a few (take --workers 2 --duration 60)
    ManyViewers {
        /// How many viewers
        #[arg(long, default_value_t = 19_000)]
        viewers: usize,
        /// How many to compare with
        #[arg(long, default_value_t = 1000)]
        few: usize,
        #[command(flatten)]
        comparison: Comparison,
    },
    /// Many streams with one viewer each (--streams, default 500)
    ManyStreams {
        #[command(flatten)]
        comparison: Comparison,
    },
    /// Latency without batching, and what is added to the floor's
    Latency {
        /// How many viewers
        #[arg(long, default_value_t = 200)]
        viewers: usize,
        #[command(flatten)]
        comparison: Comparison,
    },
    /// HTTP-FLV beside RTMP
    HttpFlv {
        /// How many viewers
        #[arg(long, default_value_t = 1000)]
        viewers: usize,
        /// Values of `mw_latency`
        #[arg(long, default_values_t = [350, 0])]
        interval_ms: Vec<u64>,
        #[command(flatten)]
        comparison: Comparison,
    },
    /// `mw_latency auto` beside 0 and 350
    Auto {
        /// How many viewers; may be repeated
        #[arg(long, default_values_t = [10, 100, 1000, 4000])]
        viewers: Vec<usize>,
        /// Seconds that `auto` has to find its pace
        #[arg(long, default_value_t = 12.0)]
        adapt: f64,
        #[command(flatten)]
        comparison: Comparison,
    },
    /// Healthy viewers with and without slow ones beside them
    SlowViewers {
        /// How many viewers
        #[arg(long, default_value_t = 200)]
        viewers: usize,
        /// Percentage that reads at half the bit rate
        #[arg(long, default_value_t = 10)]
        percent: usize,
        /// Seconds that it is measured with slow ones
        #[arg(long, default_value_t = 20.0)]
        slow_s: f64,
        #[command(flatten)]
        comparison: Comparison,
    },
    /// Cost over the number of stream processes and of streams
    Scale {
        /// Numbers of stream processes
        #[arg(long, default_values_t = [1, 2, 4, 8])]
        processes: Vec<u32>,
        /// Numbers of streams
        #[arg(long, default_values_t = [1, 10, 100, 1000])]
        stream_counts: Vec<u32>,
        /// Viewers in all, where their number stays the same
        #[arg(long, default_value_t = 1000)]
        viewers: usize,
        /// Batch interval in milliseconds
        #[arg(long, default_value_t = 350)]
        interval_ms: u64,
        #[command(flatten)]
        comparison: Comparison,
    },
    /// Our server and its peers (nginx with its RTMP module where it is installed, and each --peer) in turn
    Peers {
        /// Configuration for nginx
        #[arg(long, default_value = "bench/peers/nginx-rtmp.conf")]
        nginx: PathBuf,
        /// How many viewers; may be repeated
        #[arg(long, default_values_t = [200, 1000])]
        viewers: Vec<usize>,
        /// Streams with one viewer each
        #[arg(long, default_value_t = 500)]
        stream_count: u32,
        /// Viewers for the memory job
        #[arg(long, default_value_t = 2000)]
        memory_viewers: usize,
        /// More servers, NAME=COMMAND,URL, with | between them
        #[arg(long, default_value = "")]
        peers: String,
        #[command(flatten)]
        comparison: Comparison,
    },
    /// All of it in less than five minutes
    RunShort {
        #[command(flatten)]
        comparison: Comparison,
    },
    /// All of it at the size of the goals
    RunFull {
        #[command(flatten)]
        comparison: Comparison,
    },
    /// Instructions in user space on the way of a packet (needs valgrind)
    Instructions {
        /// Compare with the counts that were noted in this file, and fail where there are more
        #[arg(long, value_name = "FILE")]
        check: Option<PathBuf>,
        /// Percentage that makes no difference
        #[arg(long, default_value_t = 2.0)]
        tolerance: f64,
        /// Note the counts in this file
        #[arg(long, value_name = "FILE")]
        note: Option<PathBuf>,
    },
    /// One case of `instructions`, to be run under valgrind
    #[command(hide = true)]
    InstructionsLoad {
        /// Its name
        case: String,
    },
    /// The sending process of `floor`
    #[command(hide = true)]
    FloorSender(Sender),
    /// A process that publishes and plays as it is told
    #[command(hide = true)]
    Generator,
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

impl Job {
    /// The name of its table, where it makes one.
    fn table(&self) -> Option<&'static str> {
        match self {
            Self::Memory { .. } => Some("memory"),
            Self::FirstPicture { .. } => Some("first-picture"),
            Self::Storm { .. } => Some("storm"),
            Self::Cost { .. } => Some("cost"),
            Self::ManyViewers { .. } => Some("many-viewers"),
            Self::ManyStreams { .. } => Some("many-streams"),
            Self::Latency { .. } => Some("latency"),
            Self::HttpFlv { .. } => Some("http-flv"),
            Self::Auto { .. } => Some("auto"),
            Self::SlowViewers { .. } => Some("slow-viewers"),
            Self::Scale { .. } => Some("scale"),
            Self::Instructions { .. } => Some("instructions"),
            _ => None,
        }
    }
}

fn run(arguments: Arguments) -> Result<()> {
    descriptors::raise_limit();
    let output = arguments.output;
    if let Some(name) = arguments.job.table() {
        output.require_one(name)?;
    }
    let show = |report: &Report| output.show(report, &mut stdout());
    let tell = |result: Yield| match result {
        Yield::Table(report) => show(&report),
        Yield::Picture(picture) => output.draw(&picture),
    };
    match arguments.job {
        Job::Load { url, server_pid, pid_file, load } => {
            let outcome = load.run(&[url], &tree(server_pid, &pid_file)?)?;
            show(&of_load(&outcome))?;
            output.write_json(&outcome)?;
            if !outcome.is_clean() {
                bail!("not every viewer got what was published");
            }
            Ok(())
        }
        Job::Floor { interval_ms, load } => {
            let mut outcomes = Vec::new();
            for interval_ms in interval_ms {
                let outcome = floor::measure(&load, interval_ms)?;
                let mut report = of_load(&outcome).by(format!("srs-bench floor --interval-ms {interval_ms}"));
                report.title = match interval_ms {
                    0 => "Floor, a write for each packet".into(),
                    _ => format!("Floor, a write each {interval_ms} ms"),
                };
                show(&report)?;
                outcomes.push(outcome);
            }
            output.write_json(&outcomes)
        }
        Job::Memory { viewers, comparison } => show(&jobs::memory::memory(&comparison, viewers)?),
        Job::FirstPicture { viewers, within, comparison } => {
            show(&jobs::arrivals::first_picture(&comparison, viewers, within)?)
        }
        Job::Storm { viewers, within, running, comparison } => {
            show(&jobs::arrivals::storm(&comparison, viewers, within, running)?)
        }
        Job::Cost { viewers, interval_ms, comparison } => {
            show(&jobs::cost::cost(&comparison, viewers, &interval_ms)?)
        }
        Job::ManyViewers { viewers, few, comparison } => {
            show(&jobs::cost::many_viewers(&comparison, viewers, few)?)
        }
        Job::ManyStreams { comparison } => {
            let streams = if comparison.streams > 1 { comparison.streams } else { 500 };
            show(&jobs::cost::many_streams(&comparison, streams)?)
        }
        Job::Latency { viewers, comparison } => show(&jobs::latency::latency(&comparison, viewers)?),
        Job::HttpFlv { viewers, interval_ms, comparison } => {
            show(&jobs::http::http_flv(&comparison, viewers, &interval_ms)?)
        }
        Job::Auto { viewers, adapt, comparison } => show(&jobs::auto::auto(&comparison, &viewers, adapt)?),
        Job::SlowViewers { viewers, percent, slow_s, comparison } => {
            show(&jobs::slow::slow_viewers(&comparison, viewers, percent, slow_s)?)
        }
        Job::Scale { processes, stream_counts, viewers, interval_ms, comparison } => {
            let steps = Steps { workers: processes, streams: stream_counts, viewers, gather_ms: interval_ms };
            let (report, picture) = jobs::scale::scale(&comparison, &steps)?;
            show(&report)?;
            output.draw(&picture)
        }
        Job::Peers { nginx: configuration, viewers, stream_count, memory_viewers, peers, mut comparison } => {
            comparison.peer.extend(list(&peers)?);
            match nginx(&configuration) {
                Ok(peer) => comparison.peer.insert(0, peer),
                Err(why) => writeln!(stdout(), "SKIPPED nginx-rtmp: {why}")?,
            }
            comparison.rounds = comparison.rounds.max(2);
            let slow = viewers.iter().copied().max().unwrap_or(200);
            let sizes = Sizes { viewers, streams: stream_count, memory: memory_viewers, slow };
            jobs::peers::peers(&comparison, &sizes, |report| show(&report))
        }
        Job::RunShort { comparison } => {
            output.require(&SHORT)?;
            short::short(&comparison, tell)
        }
        Job::RunFull { comparison } => {
            output.require(&FULL)?;
            short::full(&comparison, tell)
        }
        Job::Instructions { check, tolerance, note } => {
            if let Some(why) = instructions::missing() {
                return Ok(writeln!(stdout(), "SKIPPED instructions: {why}")?);
            }
            let noted = check.as_deref().map_or_else(|| Ok(Counts::new()), table::read)?;
            let counts = instructions::count_all()?;
            let (report, worse) = table::report(&counts, &noted, tolerance);
            show(&report)?;
            if let Some(path) = note {
                table::write(&path, &counts)?;
            }
            if !worse.is_empty() {
                bail!("more instructions than noted: {}", worse.join(", "));
            }
            Ok(())
        }
        Job::InstructionsLoad { case } => cases::run(&case, &mut stdout()),
        Job::FloorSender(sender) => sender.run(&mut stdout()),
        Job::Generator => share::run(&mut stdout()),
    }
}
