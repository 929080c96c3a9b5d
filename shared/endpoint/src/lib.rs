//! RTMP connections on an event loop: what a stream process and a back-source have in common.
//!
//! A [`Hub`] owns the loop, the connections and the audiences (the viewers of one stream, with the stream's ring). What
//! differs between roles — who takes a publisher, where rings come from — is asked of a [`Host`]. The protocol itself
//! is `rtmp`'s; here are only sockets, queues, deadlines and the path from ring to socket.
//!
//! A viewer is a cursor of `fanout` and a socket: after the first packet of each track, which gets a header of the viewer's
//! own, everything goes from the ring to the socket as it lies there, one system call for all that waits.

#![forbid(unsafe_code)]

mod admission;
mod audience;
mod audiences;
mod connection;
mod connections;
mod counts;
mod decisions;
mod delivery;
mod dialogue;
mod end;
mod gathering;
mod host;
mod hub;
mod links;
mod newcomers;
mod outbox;
mod overview;
mod preview;
mod read_turns;
mod refer;
mod sessions;
mod snapshot;
mod status;
mod transport;
mod upstreams;
mod verdict;
mod viewer;

pub use audience::{AudienceId, Wakes};
pub use connection::Connection;
pub use end::End;
pub use fanout::{NOTE_ABSOLUTE_TIME, NOTE_BEGAN_NS, NOTE_BORN_NS, NOTE_FIRST_SEQ, unpack};
pub use host::{Asker, Host};
pub use hub::{ConnectionId, FIRST_TOKEN, Hub};
pub use links::{LinkEvent, Links};
pub use newcomers::unestablished_places;
pub use refer::allowed as is_page_allowed;
pub use snapshot::ConnectionSnapshot;
pub use upstreams::{Pushed, UpstreamEvent, UpstreamId};
pub use verdict::{Asked, DecisionId, Otherwise, Reason, Refusal, Verdict};
