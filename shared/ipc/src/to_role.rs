//! What each role can be told. [`MasterToChild`] is what travels; a role sees only what is meant for it, as an enum of its
//! own, which it has to match to the end: a message that a role does not handle does not compile.

use std::net::{IpAddr, SocketAddr};

use crate::{MasterToChild, ProcessInfo, Role, StreamInfo};

/// What a role can be told by the master, beside what every child can ([`Common`]).
pub trait ToRole: Sized {
    /// Whose messages they are.
    const ROLE: Role;

    /// Takes a message for this role.
    ///
    /// # Errors
    /// The message itself, when it is not for this role.
    fn take(message: MasterToChild) -> Result<Self, Box<MasterToChild>>;
}

/// What every child can be told.
#[derive(Debug)]
pub enum Common {
    /// Begin; only the first message says so.
    Start,
    /// See [`MasterToChild::Ping`].
    Ping,
    /// See [`MasterToChild::State`].
    State(Vec<u8>),
    /// See [`MasterToChild::KeepAgain`].
    KeepAgain,
    /// See [`MasterToChild::Keys`].
    Keys {
        /// What opens the server.
        token: api::Token,
        /// What opens the private API of this process.
        key: api::Token,
    },
    /// See [`MasterToChild::ReopenLog`].
    ReopenLog,
    /// See [`MasterToChild::Stop`].
    Stop,
}

/// To a back-source.
#[derive(Debug)]
pub enum ToBackSource {
    /// See [`MasterToChild::Source`]: another back-source, whose streams are watched here.
    Source {
        /// Which one.
        shard: u32,
        /// Number of the link.
        link: u64,
    },
    /// See [`MasterToChild::Reader`].
    Reader {
        /// What it is.
        role: Role,
        /// Its number.
        number: u32,
        /// Number of the link.
        link: u64,
    },
    /// See [`MasterToChild::Ring`].
    Ring(StreamInfo),
    /// See [`MasterToChild::Configure`].
    Configure {
        /// Its generation.
        generation: u64,
        /// The configuration.
        config: Box<conf::Config>,
    },
    /// See [`MasterToChild::Preview`].
    Preview {
        /// Number of the question.
        id: u64,
        /// The configuration.
        config: Box<conf::Config>,
    },
}

/// To a stream process.
#[derive(Debug)]
pub enum ToStream {
    /// See [`MasterToChild::Listen`].
    Listen(Vec<SocketAddr>),
    /// See [`MasterToChild::StopListening`].
    StopListening(Vec<SocketAddr>),
    /// See [`MasterToChild::Lend`].
    Lend {
        /// Number of the process that is not there.
        number: u32,
        /// Where its sockets are bound.
        addresses: Vec<SocketAddr>,
    },
    /// See [`MasterToChild::TakeBack`]: the number of the process that is there again.
    TakeBack(u32),
    /// See [`MasterToChild::Source`].
    Source {
        /// Which one.
        shard: u32,
        /// Number of the link.
        link: u64,
    },
    /// See [`MasterToChild::Drain`] and [`MasterToChild::DrainWithin`].
    Drain {
        /// Who is left then is ended, ms from now.
        within_ms: Option<u64>,
    },
    /// See [`MasterToChild::Configure`].
    Configure {
        /// Its generation.
        generation: u64,
        /// The configuration.
        config: Box<conf::Config>,
    },
    /// See [`MasterToChild::Preview`].
    Preview {
        /// Number of the question.
        id: u64,
        /// The configuration.
        config: Box<conf::Config>,
    },
    /// See [`MasterToChild::Refuse`].
    Refuse {
        /// The address.
        ip: IpAddr,
        /// For so long.
        for_ms: u64,
    },
}

