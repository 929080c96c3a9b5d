//! Generators: processes of this program that publish and play, told what to do line by line and answering the same way.
//!
//! There are several because a process may have only so many descriptors. Moments are named on the monotonic clock, which
//! is the same for all of them, so that all measure the same window.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::load::Load;
use crate::outcome::Part;
use crate::proctree::ProcessTree;
use crate::target::Target;

/// What a generator is told.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Order {
    /// The first: publish your share of the streams.
    Begin {
        /// The whole load.
        load: Box<Load>,
        /// Where.
        target: Target,
        /// Which generator this is.
        share: usize,
        /// Of how many.
        of: usize,
    },
    /// Let those in who are there first, until all see a picture.
    Early,
    /// Measure their latency.
    Watch {
        /// From here on, monotonic ns.
        from_ns: u64,
        /// Until here.
        to_ns: u64,
    },
    /// Let the viewers in, until all see a picture.
    Come {
        /// When the first comes, monotonic ns.
        from_ns: u64,
    },
    /// Measure.
    Measure {
        /// From here on, monotonic ns.
        from_ns: u64,
        /// Until here.
        to_ns: u64,
    },
}

/// What a generator answers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Reply {
    /// It is done.
    Ready,
    /// To `Measure`.
    Measured(Box<Part>),
    /// It can't.
    Failed(String),
}

#[derive(Debug)]
struct Generator {
    child: Child,
    orders: ChildStdin,
    replies: BufReader<ChildStdout>,
}

impl Generator {
    fn start() -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        let mut child = command.arg("generator").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        match (child.stdin.take(), child.stdout.take()) {
            (Some(orders), Some(replies)) => Ok(Self { child, orders, replies: BufReader::new(replies) }),
            _ => bail!("a generator has no input or output"),
        }
    }

    fn tell(&mut self, order: &Order) -> Result<()> {
        let mut line = serde_json::to_vec(order)?;
        line.push(b'\n');
        Ok(self.orders.write_all(&line)?)
    }

    fn hear(&mut self) -> Result<Reply> {
        let mut line = String::new();
        self.replies.read_line(&mut line)?;
        match serde_json::from_str(&line).context("a generator ended")? {
            Reply::Failed(why) => bail!(why),
            reply => Ok(reply),
        }
    }
}

impl Drop for Generator {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// All generators of a run; they end with this value.
#[derive(Debug)]
pub struct Generators(Vec<Generator>);

impl Generators {
    /// Starts `of` generators; their streams are published when this returns.
    ///
    /// # Errors
    /// When they do not start, or the server does not accept the streams.
    pub fn start(load: &Load, targets: &[Target], of: usize) -> Result<Self> {
        let mut generators = Self(Vec::new());
        for (share, target) in (0..of).zip(targets.iter().cycle()) {
            let mut generator = Generator::start()?;
            generator.tell(&Order::Begin {
                load: Box::new(load.clone()),
                target: target.clone(),
                share,
                of,
            })?;
            generators.0.push(generator);
        }
        generators.hear()?;
        Ok(generators)
    }

    /// Their processes.
    #[must_use]
    pub fn tree(&self) -> ProcessTree {
        ProcessTree::new(self.0.iter().map(|generator| generator.child.id()).collect())
    }

    /// Tells all; the answers are still to be awaited.
    ///
    /// # Errors
    /// When one is gone.
    pub fn tell(&mut self, order: &Order) -> Result<()> {
        self.0.iter_mut().try_for_each(|generator| generator.tell(order))
    }

    fn hear(&mut self) -> Result<Vec<Reply>> {
        self.0.iter_mut().map(Generator::hear).collect()
    }

    /// Tells all and waits until all have done it.
    ///
    /// # Errors
    /// When one can't.
    pub fn order(&mut self, order: &Order) -> Result<()> {
        self.tell(order)?;
        self.hear().map(|_| ())
    }

    /// What each of them measured, after [`Order::Measure`].
    ///
    /// # Errors
    /// When one can't.
    pub fn parts(&mut self) -> Result<Vec<Part>> {
        let parts = self.hear()?.into_iter().filter_map(|reply| match reply {
            Reply::Measured(part) => Some(*part),
            _ => None,
        });
        Ok(parts.collect())
    }
}
