//! Where the server listens: one table for all purposes, made by one function at start, at a reload, and of what the children
//! of a former master brought.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use conf::Config;
use ipc::{MasterToChild, Role};

use super::child::Child;
use super::children::Children;
use super::configuration::workers;
use super::{Serving, StartError, duplicate, os};
use crate::inherited::{self, Kept};
use crate::listen;

/// What an address is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Publishers and players.
    Rtmp,
    /// The management API.
    Api,
    /// Metrics.
    Exporter,
    /// The web server.
    Http,
    /// The web server over TLS.
    Https,
}

impl Purpose {
    /// Whose processes accept there.
    pub(super) const fn role(self) -> Role {
        match self {
            Self::Rtmp => Role::Stream,
            Self::Api | Self::Exporter => Role::Api,
            Self::Http | Self::Https => Role::Http,
        }
    }

    /// How many processes accept there.
    fn count(self, config: &Config) -> u32 {
        match self.role() {
            Role::Stream => workers(config),
            Role::Http => config.http_workers,
            _ => 1,
        }
    }
}

/// What a configuration asks for, in its order.
fn wanted(config: &Config) -> Vec<(Purpose, SocketAddr)> {
    let server = &config.http_server;
    let rtmp = config.listen.iter().map(|listen| (Purpose::Rtmp, listen.address));
    let others = [
        (Purpose::Api, config.http_api.enabled, config.http_api.listen),
        (Purpose::Exporter, config.exporter.enabled, config.exporter.listen),
        (Purpose::Http, server.enabled, server.listen),
        (Purpose::Https, server.enabled && server.https.enabled, server.https.listen),
    ];
    let others = others.into_iter().filter(|(_, is_on, _)| *is_on).map(|(purpose, _, at)| (purpose, at));
    rtmp.chain(others).collect()
}

/// An address on which the server listens.
#[derive(Debug)]
pub(super) struct Port {
    purpose: Purpose,
    /// As the file has it: a port may be 0 there.
    asked: SocketAddr,
    bound: SocketAddr,
    /// One for each process that accepts there.
    sockets: Vec<OwnedFd>,
}

impl Port {
    fn is(&self, other: &Self) -> bool {
        (self.purpose, self.bound) == (other.purpose, other.bound)
    }
}

/// What is there already of a port that is asked for: its address, and by the number of its process a socket.
#[derive(Debug)]
struct Known {
    purpose: Purpose,
    asked: SocketAddr,
    bound: SocketAddr,
    sockets: Vec<Option<OwnedFd>>,
}

impl Known {
    /// Keeps as many sockets as are wanted, and adds what is missing: what the service manager passed, or new ones.
    fn complete(self, count: usize) -> Result<Port, StartError> {
        let Self { purpose, asked, bound, sockets: mut known } = self;
        known.resize_with(count, || None);
        let mut passed = inherited::take_beside(bound, known.iter().flatten()).into_iter();
        let mut sockets = Vec::new();
        for socket in known {
            let socket = match socket {
                Some(socket) => socket,
                None => match passed.next() {
                    Some(socket) => {
                        listen::prepare(&socket).map_err(os("a listening socket can't be kept"))?;
                        socket
                    }
                    None => {
                        sockets.append(&mut listen::more(bound, 1)?);
                        continue;
                    }
                },
            };
            sockets.push(socket);
        }
        Ok(Port { purpose, asked, bound, sockets })
    }
}

/// All addresses on which the server listens.
#[derive(Debug, Default)]
pub(super) struct Listening {
    ports: Vec<Port>,
    /// What of it the service manager has.
    kept: Kept,
}

impl Listening {
    /// Binds what a configuration asks for; what is known of it is kept.
    fn bind(mut known: Vec<Known>, config: &Config) -> Result<Self, StartError> {
        let mut ports = Vec::new();
        for (purpose, asked) in wanted(config) {
            let count = purpose.count(config);
            let is_it = |known: &Known| (known.purpose, known.asked) == (purpose, asked);
            ports.push(match known.iter().position(is_it) {
                Some(at) => known.remove(at).complete(count as usize)?,
                None => {
                    let (bound, sockets) = listen::shared(asked, count)?;
                    Port { purpose, asked, bound, sockets }
                }
            });
        }
        Ok(Self { ports, kept: Kept::new() })
    }

    /// At the start of a server.
    pub(super) fn new(config: &Config) -> Result<Self, StartError> {
        Self::bind(Vec::new(), config)
    }

    /// For another configuration. Nothing changes here.
    pub(super) fn rebind(&self, config: &Config) -> Result<Self, StartError> {
        let mut known = Vec::new();
        for port in &self.ports {
            let sockets: std::io::Result<_> =
                port.sockets.iter().map(|socket| duplicate(socket).map(Some)).collect();
            let sockets = sockets.map_err(os("a listening socket can't be kept"))?;
            known.push(Known { purpose: port.purpose, asked: port.asked, bound: port.bound, sockets });
        }
        Self::bind(known, config)
    }

