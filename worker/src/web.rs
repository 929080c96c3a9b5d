//! The http process: a web server for files and live streams, which it reads from the rings like any viewer.

pub(crate) mod answers;
pub(crate) mod connection;
pub(crate) mod console;
pub(crate) mod file_requests;
pub(crate) mod files;
pub(crate) mod handoff;
pub(crate) mod hls_requests;
pub(crate) mod kept_downloads;
pub(crate) mod mount;
pub(crate) mod owners;
pub(crate) mod proxy;
pub(crate) mod readers;
pub(crate) mod report;
pub(crate) mod review;
pub(crate) mod server;
pub(crate) mod transport;
pub(crate) mod vod_requests;
pub(crate) mod wake_interval;

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use crate::disk::Disk;
use child::{Control, Process, Woken};
use ipc::{ChildToMaster, ToHttp};
use reactor::{Reactor, Ready, Token};
use server::Web;

/// Token of what rings when the disk's thread has done something.
const DISK_TOKEN: Token = Token(2);
/// The same of the thread that reads files.
const VOD_TOKEN: Token = Token(3);
/// The same of the threads that open and read what the loop does not.
const READERS_TOKEN: Token = Token(4);
/// The thread that makes pictures has made one.
const PICTURES_TOKEN: Token = Token(5);

/// The http process: the web server, and the loop that it runs on.
struct HttpProcess {
    control: Control,
    reactor: Reactor,
    web: Web,
    ready: Vec<Ready>,
}

/// Runs the http process until the master ends it. `control` is the channel to the master.
///
/// # Errors
/// When it can't begin, or the master has gone.
pub fn run(control: OwnedFd) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let control = Control::begin(control)?;
    let reactor = Reactor::new()?;
    let start = &control.start;
    let config = Arc::new((*start.config).clone());
    let disk = Disk::start()?;
    reactor.register_readable(disk.fd(), DISK_TOKEN)?;
    let vod = crate::outputs::vod::Vod::start()?;
    reactor.register_readable(vod.fd(), VOD_TOKEN)?;
    let readers = readers::Readers::new()?;
    reactor.register_readable(readers.fd(), READERS_TOKEN)?;
    let pictures = crate::outputs::pictures::Pictures::new()?;
    reactor.register_readable(pictures.fd(), PICTURES_TOKEN)?;
    let place = (start.number, start.board_slot);
    let memory = (Arc::clone(&control.board), Arc::clone(&control.work));
    let mut web = Web::new(config, memory, place, start.first_connection_id, (disk, vod, readers, pictures));
    web.review_dvr();
    web.version.clone_from(&start.version);
    child::run(HttpProcess { control, reactor, web, ready: Vec::new() })
}

impl Process for HttpProcess {
    type Message = ToHttp;

    fn parts(&mut self) -> (&mut Control, &Reactor) {
        (&mut self.control, &self.reactor)
    }

    fn message(&mut self, message: ToHttp, mut fds: Vec<OwnedFd>) {
        let (web, reactor) = (&mut self.web, &self.reactor);
        match message {
            ToHttp::Listen { address, tls } => web.listen(reactor, address, tls, fds),
            ToHttp::Source { shard, link } => match (fds.pop(), fds.pop()) {
                (Some(wake), Some(channel)) => web.connect(reactor, shard, link, (channel, wake)),
                _ => self.control.link_down(link),
            },
            ToHttp::Sibling { number, link } => match fds.pop() {
                Some(channel) => web.meet_sibling(reactor, number, link, channel),
                None => self.control.link_down(link),
            },
            ToHttp::Lend { number, addresses } => web.listeners.borrow(reactor, number, &addresses, fds),
            ToHttp::TakeBack(number) => web.listeners.give_back(reactor, number),
            ToHttp::Remembered(state) => web.remember_records(&state),
            ToHttp::Download { id, state } => web.resume_download(reactor, id, &state, fds),
            ToHttp::StopListening(addresses) => web.stop_listening(reactor, &addresses),
            ToHttp::Configure { generation, config } => {
                web.configure(Arc::new(*config));
                self.control.applied(generation);
            }
            ToHttp::Refuse { ip, for_ms } => web.refuse_address(ip, for_ms),
            ToHttp::Processes(_) => web.announce("processes"),
            ToHttp::Reloaded(_) => web.announce("reload"),
            ToHttp::Preview { id, config } => {
                let (touched, all) = web.preview(&config);
                self.control.send(&ChildToMaster::Previewed { id, touched, all }, Vec::new());
            }
        }
    }

    fn keep_again(&mut self) {
        let (addresses, sockets) = self.web.listeners.duplicates();
        self.control.send(&ChildToMaster::Listening { addresses }, sockets);
        self.web.keep_downloads_again();
        self.web.tell_records();
        self.tell();
    }

    fn report(&mut self, with_clients: bool) -> api::Report {
        let process = self.control.name();
        let mut report =
            api::Report { process: process.clone(), pid: std::process::id(), ..api::Report::default() };
        self.web.report(&process, &mut report);
        if !with_clients {
            report.clients.clear();
        }
        report
    }

    fn kick(&mut self, id: u64) -> bool {
        self.web.kick(id)
    }

    fn record(&mut self, record: &api::Record) -> api::RecordAnswer {
        self.web.record(record)
    }

    fn turn(&mut self) {
        let (web, reactor) = (&mut self.web, &self.reactor);
        for event in self.ready.drain(..) {
            match event.token {
                DISK_TOKEN => {}
                VOD_TOKEN => {
                    web.vod.drain();
                    web.recheck_waiting = true;
                }
                READERS_TOKEN => web.take_read(),
                PICTURES_TOKEN => web.take_pictures(),
                token if token.0 < DISK_TOKEN.0 => {}
                _ => web.ready(reactor, event),
            }
        }
        web.work(reactor);
        self.tell();
    }

    fn wait(&mut self, until_ms: u64) -> io::Result<Woken> {
        self.reactor.wait(Some(until_ms.min(self.web.deadline())), &mut self.ready)?;
        Ok(Woken::by(&self.ready))
    }

    fn goodbye(&mut self) -> io::Result<()> {
        self.web.end_all();
        Ok(())
    }
}

impl HttpProcess {
    /// Tells the master what there is to tell.
    fn tell(&mut self) {
        for (link, reads) in self.web.link_notes.drain(..) {
            match reads {
                Some(reads) => self.control.link_up(link, reads),
                None => self.control.link_down(link),
            }
        }
        for (message, fds) in self.web.to_master.drain(..) {
            self.control.send(&message, fds);
        }
    }
}
