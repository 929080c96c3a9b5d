//! RTMP connections on an event loop: what a stream process and a back-source have in common.
//!
//! A [`Hub`] owns the loop, the connections and the audiences (the viewers of one stream, with the stream's ring). What
//! differs between roles — who takes a publisher, where rings come from — is asked of a [`Host`]. The protocol itself
//! is `rtmp`'s; here are only sockets, queues, deadlines and the path from ring to socket.
//!
//! A viewer is a cursor of `fanout` and a socket: after the first packet of each track, which gets a header of the viewer's
//! own, everything goes from the ring to the socket as it lies there, one system call for all that waits.

#![forbid(unsafe_code)]

mod audience;
mod connection;
mod end;
mod hub;
mod links;
mod outbox;
mod refer;
mod snapshot;
mod viewer;

pub use audience::AudienceId;
pub use connection::Connection;
pub use end::End;
pub use fanout::{NOTE_ABSOLUTE_TIME, NOTE_BEGAN_NS, NOTE_BORN_NS, NOTE_FIRST_SEQ, unpack};
pub use hub::{ConnectionId, FIRST_TOKEN, Host, Hub, unestablished_places};
pub use links::{LinkEvent, Links};
pub use refer::allowed as is_page_allowed;
pub use snapshot::ConnectionSnapshot;