    /// Of what the children of a former master brought, whose configuration was `asked` and came to `config`.
    pub(super) fn restore(asked: &Config, config: &Config, children: &[Child]) -> Result<Self, StartError> {
        let brought = |purpose: Purpose, bound: SocketAddr, number: u32| {
            children
                .iter()
                .filter(|child| (child.role, child.number) == (purpose.role(), number) && !child.draining)
                .find_map(|child| child.brought(bound))
        };
        let known = wanted(asked).into_iter().zip(wanted(config)).map(|((purpose, asked), (_, bound))| {
            let sockets = (0..purpose.count(config)).map(|number| brought(purpose, bound, number)).collect();
            Known { purpose, asked, bound, sockets }
        });
        Self::bind(known.collect(), asked)
    }

    /// Whether the addresses that a configuration asks for beside those that are there can be listened on: they are taken for
    /// a moment, and given back.
    pub(super) fn try_out(&self, config: &Config) -> Result<(), StartError> {
        let mut known: Vec<&Port> = self.ports.iter().collect();
        let mut probes = Vec::new();
        for (purpose, asked) in wanted(config) {
            match known.iter().position(|port| (port.purpose, port.asked) == (purpose, asked)) {
                Some(at) => drop(known.remove(at)),
                None => probes.push(listen::probe(asked)?),
            }
        }
        Ok(())
    }

    /// Puts the addresses that are really bound into the configuration.
    pub(super) fn note(&self, config: &mut Config) {
        for (listen, bound) in config.listen.iter_mut().zip(self.addresses(Purpose::Rtmp)) {
            listen.address = bound;
        }
        let server = &mut config.http_server;
        for (purpose, place) in [
            (Purpose::Api, &mut config.http_api.listen),
            (Purpose::Exporter, &mut config.exporter.listen),
            (Purpose::Http, &mut server.listen),
            (Purpose::Https, &mut server.https.listen),
        ] {
            if let Some(bound) = self.addresses(purpose).next() {
                *place = bound;
            }
        }
    }

    /// Where the server serves.
    pub(super) fn serving(&self) -> Serving {
        Serving {
            rtmp: self.addresses(Purpose::Rtmp).collect(),
            http_api: self.addresses(Purpose::Api).next(),
            exporter: self.addresses(Purpose::Exporter).next(),
            http_server: self.addresses(Purpose::Http).next(),
            https_server: self.addresses(Purpose::Https).next(),
            pid: std::process::id(),
        }
    }

    /// Where the server listens for a purpose.
    pub(super) fn addresses(&self, purpose: Purpose) -> impl Iterator<Item = SocketAddr> {
        self.ports.iter().filter(move |port| port.purpose == purpose).map(|port| port.bound)
    }

    /// Gives a process what it accepts from, but for what it has of a former table.
    pub(super) fn give(&self, child: &mut Child, has: &[Port]) -> std::io::Result<()> {
        let (mut addresses, mut sockets) = (Vec::new(), Vec::new());
        for port in self.ports.iter().filter(|port| !has.iter().any(|known| known.is(port))) {
            let socket = port.sockets.get(child.number as usize);
            let Some(socket) = socket.filter(|_| port.purpose.role() == child.role) else { continue };
            let socket = duplicate(socket)?;
            match port.purpose {
                Purpose::Http | Purpose::Https => {
                    let tls = port.purpose == Purpose::Https;
                    child.tell(&MasterToChild::ListenHttp { address: port.bound, tls }, vec![socket]);
                }
                Purpose::Rtmp | Purpose::Api | Purpose::Exporter => {
                    addresses.push(port.bound);
                    sockets.push(socket);
                }
            }
        }
        if !addresses.is_empty() {
            child.tell(&MasterToChild::Listen { addresses }, sockets);
        }
        Ok(())
    }

    /// The sockets of one process, for another one of its role.
    pub(super) fn of(&self, role: Role, number: u32) -> (Vec<SocketAddr>, Vec<OwnedFd>) {
        let its = self.ports.iter().filter(|port| port.purpose.role() == role);
        its.filter_map(|port| Some((port.bound, duplicate(port.sockets.get(number as usize)?).ok()?))).unzip()
    }

    /// Listens for this purpose no more. Returns where that was.
    pub(super) fn close(&mut self, purpose: Purpose) -> Vec<SocketAddr> {
        let gone = self.addresses(purpose).collect();
        self.ports.retain(|port| port.purpose != purpose);
        gone
    }

    /// The service manager keeps the sockets that we listen on now, and no others.
    pub(super) fn keep(&mut self) {
        self.kept.update(self.ports.iter().map(|port| (port.bound, port.sockets.as_slice())));
    }
}

