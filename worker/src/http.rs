//! The http process. In this version it has no work of its own yet: it has a private API and a loop, like every process.

use std::os::fd::{AsRawFd, OwnedFd};

use child::{API_TOKEN, CONTROL_TOKEN, Control, PrivateApi, Query};
use ipc::{ChildToMaster, MasterToChild};
use reactor::Reactor;

/// Runs the http process until the master ends it. `control` is the channel to the master.
///
/// # Errors
/// When it can't begin, or the master has gone.
pub fn run(control: OwnedFd) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let mut control = Control::begin(control)?;
    let mut reactor = Reactor::new()?;
    reactor.register(control.as_raw_fd(), CONTROL_TOKEN)?;
    let waker = reactor.waker(API_TOKEN)?;
    let api = PrivateApi::start(control.private_api_port(), control.start.token.clone(), waker)?;
    control.send(&ChildToMaster::Ready { private_api_port: api.port() }, Vec::new());
    let mut ready = Vec::new();
    loop {
        if control.look_for_master(&reactor)? {
            control.send(&ChildToMaster::Ready { private_api_port: api.port() }, Vec::new());
        }
        while let Some((message, _)) = control.receive()? {
            match message {
                MasterToChild::Configure { generation, config } => {
                    child::configure_log(&config.log);
                    control.applied(generation);
                }
                MasterToChild::ReopenLog => child::reopen_log(),
                MasterToChild::Stop => return Ok(()),
                message => tracing::debug!("a message that is not for http: {message:?}"),
            }
        }
        ready.clear();
        reactor.wait(Some(control.beat()), &mut ready)?;
        while let Some(query) = api.next() {
            match query {
                Query::Report { reply, .. } => reply.answer(api::Report {
                    process: control.name(),
                    pid: std::process::id(),
                    ..api::Report::default()
                }),
                Query::Kick { reply, .. } => reply.answer(false),
            }
        }
    }
}
