//! The http process: a web server for files and live streams, which it reads from the rings like any viewer. In this version
//! it also answers the management API: it asks every process for what it knows and merges the answers. A process that does
//! not answer within a second is left out and shown as such.

mod answers;
mod backlog;
mod connection;
mod disk;
mod feed;
mod files;
mod formats;
mod gather;
mod hls;
mod hls_answers;
mod live;
mod mount;
mod outbox;
mod server;
mod web;

use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::{Arc, Mutex};

use api::Reload;
use child::{API_TOKEN, CONTROL_TOKEN, Control, PrivateApi};
use ipc::{ChildToMaster, MasterToChild, ProcessInfo};
use reactor::{Reactor, Token};
use web::Web;

/// Token of what rings when the disk's thread has done something.
const DISK_TOKEN: Token = Token(2);

/// What the API's threads need to know; the loop keeps it true.
#[derive(Debug, Default)]
pub(crate) struct Known {
    processes: Mutex<Vec<ProcessInfo>>,
    reload: Mutex<Reload>,
}

impl Known {
    pub(crate) fn processes(&self) -> Vec<ProcessInfo> {
        self.processes.lock().map(|processes| processes.clone()).unwrap_or_default()
    }

    /// What the last reload did.
    pub(crate) fn reload(&self) -> Reload {
        self.reload.lock().map(|reload| reload.clone()).unwrap_or_default()
    }
}

/// An address that is served.
struct Served {
    address: SocketAddr,
    /// For a master that does not have it.
    socket: OwnedFd,
    _server: server::ApiServer,
}

/// Runs the http process until the master ends it. `control` is the channel to the master.
///
/// # Errors
/// When it can't begin, or the master has gone.
pub fn run(control: OwnedFd) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let mut control = Control::begin(control)?;
    let mut reactor = Reactor::new()?;
    reactor.register(control.as_raw_fd(), CONTROL_TOKEN)?;
    let api = PrivateApi::start(control.private_api_port(), reactor.waker(API_TOKEN)?)?;
    control.send(&ChildToMaster::Ready { private_api_port: api.port() }, Vec::new());
    let known = Arc::new(Known::default());
    let mut ready = Vec::new();
    let mut servers: Vec<Served> = Vec::new();
    let start = &control.start;
    let config = Arc::new((*start.config).clone());
    let disk = disk::Disk::start()?;
    reactor.register_readable(disk.bell(), DISK_TOKEN)?;
    let place = (start.slot, start.board_slot);
    let mut web = Web::new(config, Arc::clone(&control.board), place, start.first_connection_id, disk);
    loop {
        if control.look_for_master(&reactor)? {
            let own =
                servers.iter().filter_map(|served| Some((served.address, served.socket.try_clone().ok()?)));
            let (of_web, sockets) = web.listeners.duplicates();
            let (addresses, sockets) = own.chain(of_web.into_iter().zip(sockets)).unzip();
            control.send(&ChildToMaster::Listening { addresses }, sockets);
            control.send(&ChildToMaster::Ready { private_api_port: api.port() }, Vec::new());
        }
        while let Some((message, mut fds)) = control.receive()? {
            match message {
                MasterToChild::ListenHttp { address, tls } => web.listen(&reactor, address, tls, fds),
                MasterToChild::Source { shard } => {
                    if let (Some(wake), Some(channel)) = (fds.pop(), fds.pop()) {
                        web.connect(&reactor, shard, channel, wake);
                    }
                }
                MasterToChild::Listen { addresses } => servers.extend(serve(&addresses, fds, &known)),
                MasterToChild::StopListening { addresses } => {
                    servers.retain(|served| !addresses.contains(&served.address));
                    web.stop_listening(&reactor, &addresses);
                }
                MasterToChild::Configure { generation, config } => {
                    child::configure_log(&config.log);
                    web.configure(Arc::new(*config));
                    control.applied(generation);
                }
                MasterToChild::ReopenLog => child::reopen_log(),
                MasterToChild::Reloaded(reload) => {
                    if let Ok(mut place) = known.reload.lock() {
                        *place = reload;
                    }
                }
                MasterToChild::Processes(processes) => {
                    if let Ok(mut place) = known.processes.lock() {
                        *place = processes;
                    }
                }
                MasterToChild::Stop => {
                    web.end_all();
                    return Ok(());
                }
                message => tracing::debug!("a message that is not for http: {message:?}"),
            }
        }
        ready.clear();
        reactor.wait(Some(control.beat().min(web.deadline())), &mut ready)?;
        for event in &ready {
            match event.token {
                CONTROL_TOKEN | API_TOKEN => {}
                DISK_TOKEN => web.hls.disk.hear(),
                _ => web.ready(*event),
            }
        }
        web.work(&reactor);
        while let Some(query) = api.next() {
            let mut report =
                api::Report { process: control.name(), pid: std::process::id(), ..api::Report::default() };
            web.report(&control.name(), &mut report);
            query.answer(report);
        }
    }
}

fn serve(addresses: &[SocketAddr], fds: Vec<OwnedFd>, known: &Arc<Known>) -> Vec<Served> {
    let mut servers = Vec::new();
    for (fd, address) in fds.into_iter().zip(addresses) {
        let started = fd
            .try_clone()
            .and_then(|socket| Ok((socket, server::ApiServer::start(TcpListener::from(fd), known)?)));
        match started {
            Ok((socket, server)) => servers.push(Served { address: *address, socket, _server: server }),
            Err(error) => tracing::error!("the API on {address} can't be served: {error}"),
        }
    }
    servers
}