impl Listening {
    /// Listens as another table has it from now on; as many processes accept from it as a configuration asks for.
    pub(super) fn replace(&mut self, new: Self, children: &mut Children, config: &Config) {
        let mut old = std::mem::replace(&mut self.ports, new.ports);
        // Our own ends go first, so that a process that accepts for the last time leaves nobody behind.
        old.iter_mut().for_each(|port| port.sockets.clear());
        children.fit_stream_processes(config);
        for child in children.iter_mut().filter(|child| !child.draining) {
            let gone = old.iter().filter(|port| !self.ports.iter().any(|known| known.is(port)));
            let addresses: Vec<SocketAddr> =
                gone.filter(|port| port.purpose.role() == child.role).map(|port| port.bound).collect();
            if !addresses.is_empty() {
                child.tell(&MasterToChild::StopListening { addresses }, Vec::new());
            }
            if let Err(error) = self.give(child, &old) {
                tracing::error!("{} does not get a listening socket: {error}", child.name());
            }
        }
    }

    /// A stream or http process that can't be started, or dies again and again, must not leave those who wait in its listening
    /// sockets waiting: another one of its role accepts from them meanwhile.
    pub(super) fn lend(&self, children: &mut Children, slot: usize) {
        let Some((role, number)) = children.get(slot).and_then(faces_clients) else { return };
        let (addresses, sockets) = self.of(role, number);
        if addresses.is_empty() {
            return;
        }
        if let Some(substitute) = children.substitute(slot, role) {
            tracing::warn!("{} takes the clients of {}#{number} meanwhile", substitute.name(), role.name());
            substitute.tell(&MasterToChild::Lend { number, addresses }, sockets);
        }
    }
}

/// The process of this slot accepts for itself again.
pub(super) fn take_back(children: &mut Children, slot: usize) {
    let Some((role, number)) = children.get(slot).and_then(faces_clients) else { return };
    for (at, child) in children.iter_mut().enumerate() {
        if at != slot && child.role == role && child.is_up() {
            child.tell(&MasterToChild::TakeBack { number }, Vec::new());
        }
    }
}

/// Role and number of a child that accepts clients beside others of its role.
fn faces_clients(child: &Child) -> Option<(Role, u32)> {
    matches!(child.role, Role::Stream | Role::Http).then_some((child.role, child.number))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        conf::parse_text("srs.conf", text.as_bytes(), &conf::Environment::empty()).unwrap().config
    }

    /// Address and sockets of each port of a purpose.
    fn ports(table: &Listening, purpose: Purpose) -> Vec<(SocketAddr, Vec<u64>)> {
        let inode = |socket: &OwnedFd| nix::sys::stat::fstat(socket).unwrap().st_ino;
        let its = table.ports.iter().filter(|port| port.purpose == purpose);
        its.map(|port| (port.bound, port.sockets.iter().map(inode).collect())).collect()
    }

    #[test]
    fn what_is_asked_for_again_keeps_its_address_and_its_sockets() {
        let two = config(
            "listen 127.0.0.1:0 127.0.0.2:0; workers 2; http_api { enabled on; listen 127.0.0.1:0; }
             exporter { enabled on; listen 127.0.0.1:0; }",
        );
        let three = config(
            "listen 127.0.0.2:0 127.0.0.1:0; workers 3; http_api { enabled on; listen 127.0.0.1:0; }
             http_server { enabled on; listen 127.0.0.1:0; } http_workers 2;",
        );
        let first = Listening::new(&two).unwrap();
        first.try_out(&three).unwrap();
        let second = first.rebind(&three).unwrap();
        let (before, after) = (ports(&first, Purpose::Rtmp), ports(&second, Purpose::Rtmp));
        for ((address, had), (now_at, has)) in before.iter().rev().zip(&after) {
            assert_eq!((address, had.len(), has.len()), (now_at, 2, 3));
            assert_eq!(had.as_slice(), &has[..2]);
        }
        assert_eq!(ports(&first, Purpose::Api), ports(&second, Purpose::Api));
        assert_eq!((ports(&first, Purpose::Exporter).len(), ports(&second, Purpose::Exporter).len()), (1, 0));
        assert_eq!(ports(&second, Purpose::Http)[0].1.len(), 2);
        assert_eq!(ports(&second.rebind(&two).unwrap(), Purpose::Rtmp), before);
        let mut noted = three.clone();
        second.note(&mut noted);
        assert_eq!(wanted(&noted).len(), 4);
        assert!(wanted(&noted).iter().all(|(_, address)| address.port() != 0));
    }

    #[test]
    fn what_children_bring_is_completed() {
        let asked = config("listen 127.0.0.1:0; workers 2;");
        let first = Listening::new(&asked).unwrap();
        let mut in_force = asked.clone();
        first.note(&mut in_force);
        let mut child = Child::new(Role::Stream, 1, None);
        let (addresses, sockets) = first.of(Role::Stream, 1);
        child.listening = addresses.into_iter().zip(sockets).collect();
        let before = ports(&first, Purpose::Rtmp);
        drop(first);
        let table = Listening::restore(&asked, &in_force, &[child]).unwrap();
        let after = ports(&table, Purpose::Rtmp);
        assert_eq!(after[0].0, before[0].0);
        assert_eq!((after[0].1.len(), after[0].1[1]), (2, before[0].1[1]));
        assert_ne!(after[0].1[0], before[0].1[0]);
    }
}
