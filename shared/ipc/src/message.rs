//! Every control message, typed by direction: a worker cannot even express a master's order.
//!
//! Growth is additive: new fields have defaults, new variants come at the end.

use std::net::{IpAddr, SocketAddr};

use media::StreamKey;
use serde::{Deserialize, Serialize};

/// What a process is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Role {
    /// Supervises the others; keeper of what must outlive them.
    Master,
    /// Faces publishers; the only writer of rings.
    BackSource,
    /// Faces RTMP viewers.
    Stream,
    /// Faces HTTP.
    Http,
    /// Plays a file into the server.
    Ingest,
    /// Answers operators: the management API and the metrics.
    Api,
}

impl Role {
    /// As on the command line and in logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Master => "master",
            Self::BackSource => "backsource",
            Self::Stream => "stream",
            Self::Http => "http",
            Self::Ingest => "ingest",
            Self::Api => "api",
        }
    }

    /// The reverse of [`Self::name`].
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Master, Self::BackSource, Self::Stream, Self::Http, Self::Ingest, Self::Api]
            .into_iter()
            .find(|role| role.name() == name)
    }
}

/// The first message to a child: all it needs to begin. Descriptors: the scoreboard, and the work record of this process.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Start {
    /// What it is.
    pub role: Role,
    /// Its number among those of its role, from 0.
    #[serde(rename = "slot")]
    pub number: u32,
    /// Its place on the scoreboard.
    pub board_slot: u32,
    /// First id for its connections: the ids of two processes never meet.
    pub first_connection_id: u64,
    /// Generation of the configuration.
    pub generation: u64,
    /// The configuration.
    pub config: Box<conf::Config>,
    /// For [`Role::Ingest`]: vhost and id of the ingest it does.
    #[serde(default)]
    pub ingest: Option<(String, String)>,
    /// What opens the server; for [`Role::Api`] alone, which has to know who has it.
    #[serde(default)]
    pub token: api::Token,
    /// What opens the private API of this process ([`api::Token::of_process`]).
    #[serde(default)]
    pub key: api::Token,
    /// The server's version.
    #[serde(default)]
    pub version: String,
    /// Name of the family: where a master is found when this one has gone.
    #[serde(default)]
    pub family: String,
}

/// A process as the master knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessInfo {
    /// What it is.
    pub role: Role,
    /// Its number among those of its role.
    #[serde(rename = "slot")]
    pub number: u32,
    /// Process id (in single mode the same for all).
    pub pid: u32,
    /// How often this slot was started before.
    pub restarts: u32,
    /// Port of its private API on loopback; 0 until it said so.
    pub private_api_port: u16,
    /// Its place on the scoreboard; `None` for the master, which has none.
    #[serde(default)]
    pub board_slot: Option<u32>,
    /// Generation of the configuration it goes by.
    #[serde(default)]
    pub generation: u64,
    /// How the master sees it.
    #[serde(default)]
    pub state: api::State,
    /// When it was started, monotonic ms.
    #[serde(default)]
    pub started_ms: u64,
    /// How the one before it ended, which process it was, and when, monotonic ms.
    #[serde(default)]
    pub last_end: Option<(String, u32, u64)>,
}

