//! How our own processes talk: typed control messages over Unix SEQPACKET sockets, with descriptors beside them, and the
//! wake-up datagrams by which a writer of rings tells its readers that something new is there.
//!
//! Nothing here blocks: what a peer does not take yet waits in a bounded queue. Everything received is checked against
//! ceilings before memory is taken for it; a peer that breaks the form is an error of that one channel. `unsafe` stands
//! in `tcp.rs` alone.

mod channel;
mod fd;
mod frame;
mod message;
mod rendezvous;
mod reserve;
mod tcp;
mod to_role;
mod unknown;
mod wake;

pub use channel::{Channel, ChannelError};
pub use fd::take_stdin;
pub use frame::{FrameError, MAX_BODY_BYTES, MAX_FDS, decode_header};
pub use message::{
    ChildToMaster, Hello, HttpToHttp, LinkEnd, MasterToChild, ProcessInfo, ReaderToSource, Role,
    SourceToReader, Start, StreamInfo, ViewerRequest,
};
pub use rendezvous::{Rendezvous, find_master, master_of};
pub use reserve::{RESERVED, in_reserve};
pub use tcp::bytes_sent;
pub use to_role::{Common, ToApi, ToBackSource, ToHttp, ToIngest, ToRole, ToStream};
pub use wake::{Wake, WakeReceiver, WakeSender};

/// The environment variable in which a child carries whose it is. Programs that a child runs do not get it.
pub const IDENTITY_VARIABLE: &str = "_SRS_CHILD";
