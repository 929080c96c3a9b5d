//! The configuration of the server: as it is written, as it is in force, and what another one would change.

use std::fmt;
use std::path::Path;

use conf::Config;
use conf::config::{ProcessMode, Workers};
use conf::vhost::{Ingest, IngestSource};
use ipc::{MasterToChild, Role};

use super::listening::Listening;
use super::{MAX_CHILDREN, StartError};

/// Vhost and id of an ingest.
pub(super) type IngestName = (String, String);

/// Reads the configuration again, and what it names.
pub struct Loader {
    /// The configuration as it is in its file now.
    pub load: Box<dyn Fn() -> Result<conf::Loaded, conf::Failure>>,
    /// Whether the server's own ingester can play a file; `Err` says why not.
    pub check_clip: fn(&Path) -> Result<(), String>,
}

impl fmt::Debug for Loader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Loader")
    }
}

impl Loader {
    /// The ingests that are to run. The clips of the server's own ingester are checked.
    ///
    /// # Errors
    /// The first one that can't run.
    pub(super) fn ingests(&self, config: &Config) -> Result<Vec<IngestName>, StartError> {
        let mut found = Vec::new();
        for vhost in config.vhosts.iter().filter(|vhost| vhost.enabled) {
            for ingest in vhost.ingests.iter().filter(|ingest| ingest.enabled) {
                match &ingest.ffmpeg {
                    None => self.check_clip(&ingest.id, &ingest.source)?,
                    Some(_) => {
                        let log_level = &config.ff_log_level;
                        ingest
                            .commands(&vhost.name, config.first_port(), log_level)
                            .map_err(|why| StartError::Ingest { id: ingest.id.clone(), why })?;
                    }
                }
                found.push((vhost.name.clone(), ingest.id.clone()));
            }
        }
        Ok(found)
    }

    fn check_clip(&self, id: &str, source: &IngestSource) -> Result<(), StartError> {
        let IngestSource::File(path) = source else { return Ok(()) };
        (self.check_clip)(path).map_err(|why| StartError::Clip { id: id.to_owned(), path: path.clone(), why })
    }
}

/// What a reload would do; nothing has changed yet.
#[derive(Debug)]
pub(super) struct Draft {
    /// As it is written, with the old values where only a restart changes them.
    pub(super) config: Config,
    pub(super) changes: Vec<String>,
    pub(super) after_restart: Vec<String>,
    pub(super) warnings: Vec<String>,
}

/// The configuration of a server that runs.
#[derive(Debug)]
pub(super) struct Configuration {
    asked: Config,
    in_force: Config,
    generation: u64,
    loader: Loader,
}

impl Configuration {
    /// `asked`: as it is written; `in_force`: with the addresses that are really bound.
    pub(super) fn new(asked: Config, in_force: Config, generation: u64, loader: Loader) -> Self {
        Self { asked, in_force, generation, loader }
    }

    /// As it is written.
    pub(super) fn asked(&self) -> &Config {
        &self.asked
    }

    /// As it is in force: with the addresses that are really bound.
    pub(super) fn in_force(&self) -> &Config {
        &self.in_force
    }

    /// It counts the changes.
    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// How many stream processes there are to be.
    pub(super) fn workers(&self) -> u32 {
        workers(&self.in_force)
    }

    /// For one process, which has to say when it goes by it.
    pub(super) fn message(&self, role: Role) -> MasterToChild {
        MasterToChild::Configure { generation: self.generation, config: for_role(role, &self.in_force) }
    }

    /// Reads the configuration and says what would change.
    ///
    /// # Errors
    /// What is wrong with it, for people.
    pub(super) fn draft(&self) -> Result<Draft, String> {
        let loaded = (self.loader.load)().map_err(|failure| failure.to_string())?;
        let written = loaded.config;
        let mut config = written.clone();
        keep_until_restart(&mut config, &self.asked);
        Ok(Draft {
            changes: differences(&self.asked, &config),
            after_restart: differences(&config, &written),
            warnings: loaded.warnings.iter().map(ToString::to_string).collect(),
            config,
        })
    }

    /// The ingests that another configuration asks for.
    ///
    /// # Errors
    /// One that can't run, or no room for all the processes.
    pub(super) fn ingests(&self, new: &Config) -> Result<Vec<IngestName>, StartError> {
        let ingests = self.loader.ingests(new)?;
        let others = (new.backsources + new.http_workers + workers(new)) as usize;
        let count = others + 1 + ingests.len();
        if count > MAX_CHILDREN { Err(StartError::TooMany(count)) } else { Ok(ingests) }
    }

    /// Another one is in force from now on. Returns the one before it.
    pub(super) fn replace(&mut self, new: Config, listening: &Listening) -> Config {
        let mut in_force = new.clone();
        listening.note(&mut in_force);
        self.asked = new;
        self.generation += 1;
        std::mem::replace(&mut self.in_force, in_force)
    }
}

/// What only a restart can change, taken over from the configuration in force.
fn keep_until_restart(new: &mut Config, old: &Config) {
    new.daemon = old.daemon;
    new.pid.clone_from(&old.pid);
    new.work_dir.clone_from(&old.work_dir);
    new.runtime_dir.clone_from(&old.runtime_dir);
    new.process_mode = old.process_mode;
    new.backsources = old.backsources;
    new.http_workers = old.http_workers;
    new.private_api_port = old.private_api_port;
    new.asprocess = old.asprocess;
    if new.process_mode == ProcessMode::Single {
        // Its roles are threads, which can't be ended one by one.
        new.workers = old.workers;
    }
}

fn differences(old: &Config, new: &Config) -> Vec<String> {
    conf::diff::diff(old, new).iter().map(ToString::to_string).collect()
}

/// A configuration as a process of this role gets it: who faces clients does not learn what opens the API.
pub(super) fn for_role(role: Role, config: &Config) -> Box<Config> {
    Box::new(if role == Role::Api { config.clone() } else { config.without_secrets() })
}

/// How many stream processes a configuration asks for.
pub(super) fn workers(config: &Config) -> u32 {
    match config.workers {
        Workers::Auto => {
            std::thread::available_parallelism().map_or(1, |count| u32::try_from(count.get()).unwrap_or(1))
        }
        Workers::Count(count) => count,
    }
}

/// All processes that a configuration asks for beside its ingests, by role and number.
pub(super) fn processes(config: &Config) -> Vec<(Role, u32)> {
    let of = |role, count| (0..count).map(move |number| (role, number));
    let media = of(Role::BackSource, config.backsources).chain(of(Role::Stream, workers(config)));
    media.chain(of(Role::Http, config.http_workers)).chain(of(Role::Api, 1)).collect()
}

/// An ingest of a configuration.
pub(super) fn ingest<'c>(config: &'c Config, (vhost, id): &IngestName) -> Option<&'c Ingest> {
    let vhost = config.vhosts.iter().find(|known| known.name == *vhost)?;
    vhost.ingests.iter().find(|ingest| ingest.id == *id)
}
