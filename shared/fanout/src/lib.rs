//! The fan-out of a stream, without IO: where a viewer joins, what it gets next, when it jumps, and where it stood when its
//! process died.
//!
//! A [`Cursor`] is a viewer's place among the packets of a stream and all that its bytes depend on. [`Cursor::step`] tells
//! what comes next: a span of the ring that goes out as it lies there, equal for all viewers, or bytes with headers of the
//! viewer's own. The caller sends, and says with [`Cursor::take`] how much went. [`Window`] is what all viewers of a stream
//! know of it together, [`Packets`] what a ring (or a test) tells.
//!
//! The bytes of a viewer are a function of its cursor and of how many were taken: [`Cursor::after`] computes where a viewer
//! stands from the last cursor that was kept and the number of bytes that the kernel says were sent since. Whatever does
//! not follow from the bytes (a jump, a command of the peer, the choice of a base time) counts up [`Cursor::changes`].

#![forbid(unsafe_code)]

mod cursor;
mod former;
mod join;
mod lag;
mod packets;
mod restore;
mod step;
mod window;
mod wire;

pub use cursor::{Cursor, Delivery, PeerRequest, Reason};
pub use former::FormerCursor;
pub use lag::{QueueLimits, Watched};
pub use packets::{NOTE_ABSOLUTE_TIME, NOTE_BEGAN_NS, NOTE_BORN_NS, NOTE_FIRST_SEQ, Packets};
pub use restore::{RestoreError, Restored};
pub use step::{Step, Stream, Wire};
pub use window::Window;
pub use wire::unpack;
