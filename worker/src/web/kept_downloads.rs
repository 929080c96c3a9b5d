//! Downloads that outlive this process: the master keeps socket and file, and the kernel knows how many bytes of the socket's
//! stream were sent; a successor goes on with the byte behind them.

use std::fs::File;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;

use conf::Config;
use conf::config::ProcessMode;
use ipc::ChildToMaster;
use serde::{Deserialize, Serialize};

use super::clients::Clients;
use super::connection::{Body, Connection, FileBody, State};
use super::to_master::ToMaster;
use super::transport::Transport;

/// Most downloads of this process that the master is asked to keep: two descriptors each.
const MOST: usize = 1024;
/// A download of so many bytes is kept from its first one.
const LARGE: u64 = 1 << 20;

/// A download as a successor finds it.
#[derive(Debug, Serialize, Deserialize)]
struct Begun {
    peer: SocketAddr,
    accepted_ms: u64,
    /// Bytes of the socket's stream that were sent before `ahead`, behind which follows the byte `at` of the file.
    sent: u64,
    /// What has to be sent before the file: the head of the answer.
    #[serde(with = "serde_bytes")]
    ahead: Vec<u8>,
    at: u64,
    end: u64,
    root: PathBuf,
    is_local: bool,
    keep_alive: bool,
    /// What was read behind the request. Nothing more is read before the download is over.
    input: Vec<u8>,
    target: String,
    page_url: Option<String>,
    bytes_in: u64,
    bytes_out: u64,
}

impl Begun {
    fn of(connection: &Connection, body: &FileBody, sent: u64) -> Self {
        // What is in the outbox is yet to be sent: the head, later on what was read of the file.
        let (ahead, read) = if body.has_begun {
            (Vec::new(), connection.outbox.len() as u64)
        } else {
            (connection.outbox.bytes(), 0)
        };
        Self {
            peer: connection.peer,
            accepted_ms: connection.accepted_ms,
            sent,
            ahead,
            at: body.at - read,
            end: body.end,
            root: body.root.to_path_buf(),
            is_local: body.is_local,
            keep_alive: connection.keep_alive,
            input: connection.input.clone(),
            target: connection.target.clone(),
            page_url: connection.page_url.clone(),
            bytes_in: connection.bytes_in,
            bytes_out: connection.bytes_out,
        }
    }

    /// What of the head is to be sent yet, and where in the file it goes on, when so many bytes of the socket's stream were
    /// sent. `None` when the socket has got what is not of this file.
    fn next(&self, sent: u64) -> Option<(&[u8], u64)> {
        let more = sent.checked_sub(self.sent)?;
        let of_head = usize::try_from(more).unwrap_or(usize::MAX).min(self.ahead.len());
        let at = self.at.checked_add(more - of_head as u64)?;
        (at <= self.end).then_some((self.ahead.get(of_head..)?, at))
    }
}

impl ToMaster {
    /// A download that is large, or whose client does not take all at once, is one that may take long: the master keeps it, where it is
    /// another process.
    pub(crate) fn keep_download(&mut self, connection: &mut Connection, config: &Config) {
        let is_possible = config.process_mode == ProcessMode::Multi && self.kept_downloads < MOST;
        let may_take_long = match &connection.state {
            State::Answer(Body::File(body)) => !body.kept && (body.has_begun || body.end - body.at >= LARGE),
            _ => false,
        };
        if !is_possible || !may_take_long {
            return;
        }
        let Some((message, fds)) = keep(connection) else { return };
        if let State::Answer(Body::File(body)) = &mut connection.state {
            body.kept = true;
            self.kept_downloads += 1;
            self.push(message, fds);
        }
    }

    /// A download is over, or its connection is.
    pub(crate) fn drop_download(&mut self, id: u64) {
        self.kept_downloads = self.kept_downloads.saturating_sub(1);
        self.push(ChildToMaster::DropDownload { id }, Vec::new());
    }

