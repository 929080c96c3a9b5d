//! The role of the file ingester: it plays a clip into the server as any encoder would, over loopback.

use std::fmt;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use child::{CONTROL_TOKEN, Control};
use client::ingest::{IngestEvent, IngestOptions};
use conf::vhost::IngestSource;
use ipc::{ChildToMaster, MasterToChild};
use reactor::Reactor;

/// The clip can't be used: starting again would not help.
#[derive(Debug)]
pub(crate) struct CannotIngest(String);

impl fmt::Display for CannotIngest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for CannotIngest {}

/// Runs one ingest until the master ends it.
pub(crate) fn run(control: OwnedFd) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let mut control = Control::begin(control)?;
    let config = Arc::new((*control.start.config).clone());
    let (vhost_name, id) =
        control.start.ingest.clone().ok_or_else(|| CannotIngest("no ingest is named".to_owned()))?;
    let ingest = config
        .vhosts
        .iter()
        .find(|vhost| vhost.name == vhost_name)
        .and_then(|vhost| vhost.ingests.iter().find(|ingest| ingest.id == id))
        .ok_or_else(|| CannotIngest(format!("there is no ingest {id} in vhost {vhost_name}")))?;
    let IngestSource::File(path) = ingest.source.clone() else {
        return Err(CannotIngest(format!("ingest {id} is not a file")).into());
    };
    let url = ingest.output_url(&vhost_name, config.first_port());
    control.send(&ChildToMaster::Ready { private_api_port: 0 }, Vec::new());
    let stop = Arc::new(AtomicBool::new(false));
    let stopper = Arc::clone(&stop);
    let thread = std::thread::Builder::new().name("control".to_owned()).spawn(move || {
        let waited = wait_for_stop(&mut control);
        stopper.store(true, Ordering::Relaxed);
        waited
    })?;
    let options = IngestOptions { report, ..IngestOptions::default() };
    tracing::info!("{} goes to {}", path.display(), rtmp_url_for_logs(&url));
    client::ingest::run(&path, &url, &options, &stop).map_err(|error| CannotIngest(error.to_string()))?;
    match thread.join() {
        Ok(waited) => waited,
        Err(_) => Ok(()),
    }
}

fn wait_for_stop(control: &mut Control) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let mut reactor = Reactor::new()?;
    reactor.register(control.as_raw_fd(), CONTROL_TOKEN)?;
    let mut ready = Vec::new();
    loop {
        if control.look_for_master(&reactor)? {
            control.send(&ChildToMaster::Ready { private_api_port: 0 }, Vec::new());
        }
        while let Some((message, _)) = control.receive()? {
            if matches!(message, MasterToChild::Stop) {
                return Ok(());
            }
        }
        ready.clear();
        reactor.wait(Some(control.beat()), &mut ready)?;
    }
}

fn report(event: &IngestEvent) {
    match event {
        IngestEvent::Publishing => tracing::info!("the clip is being published"),
        IngestEvent::Retry { cause, pause } => {
            tracing::warn!("the clip can't be published: {cause}; again in {} ms", pause.as_millis());
        }
        IngestEvent::Again { loops } => tracing::debug!("the clip was played {loops} times"),
    }
}

/// The URL without its query's values.
fn rtmp_url_for_logs(url: &str) -> String {
    url.split('?').next().unwrap_or("").to_owned()
}
