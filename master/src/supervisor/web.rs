//! The listening sockets of the web server: for plain HTTP and for HTTPS, one for each http process.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use conf::Config;
use conf::config::HttpServer;
use ipc::{MasterToChild, Role};

use super::children::Child;
use super::{StartError, Supervisor, duplicate, os};
use crate::listen;

/// An address of the web server.
#[derive(Debug)]
pub(super) struct Web {
    pub(super) tls: bool,
    /// As the file has it: a port may be 0 there.
    asked: SocketAddr,
    pub(super) address: SocketAddr,
    /// One for each http process.
    pub(super) sockets: Vec<OwnedFd>,
}

/// What a configuration asks for.
fn wanted(server: &HttpServer) -> Vec<(bool, SocketAddr)> {
    let plain = server.enabled.then_some((false, server.listen));
    let tls = (server.enabled && server.https.enabled).then_some((true, server.https.listen));
    plain.into_iter().chain(tls).collect()
}

/// Binds what `server` asks for; sockets of `known` are kept where they are the same.
pub(super) fn bind(server: &HttpServer, workers: u32, known: &[Web]) -> Result<Vec<Web>, StartError> {
    let mut web = Vec::new();
    for (tls, asked) in wanted(server) {
        let kept = known.iter().find(|web| web.tls == tls && web.asked == asked);
        let (address, sockets) = match kept {
            Some(web) => {
                let kept: std::io::Result<_> = web.sockets.iter().map(duplicate).collect();
                (web.address, kept.map_err(os("a listening socket can't be kept"))?)
            }
            None => listen::shared(asked, workers)?,
        };
        web.push(Web { tls, asked, address, sockets });
    }
    Ok(web)
}

/// Addresses that `server` asks for and that are not listened on yet.
pub(super) fn new_addresses(server: &HttpServer, known: &[Web]) -> Vec<SocketAddr> {
    let is_new =
        |(tls, asked): &(bool, SocketAddr)| !known.iter().any(|web| web.tls == *tls && web.asked == *asked);
    wanted(server).into_iter().filter(is_new).map(|(_, asked)| asked).collect()
}

/// Puts the addresses that are really bound into the configuration.
pub(super) fn note(config: &mut Config, web: &[Web]) {
    for web in web {
        let place =
            if web.tls { &mut config.http_server.https.listen } else { &mut config.http_server.listen };
        *place = web.address;
    }
}

/// Gives an http process what it accepts from.
pub(super) fn give(child: &mut Child, web: &[Web]) -> std::io::Result<()> {
    for web in web {
        let Some(socket) = web.sockets.get(child.number as usize) else { continue };
        let message = MasterToChild::ListenHttp { address: web.address, tls: web.tls };
        child.tell(&message, vec![duplicate(socket)?]);
    }
    Ok(())
}

impl Supervisor {
    /// Other sockets from now on.
    pub(super) fn serve_web_on(&mut self, web: Vec<Web>) {
        note(&mut self.config, &web);
        let old = std::mem::replace(&mut self.web, web);
        let is_in =
            |list: &[Web], one: &Web| list.iter().any(|web| (web.tls, web.address) == (one.tls, one.address));
        let gone: Vec<SocketAddr> =
            old.iter().filter(|web| !is_in(&self.web, web)).map(|web| web.address).collect();
        for child in self.children.iter_mut().filter(|child| child.role == Role::Http) {
            if !gone.is_empty() {
                child.tell(&MasterToChild::StopListening { addresses: gone.clone() }, Vec::new());
            }
            for web in self.web.iter().filter(|web| !is_in(&old, web)) {
                if let Err(error) = give(child, std::slice::from_ref(web)) {
                    tracing::error!("{} can't be served: {error}", web.address);
                }
            }
        }
    }

    /// After the death of a master: the sockets that http processes brought, and new ones where they did not.
    pub(super) fn take_web_back(&mut self) -> Result<(), StartError> {
        let mut web = Vec::new();
        for ((tls, asked), (_, address)) in
            wanted(&self.asked.http_server).into_iter().zip(wanted(&self.config.http_server))
        {
            let sockets = self.brought(Role::Http, self.config.http_workers, address)?;
            web.push(Web { tls, asked, address, sockets });
        }
        self.web = web;
        Ok(())
    }

    /// Where it is served.
    pub(super) fn web_address(&self, tls: bool) -> Option<SocketAddr> {
        self.web.iter().find(|web| web.tls == tls).map(|web| web.address)
    }
}