    /// Another master keeps nothing yet.
    pub(crate) fn keep_downloads_again(&mut self, clients: &Clients) {
        let kept = clients.connections.iter().filter(|(_, connection)| connection.is_kept());
        for (message, fds) in kept.filter_map(|(_, connection)| keep(connection)) {
            self.push(message, fds);
        }
    }

    /// Goes on with what a predecessor had begun, if its client is still there: the connection, as it is from now on. It has until
    /// `deadline_ms` to take something.
    pub(crate) fn resume_download(
        &mut self,
        id: u64,
        state: &[u8],
        fds: Vec<OwnedFd>,
        deadline_ms: u64,
    ) -> Option<Connection> {
        self.kept_downloads += 1;
        let resumed = resume(id, state, fds, deadline_ms);
        if resumed.is_none() {
            self.drop_download(id);
        }
        resumed
    }
}

fn resume(id: u64, state: &[u8], fds: Vec<OwnedFd>, deadline_ms: u64) -> Option<Connection> {
    let mut fds = fds.into_iter();
    let begun = serde_json::from_slice::<Begun>(state).ok()?;
    let (socket, file) = (fds.next()?, fds.next()?);
    let sent = ipc::bytes_sent(socket.as_fd()).ok().flatten();
    let socket = Transport::Plain(TcpStream::from(socket));
    let connection = Connection::new(socket, begun.peer, id, begun.accepted_ms, deadline_ms);
    let (Ok(mut connection), Some((sent, (ahead, at)))) =
        (connection, sent.and_then(|sent| Some((sent, begun.next(sent)?))))
    else {
        tracing::debug!(cid = id, "a download can't be gone on with: its client has left");
        return None;
    };
    tracing::info!(cid = id, "a download goes on at byte {at} of {}", begun.end);
    connection.outbox.push(ahead.to_vec());
    connection.keep_alive = begun.keep_alive;
    connection.input = begun.input;
    connection.target = begun.target;
    connection.page_url = begun.page_url;
    connection.bytes_in = begun.bytes_in;
    connection.bytes_out = begun.bytes_out + (sent - begun.sent);
    let root = Arc::from(begun.root.as_path());
    let mut body = FileBody::new(File::from(file), (at, begun.end), &root, begun.is_local);
    body.kept = true;
    connection.state = State::Answer(Body::File(body));
    Some(connection)
}

/// What the master is told of a download.
fn keep(connection: &Connection) -> Option<(ChildToMaster, Vec<OwnedFd>)> {
    let State::Answer(Body::File(body)) = &connection.state else { return None };
    let socket = connection.plain()?;
    let sent = ipc::bytes_sent(socket.as_fd()).ok().flatten()?;
    let fds = vec![socket.as_fd().try_clone_to_owned().ok()?, body.file.as_fd().try_clone_to_owned().ok()?];
    let state = serde_json::to_vec(&Begun::of(connection, body, sent)).ok()?;
    Some((ChildToMaster::KeepDownload { id: connection.id, state }, fds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_byte_is_the_one_behind_those_that_were_sent() {
        let begun = Begun {
            peer: SocketAddr::from(([127, 0, 0, 1], 1)),
            accepted_ms: 0,
            sent: 300,
            ahead: Vec::new(),
            at: 1000,
            end: 5000,
            root: PathBuf::new(),
            is_local: true,
            keep_alive: true,
            input: Vec::new(),
            target: String::new(),
            page_url: None,
            bytes_in: 0,
            bytes_out: 0,
        };
        assert_eq!(begun.next(300), Some((&b""[..], 1000)));
        assert_eq!(begun.next(4300), Some((&b""[..], 5000)));
        assert_eq!(begun.next(4301), None, "another answer was begun");
        assert_eq!(begun.next(299), None);
        let begun = Begun { ahead: b"head".to_vec(), ..begun };
        assert_eq!(begun.next(300), Some((&b"head"[..], 1000)));
        assert_eq!(begun.next(303), Some((&b"d"[..], 1000)));
        assert_eq!(begun.next(305), Some((&b""[..], 1001)));
        assert_eq!(begun.next(4304), Some((&b""[..], 5000)));
    }
}