/// From the master to any child.
#[derive(Debug, Serialize, Deserialize)]
pub enum MasterToChild {
    /// First message. Descriptors: the scoreboard, the work record of this process.
    Start(Start),
    /// Accept on these. Descriptors: one listening socket for each address.
    Listen {
        /// Where they are bound.
        addresses: Vec<SocketAddr>,
    },
    /// A back-source is there. Descriptors: the channel to it, and the receiving end of its wake-ups.
    Source {
        /// Which one.
        shard: u32,
        /// Number of this link, never used again.
        #[serde(default)]
        link: u64,
    },
    /// A reader of rings is there. Descriptors: the channel to it, and the sending end for its wake-ups.
    Reader {
        /// What it is.
        role: Role,
        /// Its number.
        #[serde(rename = "slot")]
        number: u32,
        /// Number of this link, never used again.
        #[serde(default)]
        link: u64,
    },
    /// A ring that an earlier back-source wrote. Descriptor: the writable memfd.
    Ring {
        /// What it carries.
        stream: StreamInfo,
    },
    /// All processes, for the API.
    Processes(Vec<ProcessInfo>),
    /// End: say goodbye to clients and exit.
    Stop,
    /// The configuration is another one from now on. Answered with [`ChildToMaster::Applied`].
    Configure {
        /// Its generation.
        generation: u64,
        /// The configuration.
        config: Box<conf::Config>,
    },
    /// Accept on these no more; connections that wait in the backlog are still taken.
    StopListening {
        /// Where they are bound.
        addresses: Vec<SocketAddr>,
    },
    /// Accept nobody any more, and exit when the last client has gone.
    Drain,
    /// Open the log file again: it was renamed.
    ReopenLog,
    /// Take nobody from this address for a while: processes died of what came from there.
    Refuse {
        /// The address.
        ip: IpAddr,
        /// For so long.
        for_ms: u64,
    },
    /// What the last reload did, for the API.
    Reloaded(api::Reload),
    /// Whom would this configuration touch? Answered with [`ChildToMaster::Previewed`].
    Preview {
        /// Number of the question.
        id: u64,
        /// The configuration.
        config: Box<conf::Config>,
    },
    /// Are you there? Answered with [`ChildToMaster::Pong`].
    Ping,
    /// Accept on these too, which belong to another process that can't be started. Descriptors as for [`Self::Listen`].
    Lend {
        /// The number of that process.
        #[serde(rename = "slot")]
        number: u32,
        /// Where they are bound.
        addresses: Vec<SocketAddr>,
    },
    /// That process is there again: accept no more on what was lent of it.
    TakeBack {
        /// Its number.
        #[serde(rename = "slot")]
        number: u32,
    },
    /// Serve files and streams over HTTP on this. Descriptor: the listening socket.
    ListenHttp {
        /// Where it is bound.
        address: SocketAddr,
        /// Over TLS.
        tls: bool,
    },
    /// Another http process is there. Descriptor: the channel to it.
    Sibling {
        /// Its number.
        #[serde(rename = "slot")]
        number: u32,
        /// Number of this link, never used again.
        #[serde(default)]
        link: u64,
    },
    /// What a predecessor of this process wanted to be remembered.
    Remembered {
        /// As it was said.
        #[serde(with = "serde_bytes")]
        state: Vec<u8>,
    },
    /// A download that a predecessor of this process had begun. Descriptors: the socket and the file.
    Download {
        /// Id of the connection.
        id: u64,
        /// What [`ChildToMaster::KeepDownload`] said of it.
        #[serde(with = "serde_bytes")]
        state: Vec<u8>,
    },
    /// Hold this for the next master: the table of all processes, and what else it must know. Replaces what was said
    /// before. Until it has come, a child has not got all that belongs to its start.
    State {
        /// What only masters understand.
        #[serde(with = "serde_bytes")]
        state: Vec<u8>,
    },
    /// Other secrets than those of the start message: the directory that had the token was removed.
    Keys {
        /// As [`Start::token`].
        token: api::Token,
        /// As [`Start::key`].
        key: api::Token,
    },
    /// As [`Self::Drain`]; who is left after this time is ended.
    DrainWithin {
        /// Milliseconds from now; 0: at once.
        ms: u64,
    },
    /// Something that you wanted to be kept has not arrived, for want of descriptors: say all of it again.
    KeepAgain,
}

/// From any child to the master.
#[derive(Debug, Serialize, Deserialize)]
pub enum ChildToMaster {
    /// It serves.
    Ready {
        /// Port of its private API on loopback.
        private_api_port: u16,
    },
    /// Keep this ring for a successor. Descriptor: the writable memfd. Replaces the one of the same stream id.
    KeepRing {
        /// What it carries.
        stream: StreamInfo,
    },
    /// The stream is gone.
    DropRing {
        /// Its id.
        stream_id: u32,
    },
    /// First message to a master that this child has found by itself, because the former one died or the channel to it
    /// broke. Descriptors: the scoreboard, the work record. What the child keeps for the master follows, then [`Self::Ready`].
    Hello(Hello),
    /// It accepts on these. Descriptors: one listening socket for each address.
    Listening {
        /// Where they are bound.
        addresses: Vec<SocketAddr>,
    },
    /// The configuration of this generation is in force here.
    Applied {
        /// Which.
        generation: u64,
    },
    /// Whom a configuration would touch.
    Previewed {
        /// Number of the question.
        id: u64,
        /// By vhost.
        touched: Vec<api::Touched>,
        /// All clients of this process.
        all: api::Touched,
    },
    /// The loop of this process turns.
    Pong,
    /// Keep this download for a successor. Descriptors: the socket and the file. Replaces the one of the same id.
    KeepDownload {
        /// Id of the connection.
        id: u64,
        /// What a successor has to know.
        #[serde(with = "serde_bytes")]
        state: Vec<u8>,
    },
    /// Remember this for a successor. Replaces what was said before.
    Remember {
        /// What only this role understands.
        #[serde(with = "serde_bytes")]
        state: Vec<u8>,
    },
    /// The download is over.
    DropDownload {
        /// Id of the connection.
        id: u64,
    },
    /// A link to another process has ended; another one is wanted if that process lives.
    LinkDown {
        /// Its number.
        link: u64,
    },
    /// Descriptors that came from the master have found no room: what belongs to this process is wanted again.
    GiveAgain,
    /// The master said something that this process does not understand: it is of another version.
    NotUnderstood {
        /// Name of the message.
        what: String,
    },
}

