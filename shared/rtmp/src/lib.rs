//! RTMP without IO: handshake, chunks, messages, commands, and sessions of both roles (specification of December 2012,
//! with the habits of Flash, FMLE, librtmp and ffmpeg, and Enhanced RTMP where it concerns `connect`).
//!
//! Bytes and time go in, bytes and events come out. Nothing here owns a socket, a clock, a thread, a log or a source
//! of randomness, and nothing knows of processes or configuration: limits come in as plain values.
//!
//! **The contract.** Call a `handle_*`, `accept_*` or `reject_*` method of a session; then drain `poll_output` until
//! it returns `None`; then ask `poll_timeout` when to call `handle_timeout`. After an error the session is dead: send
//! what `poll_output` still has, and close.
//!
//! A server and a client in memory:
//!
//! ```
//! use rtmp::*;
//!
//! let identity = Identity { server_ip: "127.0.0.1".into(), pid: 1, id: 1, version: "0.1.0".into() };
//! let mut server = ServerSession::new(0, ServerOptions {
//!     limits: Limits::default().into(), seed: [1; 32], identity,
//!     out_chunk_size: 60_000, out_window: 2_500_000, in_ack_size: 0,
//! });
//! let mode = ClientMode::Publish { stream: "cam?token=1".into(), fmle: true };
//! let tc_url = "rtmp://127.0.0.1/live".to_owned();
//! let mut client = ClientSession::new(0, ClientOptions::new(tc_url, "live".into(), mode, [2; 32]));
//!
//! let mut heard = Vec::new();
//! loop {
//!     let mut quiet = true;
//!     while let Some(output) = client.poll_output() {
//!         quiet = false;
//!         match output {
//!             Output::Transmit(bytes) => server.handle_input(0, &bytes)?,
//!             Output::Event(ClientEvent::Publishing) => {
//!                 client.send_media(MediaKind::Video, 40, b"\x17\x01\0\0\0");
//!             }
//!             Output::Event(_) | Output::Close(_) => {}
//!         }
//!     }
//!     while let Some(output) = server.poll_output() {
//!         quiet = false;
//!         match output {
//!             Output::Transmit(bytes) => client.handle_input(0, &bytes)?,
//!             Output::Event(ServerEvent::Connect(request)) => {
//!                 assert_eq!(request.target.app, "live");
//!                 server.accept_connect(0)?;
//!             }
//!             Output::Event(ServerEvent::Publish(request)) => {
//!                 assert_eq!(request.name, "cam");
//!                 server.accept_publish(0, request.msid)?;
//!             }
//!             Output::Event(ServerEvent::Media { timestamp, .. }) => heard.push(timestamp),
//!             Output::Event(_) | Output::Close(_) => {}
//!         }
//!     }
//!     if quiet { break }
//! }
//! assert_eq!(heard, [40]);
//! # Ok::<(), SessionError>(())
//! ```

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
    ClientEvent, CloseReason, ConnectRequest, Dropped, Output, PlayReject, PlayRequest, PublishKind,
    PublishRequest, RejectReason, ServerEvent,
};
pub use session::pool::Pool;
pub use session::server::{Counters, Identity, Pending, ServerOptions, ServerSession};
pub use session::snapshot::SnapshotError;