/// To an http process.
#[derive(Debug)]
pub enum ToHttp {
    /// See [`MasterToChild::ListenHttp`].
    Listen {
        /// Where it is bound.
        address: SocketAddr,
        /// Over TLS.
        tls: bool,
    },
    /// See [`MasterToChild::StopListening`].
    StopListening(Vec<SocketAddr>),
    /// See [`MasterToChild::Lend`].
    Lend {
        /// Number of the process that is not there.
        number: u32,
        /// Where its sockets are bound.
        addresses: Vec<SocketAddr>,
    },
    /// See [`MasterToChild::TakeBack`]: the number of the process that is there again.
    TakeBack(u32),
    /// See [`MasterToChild::Source`].
    Source {
        /// Which one.
        shard: u32,
        /// Number of the link.
        link: u64,
    },
    /// See [`MasterToChild::Sibling`].
    Sibling {
        /// Its number.
        number: u32,
        /// Number of the link.
        link: u64,
    },
    /// See [`MasterToChild::Remembered`].
    Remembered(Vec<u8>),
    /// See [`MasterToChild::Download`].
    Download {
        /// Id of the connection.
        id: u64,
        /// What is known of it.
        state: Vec<u8>,
    },
    /// See [`MasterToChild::Configure`].
    Configure {
        /// Its generation.
        generation: u64,
        /// The configuration.
        config: Box<conf::Config>,
    },
    /// See [`MasterToChild::Preview`].
    Preview {
        /// Number of the question.
        id: u64,
        /// The configuration.
        config: Box<conf::Config>,
    },
    /// See [`MasterToChild::Refuse`].
    Refuse {
        /// The address.
        ip: IpAddr,
        /// For so long.
        for_ms: u64,
    },
    /// See [`MasterToChild::Processes`].
    Processes(Vec<ProcessInfo>),
    /// See [`MasterToChild::Reloaded`].
    Reloaded(api::Reload),
}

/// To the api process.
#[derive(Debug)]
pub enum ToApi {
    /// See [`MasterToChild::Listen`].
    Listen(Vec<SocketAddr>),
    /// See [`MasterToChild::StopListening`].
    StopListening(Vec<SocketAddr>),
    /// See [`MasterToChild::Configure`].
    Configure {
        /// Its generation.
        generation: u64,
        /// The configuration.
        config: Box<conf::Config>,
    },
    /// See [`MasterToChild::Processes`].
    Processes(Vec<ProcessInfo>),
    /// See [`MasterToChild::Reloaded`].
    Reloaded(api::Reload),
}

/// To an ingester: nothing beside what all can be told.
#[derive(Debug)]
pub enum ToIngest {}

impl Common {
    /// Takes a message that is for every child.
    ///
    /// # Errors
    /// The message itself, when it is for some roles only.
    pub fn take(message: MasterToChild) -> Result<Self, Box<MasterToChild>> {
        Ok(match message {
            MasterToChild::Start(_) => Self::Start,
            MasterToChild::Ping => Self::Ping,
            MasterToChild::State { state } => Self::State(state),
            MasterToChild::KeepAgain => Self::KeepAgain,
            MasterToChild::Keys { token, key } => Self::Keys { token, key },
            MasterToChild::ReopenLog => Self::ReopenLog,
            MasterToChild::Stop => Self::Stop,
            other => return Err(Box::new(other)),
        })
    }
}

impl ToRole for ToBackSource {
    const ROLE: Role = Role::BackSource;

    fn take(message: MasterToChild) -> Result<Self, Box<MasterToChild>> {
        Ok(match message {
            MasterToChild::Source { shard, link } => Self::Source { shard, link },
            MasterToChild::Reader { role, number, link } => Self::Reader { role, number, link },
            MasterToChild::Ring { stream } => Self::Ring(stream),
            MasterToChild::Configure { generation, config } => Self::Configure { generation, config },
            MasterToChild::Preview { id, config } => Self::Preview { id, config },
            other => return Err(Box::new(other)),
        })
    }
}

impl ToRole for ToStream {
    const ROLE: Role = Role::Stream;

    fn take(message: MasterToChild) -> Result<Self, Box<MasterToChild>> {
        Ok(match message {
            MasterToChild::Listen { addresses } => Self::Listen(addresses),
            MasterToChild::StopListening { addresses } => Self::StopListening(addresses),
            MasterToChild::Lend { number, addresses } => Self::Lend { number, addresses },
            MasterToChild::TakeBack { number } => Self::TakeBack(number),
            MasterToChild::Source { shard, link } => Self::Source { shard, link },
            MasterToChild::Drain => Self::Drain { within_ms: None },
            MasterToChild::DrainWithin { ms } => Self::Drain { within_ms: Some(ms) },
            MasterToChild::Configure { generation, config } => Self::Configure { generation, config },
            MasterToChild::Preview { id, config } => Self::Preview { id, config },
            MasterToChild::Refuse { ip, for_ms } => Self::Refuse { ip, for_ms },
            other => return Err(Box::new(other)),
        })
    }
}