/// Who a child is that comes to a master by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Its process id.
    pub pid: u32,
    /// What it is.
    #[serde(default = "unknown_role")]
    pub role: Role,
    /// Its number among those of its role.
    #[serde(default)]
    pub number: u32,
    /// Its place on the scoreboard, which is that in the master's table.
    #[serde(default)]
    pub board_slot: u32,
    /// Vhost and id of its ingest.
    #[serde(default)]
    pub ingest: Option<(String, String)>,
    /// Generation of the configuration that it goes by.
    #[serde(default)]
    pub generation: u64,
    /// It takes nobody any more.
    #[serde(default)]
    pub draining: bool,
    /// The newest [`MasterToChild::State`]; empty when none has come.
    #[serde(default, with = "serde_bytes")]
    pub state: Vec<u8>,
    /// Its links to other processes.
    #[serde(default)]
    pub links: Vec<LinkEnd>,
}

/// One end of a link between two processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkEnd {
    /// Number of the link.
    pub link: u64,
    /// Whether rings are read over it at this end; two http processes are equals, of which none does.
    #[serde(default)]
    pub reads: bool,
}

const fn unknown_role() -> Role {
    Role::Master
}

/// From an http process to another.
#[derive(Debug, Serialize, Deserialize)]
pub enum HttpToHttp {
    /// Go on with this connection: it asks for what is yours. Descriptor: the socket.
    Handoff {
        /// What the receiver has to know.
        #[serde(with = "serde_bytes")]
        connection: Vec<u8>,
    },
}

/// A stream as its back-source describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamInfo {
    /// Number of the stream within its back-source, never reused while the server runs.
    pub stream_id: u32,
    /// Its name.
    pub key: StreamKey,
    /// Whether somebody publishes it now.
    pub live: bool,
}

/// From a reader of rings (a stream process, or another back-source) to a back-source.
#[derive(Debug, Serialize, Deserialize)]
pub enum ReaderToSource {
    /// Take over this connection: it wants to publish. Descriptor: the socket.
    Handoff {
        /// The connection's snapshot.
        #[serde(with = "serde_bytes")]
        connection: Vec<u8>,
    },
    /// I have viewers of this stream: send me its ring, and wake me.
    Subscribe {
        /// Its id.
        stream_id: u32,
    },
    /// I have none any more.
    Unsubscribe {
        /// Its id.
        stream_id: u32,
    },
    /// A viewer of mine lags: let the ring hold this much.
    Hold {
        /// Its id.
        stream_id: u32,
        /// Milliseconds of media to hold.
        want_ms: u64,
    },
    /// Gather wake-ups for this stream: at most one each so many ms (0: one each turn).
    Pace {
        /// Its id.
        stream_id: u32,
        /// Milliseconds.
        ms: u32,
    },
    /// What is published can't be used as the configuration wants it: end the publisher.
    EndPublish {
        /// Its id.
        stream_id: u32,
    },
    /// I have viewers of a stream that I do not know. Said again to a successor, and when a stream that has viewers goes; said
    /// twice, it counts once.
    Want {
        /// Its name.
        key: StreamKey,
        /// What the first of the viewers said.
        #[serde(default)]
        request: ViewerRequest,
    },
    /// The last of them has gone.
    Unwant {
        /// Its name.
        key: StreamKey,
    },
}

/// What a viewer said that asked for a stream: who pulls the stream from another server may have to say the same there.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ViewerRequest {
    /// Its `tcUrl`, or the URL that it asked for; may contain secrets in its query.
    pub tc_url: String,
    /// The page that its player is in.
    pub page_url: Option<String>,
    /// The program that its player is.
    pub swf_url: Option<String>,
    /// The query of the stream's name, in order; may contain secrets.
    pub params: Vec<(String, String)>,
}

impl ViewerRequest {
    /// Most bytes of all its texts: addresses with signed tokens fit.
    pub const MAX_BYTES: usize = 4_096;

    /// As it is, or without anything when it is longer than that: it is kept for each stream that is wanted.
    #[must_use]
    pub fn bounded(self) -> Self {
        let params = self.params.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>();
        let urls = [&self.page_url, &self.swf_url].map(|url| url.as_ref().map_or(0, String::len));
        let bytes = self.tc_url.len() + urls.iter().sum::<usize>() + params;
        if bytes > Self::MAX_BYTES { Self::default() } else { self }
    }
}

/// From a back-source to a reader of rings.
#[derive(Debug, Serialize, Deserialize)]
pub enum SourceToReader {
    /// A stream begins, goes on, or (not `live`) rests. Sent for all streams when the channel opens, then at each change.
    Stream(StreamInfo),
    /// A stream is gone.
    Gone {
        /// Its id.
        stream_id: u32,
    },
    /// The ring of a stream, its first or its next generation. Descriptor: the read-only memfd.
    Ring {
        /// Its id.
        stream_id: u32,
        /// Generation of the ring.
        generation: u32,
    },
    /// All streams that exist were told.
    Listed,
}
