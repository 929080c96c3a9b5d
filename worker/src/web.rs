//! The http process: a web server for files and live streams, which it reads from the rings like any viewer.

mod answer;
mod clients;
mod connection;
mod console;
mod counters;
mod event_pages;
mod file_requests;
mod files;
mod gone;
mod handoff;
mod hls_requests;
mod kept_downloads;
mod listening;
mod mount;
mod picture_requests;
mod proxy;
mod readers;
mod report;
mod routes;
mod server;
mod site;
mod to_master;
mod transport;
mod turn;
mod vod_requests;
mod waiters;

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use self::answer::Heads;
use self::clients::Clients;
use self::counters::Counters;
use self::file_requests::Files;
use self::readers::Readers;
use self::server::Web;
use self::site::Site;
use crate::disk::Disk;
use crate::outputs::media::Media;
use crate::outputs::pictures::Pictures;
use crate::outputs::vod::Vod;
use child::{Control, Process, Woken};
use ipc::{ChildToMaster, ToHttp};
use reactor::{Reactor, Ready, Token};

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
    let vod = Vod::start()?;
    reactor.register_readable(vod.fd(), VOD_TOKEN)?;
    let files = Files::new(&config, Readers::new()?);
    reactor.register_readable(files.fd(), READERS_TOKEN)?;
    let pictures = Pictures::new()?;
    reactor.register_readable(pictures.fd(), PICTURES_TOKEN)?;
    let (board, work_record) = (Arc::clone(&control.board), Arc::clone(&control.work));
    let media = Media::new(Arc::clone(&config), Arc::clone(&board), start.number, disk);
    let heads = Heads::new(&start.version, &config);
    let site = Site { config, heads, media, vod, pictures, files };
    let counters = Counters::new(board, start.board_slot as usize, work_record);
    let web = Web::new(site, counters, Clients::new(start.first_connection_id));
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
            ToHttp::Listen { address, tls } => {
                web.listening.add(reactor, address, tls, fds, &web.site.config);
            }
            ToHttp::Source { shard, link } => match (fds.pop(), fds.pop()) {
                (Some(wake), Some(channel)) => web.connect(reactor, shard, link, (channel, wake)),
                _ => self.control.link_down(link),
            },
            ToHttp::Sibling { number, link } => match fds.pop() {
                Some(channel) => web.meet_sibling(reactor, number, link, channel),
                None => self.control.link_down(link),
            },
            ToHttp::Lend { number, addresses } => {
                web.listening.listeners.borrow(reactor, number, &addresses, fds)
            }
            ToHttp::TakeBack(number) => web.listening.listeners.give_back(reactor, number),
            ToHttp::Remembered(state) => web.site.media.remember(&state, web.now()),
            ToHttp::Download { id, state } => web.resume_download(reactor, id, &state, fds),
            ToHttp::StopListening(addresses) => web.stop_listening(reactor, &addresses),
            ToHttp::Configure { generation, config } => {
                web.configure(Arc::new(*config));
                self.control.applied(generation);
            }
            ToHttp::Refuse { ip, for_ms } => web.listening.refuse(ip, web.now_ms, for_ms),
            ToHttp::Processes(_) => web.announce("processes"),
            ToHttp::Reloaded(_) => web.announce("reload"),
            ToHttp::Preview { id, config } => {
                let (touched, all) = report::preview(&web.clients, &web.site, &config);
                self.control.send(&ChildToMaster::Previewed { id, touched, all }, Vec::new());
            }
        }
    }

    fn keep_again(&mut self) {
        let (addresses, sockets) = self.web.listening.listeners.duplicates();
        self.control.send(&ChildToMaster::Listening { addresses }, sockets);
        self.web.keep_again();
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
        let now = self.web.now();
        self.web.site.media.record(record, now)
    }

    fn turn(&mut self) {
        let mut ready = std::mem::take(&mut self.ready);
        for event in ready.drain(..) {
            let web = &mut self.web;
            match event.token {
                // What was done is taken with the rest of the turn.
                DISK_TOKEN => web.site.media.outputs.disk.drain_notifications(),
                VOD_TOKEN => web.take_films(),
                READERS_TOKEN => web.take_files(),
                PICTURES_TOKEN => web.take_pictures(),
                token if token.0 < DISK_TOKEN.0 => {}
                _ => self.ready(event),
            }
        }
        self.ready = ready;
        self.work();
        self.tell();
    }

    fn wait(&mut self, until_ms: u64) -> io::Result<Woken> {
        self.reactor.wait(Some(until_ms.min(self.deadline())), &mut self.ready)?;
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
        for (link, reads) in self.web.to_master.take_links() {
            match reads {
                Some(reads) => self.control.link_up(link, reads),
                None => self.control.link_down(link),
            }
        }
        for (message, fds) in self.web.to_master.take_messages() {
            self.control.send(&message, fds);
        }
    }
}
