//! The http process: a web server for files and live streams, which it reads from the rings like any viewer.

mod answers;
mod backlog;
mod batch;
mod connection;
mod console;
mod disk;
mod downloads;
mod dvr;
mod feed;
mod files;
mod formats;
mod handoff;
mod hls;
mod hls_answers;
mod left_out;
mod live;
mod mount;
mod opening;
mod outbox;
mod owners;
mod pace;
mod pictures;
mod pinned;
mod readers;
mod report;
mod rules;
mod transport;
mod tunnel;
mod vod;
mod vod_answers;
mod web;

use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;

use child::{API_TOKEN, CONTROL_TOKEN, Control, PrivateApi, Query};
use ipc::{ChildToMaster, ToHttp};
use reactor::{Reactor, Token};
use web::Web;

/// Token of what rings when the disk's thread has done something.
const DISK_TOKEN: Token = Token(2);
/// The same of the thread that reads files.
const VOD_TOKEN: Token = Token(3);
/// The same of the threads that open and read what the loop does not.
const READERS_TOKEN: Token = Token(4);
/// The thread that makes pictures has made one.
const PICTURES_TOKEN: Token = Token(5);

/// Runs the http process until the master ends it. `control` is the channel to the master.
///
/// # Errors
/// When it can't begin, or the master has gone.
pub fn run(control: OwnedFd) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let mut control = Control::begin(control)?;
    let mut reactor = Reactor::new()?;
    reactor.register(control.as_raw_fd(), CONTROL_TOKEN)?;
    let waker = reactor.waker(API_TOKEN)?;
    let api = PrivateApi::start(control.private_api_port(), control.key.clone(), waker)?;
    control.send(&ChildToMaster::Ready { private_api_port: api.port() }, Vec::new());
    let mut ready = Vec::new();
    let start = &control.start;
    let config = Arc::new((*start.config).clone());
    let disk = disk::Disk::start()?;
    reactor.register_readable(disk.bell(), DISK_TOKEN)?;
    let vod = vod::Vod::start()?;
    reactor.register_readable(vod.bell(), VOD_TOKEN)?;
    let readers = readers::Readers::new()?;
    reactor.register_readable(readers.bell(), READERS_TOKEN)?;
    let pictures = pictures::Pictures::new()?;
    reactor.register_readable(pictures.bell(), PICTURES_TOKEN)?;
    let place = (start.slot, start.board_slot);
    let memory = (Arc::clone(&control.board), Arc::clone(&control.work));
    let mut web = Web::new(config, memory, place, start.first_connection_id, (disk, vod, readers, pictures));
    web.review_dvr();
    web.version.clone_from(&start.version);
    loop {
        if control.look_for_master(&reactor)? {
            let (addresses, sockets) = web.listeners.duplicates();
            control.send(&ChildToMaster::Listening { addresses }, sockets);
            web.keep_downloads_again();
            web.tell_records();
            tell(&mut control, &mut web);
            control.send(&ChildToMaster::Ready { private_api_port: api.port() }, Vec::new());
        }
        while let Some((message, mut fds)) = control.receive()? {
            match message {
                ToHttp::Listen { address, tls } => web.listen(&reactor, address, tls, fds),
                ToHttp::Source { shard, link } => match (fds.pop(), fds.pop()) {
                    (Some(wake), Some(channel)) => web.connect(&reactor, shard, link, (channel, wake)),
                    _ => control.link_down(link),
                },
                ToHttp::Sibling { slot, link } => match fds.pop() {
                    Some(channel) => web.meet_sibling(&reactor, slot, link, channel),
                    None => control.link_down(link),
                },
                ToHttp::Lend { slot, addresses } => {
                    web.listeners.borrow(&reactor, slot, &addresses, fds);
                }
                ToHttp::TakeBack(slot) => web.listeners.give_back(&reactor, slot),
                ToHttp::Remembered(state) => web.remember_records(&state),
                ToHttp::Download { id, state } => web.resume_download(&reactor, id, &state, fds),
                ToHttp::StopListening(addresses) => web.stop_listening(&reactor, &addresses),
                ToHttp::Configure { generation, config } => {
                    web.configure(Arc::new(*config));
                    control.applied(generation);
                }
                ToHttp::Refuse { ip, for_ms } => web.refuse_address(ip, for_ms),
                ToHttp::Processes(_) => web.announce("processes"),
                ToHttp::Reloaded(_) => web.announce("reload"),
                ToHttp::Preview { id, config } => {
                    let (touched, all) = web.preview(&config);
                    control.send(&ChildToMaster::Previewed { id, touched, all }, Vec::new());
                }
            }
        }
        if control.is_stopped() {
            web.end_all();
            return Ok(());
        }
        ready.clear();
        reactor.wait(Some(control.beat().min(web.deadline())), &mut ready)?;
        for event in &ready {
            match event.token {
                CONTROL_TOKEN | API_TOKEN => {}
                DISK_TOKEN => web.hls.disk.hear(),
                VOD_TOKEN => {
                    web.vod.hear();
                    web.news = true;
                }
                READERS_TOKEN => web.hear_readers(),
                PICTURES_TOKEN => web.hear_pictures(),
                _ => web.ready(&reactor, *event),
            }
        }
        web.work(&reactor);
        tell(&mut control, &mut web);
        while let Some(query) = api.next() {
            match query {
                Query::Report { with_clients, reply } => {
                    let process = control.name();
                    let mut report = api::Report {
                        process: process.clone(),
                        pid: std::process::id(),
                        ..api::Report::default()
                    };
                    web.report(&process, &mut report);
                    if !with_clients {
                        report.clients.clear();
                    }
                    reply.answer(report);
                }
                Query::Kick { id, reply } => reply.answer(web.kick(id)),
                Query::Record { record, reply } => reply.answer(web.record(&record)),
            }
        }
    }
}

/// Tells the master what there is to tell.
fn tell(control: &mut Control, web: &mut Web) {
    for (link, reads) in web.link_notes.drain(..) {
        match reads {
            Some(reads) => control.link_up(link, reads),
            None => control.link_down(link),
        }
    }
    for (message, fds) in web.words.drain(..) {
        control.send(&message, fds);
    }
}
