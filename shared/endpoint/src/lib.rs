//! RTMP connections on an event loop: what a stream process and a back-source have in common.
//!
//! A [`Hub`] owns the loop, the connections and the audiences (the viewers of one stream, with the stream's ring). What
//! differs between roles — who takes a publisher, where rings come from — is asked of a [`Host`]. The protocol itself
//! is `rtmp`'s; here are only sockets, queues, deadlines and the path from ring to socket.
//!
//! A viewer is a position in a ring. Its bytes are a pure function of where it began, what its base time is, and where it
//! jumped: after the first packet of each track, which gets a header of the viewer's own, everything goes from the ring
//! to the socket as it lies there, one system call for all that waits.

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
mod wire;

pub use audience::AudienceId;
pub use connection::Connection;
pub use end::End;
pub use hub::{ConnectionId, FIRST_TOKEN, Host, Hub, unestablished_places};
pub use links::{LinkEvent, Links};
pub use refer::allowed as is_page_allowed;
pub use snapshot::ConnectionSnapshot;
pub use wire::unpack;

/// Note of a ring (word 0): the stream keeps its publisher's absolute time (`atc`, or `time_jitter off`), so that viewers
/// are not rebased.
pub const NOTE_ABSOLUTE_TIME: usize = 0;
/// Note of a ring (word 3): when the publish began, monotonic ns. Who joined before that gets it from its first packet on.
pub const NOTE_BEGAN_NS: usize = 3;
/// Note of a ring (word 4): sequence number of that first packet, plus one; 0 when nobody has published yet.
pub const NOTE_FIRST_SEQ: usize = 4;
/// Note of a ring (word 5): when the stream's first ring was made, monotonic ns. All its generations have the same; another
/// means another stream of the same name.
pub const NOTE_BORN_NS: usize = 5;
