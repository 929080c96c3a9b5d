//! Where clients are accepted, and how they are spoken to there.

use std::collections::{BTreeSet, HashMap};
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;

use conf::Config;
use reactor::Reactor;

use super::transport::{Certificate, Transport};
use crate::listeners::Listeners;

/// Listening sockets.
#[derive(Debug)]
pub(crate) struct Listening {
    pub(crate) listeners: Listeners,
    tls: BTreeSet<SocketAddr>,
    certificate: Certificate,
    /// Addresses that nobody is taken from, until when, ms.
    refused: HashMap<IpAddr, u64>,
}

impl Listening {
    /// Nowhere yet; at most so many are accepted in a turn.
    pub(crate) fn new(per_turn: u32) -> Self {
        Self {
            listeners: Listeners::new(per_turn).telling(),
            tls: BTreeSet::new(),
            certificate: Certificate::default(),
            refused: HashMap::new(),
        }
    }

    /// Accepts on this from now on.
    pub(crate) fn add(
        &mut self,
        reactor: &Reactor,
        address: SocketAddr,
        tls: bool,
        fds: Vec<OwnedFd>,
        config: &Config,
    ) {
        if tls {
            self.tls.insert(address);
            self.look_at_certificate(config, true);
        }
        self.listeners.add(reactor, &[address], fds);
    }

    /// Accepts on these no more. Returns those who waited there, with where that was.
    pub(crate) fn remove(
        &mut self,
        reactor: &Reactor,
        addresses: &[SocketAddr],
    ) -> Vec<(SocketAddr, TcpStream, SocketAddr)> {
        let waiting = self.listeners.remove(reactor, addresses);
        let at = addresses.first().copied();
        waiting.into_iter().filter_map(|(socket, peer)| Some((at?, socket, peer))).collect()
    }

    /// These are served no more at all.
    pub(crate) fn forget(&mut self, addresses: &[SocketAddr]) {
        self.tls.retain(|address| !addresses.contains(address));
    }

    /// Whether it is TLS that is spoken there.
    pub(crate) fn is_tls(&self, at: SocketAddr) -> bool {
        self.tls.contains(&at)
    }

    /// How somebody who was accepted there is spoken to; `None` where the certificate could not be read, which was said.
    pub(crate) fn transport(&self, at: SocketAddr, socket: TcpStream) -> Option<io::Result<Transport>> {
        if !self.is_tls(at) {
            return Some(Ok(Transport::Plain(socket)));
        }
        Some(Transport::tls(socket, self.certificate.config()?))
    }

    /// Reads the certificate, if it is another; at once, or where it is time for that.
    pub(crate) fn look_at_certificate(&mut self, config: &Config, at_once: bool) {
        self.certificate.look(&config.http_server.https, at_once);
    }

    /// Takes nobody from an address for a while.
    pub(crate) fn refuse(&mut self, ip: IpAddr, now_ms: u64, for_ms: u64) {
        self.refused.retain(|_, until_ms| *until_ms > now_ms);
        self.refused.insert(ip.to_canonical(), now_ms + for_ms);
    }

    /// Whether nobody is taken from an address.
    pub(crate) fn is_refused(&self, ip: IpAddr, now_ms: u64) -> bool {
        self.refused.get(&ip.to_canonical()).is_some_and(|until_ms| *until_ms > now_ms)
    }

    /// Somebody who was accepted there and for whom there is no place is told so, where that can be said in plain words.
    pub(crate) fn turn_away(&self, at: SocketAddr, mut socket: &TcpStream, answer: &[u8]) {
        if !answer.is_empty() && !self.is_tls(at) {
            // One write: who is told why does not have to guess.
            let _ = socket.set_nonblocking(true).and_then(|()| socket.write(answer));
        }
    }
}