impl ToRole for ToHttp {
    const ROLE: Role = Role::Http;

    fn take(message: MasterToChild) -> Result<Self, Box<MasterToChild>> {
        Ok(match message {
            MasterToChild::ListenHttp { address, tls } => Self::Listen { address, tls },
            MasterToChild::StopListening { addresses } => Self::StopListening(addresses),
            MasterToChild::Lend { number, addresses } => Self::Lend { number, addresses },
            MasterToChild::TakeBack { number } => Self::TakeBack(number),
            MasterToChild::Source { shard, link } => Self::Source { shard, link },
            MasterToChild::Sibling { number, link } => Self::Sibling { number, link },
            MasterToChild::Remembered { state } => Self::Remembered(state),
            MasterToChild::Download { id, state } => Self::Download { id, state },
            MasterToChild::Configure { generation, config } => Self::Configure { generation, config },
            MasterToChild::Preview { id, config } => Self::Preview { id, config },
            MasterToChild::Refuse { ip, for_ms } => Self::Refuse { ip, for_ms },
            MasterToChild::Processes(processes) => Self::Processes(processes),
            MasterToChild::Reloaded(reload) => Self::Reloaded(reload),
            other => return Err(Box::new(other)),
        })
    }
}

impl ToRole for ToApi {
    const ROLE: Role = Role::Api;

    fn take(message: MasterToChild) -> Result<Self, Box<MasterToChild>> {
        Ok(match message {
            MasterToChild::Listen { addresses } => Self::Listen(addresses),
            MasterToChild::StopListening { addresses } => Self::StopListening(addresses),
            MasterToChild::Configure { generation, config } => Self::Configure { generation, config },
            MasterToChild::Processes(processes) => Self::Processes(processes),
            MasterToChild::Reloaded(reload) => Self::Reloaded(reload),
            other => return Err(Box::new(other)),
        })
    }
}

impl ToRole for ToIngest {
    const ROLE: Role = Role::Ingest;

    fn take(message: MasterToChild) -> Result<Self, Box<MasterToChild>> {
        Err(Box::new(message))
    }
}

impl MasterToChild {
    /// Which roles it is for: a message that is for nobody does not compile. The master sends it to nobody else.
    #[must_use]
    pub const fn roles(&self) -> &'static [Role] {
        match self {
            Self::Start(_)
            | Self::Ping
            | Self::State { .. }
            | Self::KeepAgain
            | Self::Keys { .. }
            | Self::ReopenLog
            | Self::Stop => &[Role::BackSource, Role::Stream, Role::Http, Role::Api, Role::Ingest],
            Self::Reader { .. } | Self::Ring { .. } => &[Role::BackSource],
            Self::Source { .. } | Self::Preview { .. } => &[Role::BackSource, Role::Stream, Role::Http],
            Self::Configure { .. } => &[Role::BackSource, Role::Stream, Role::Http, Role::Api],
            Self::Drain | Self::DrainWithin { .. } => &[Role::Stream],
            Self::Listen { .. } => &[Role::Stream, Role::Api],
            Self::StopListening { .. } => &[Role::Stream, Role::Http, Role::Api],
            Self::Lend { .. } | Self::TakeBack { .. } | Self::Refuse { .. } => &[Role::Stream, Role::Http],
            Self::ListenHttp { .. }
            | Self::Sibling { .. }
            | Self::Remembered { .. }
            | Self::Download { .. } => &[Role::Http],
            Self::Processes(_) | Self::Reloaded(_) => &[Role::Http, Role::Api],
        }
    }

    /// Its name, as it travels.
    #[must_use]
    pub fn name(&self) -> String {
        let whole = format!("{self:?}");
        whole.chars().take_while(|letter| letter.is_ascii_alphanumeric()).collect()
    }
}
