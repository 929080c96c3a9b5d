//! RTMP without IO.
#![forbid(unsafe_code)]

pub mod aggregate;
pub mod chunk;
pub mod command;
pub mod control;
pub mod handshake;
pub mod limits;
pub mod message;
pub mod session;
pub mod status;
pub mod url;

pub use limits::Limits;
pub use message::{MediaKind, Message};
pub use session::client::{ClientMode, ClientOptions, ClientSession};
pub use session::error::SessionError;
pub use session::event::{
    ClientEvent, CloseReason, ConnectRequest, Output, PlayReject, PlayRequest, PublishKind, PublishRequest,
    RejectReason, ServerEvent,
};
pub use session::server::{Counters, Identity, Pending, ServerOptions, ServerSession};
pub use session::snapshot::SnapshotError;
