//! HTTP/1.1 as a server of media needs it: request heads in, response heads and the framing of bodies out.
//!
//! Bytes only: no sockets, no files, no clock. A request here has no body; one that announces a body is refused, so that
//! there is never a doubt where the next request begins.

#![forbid(unsafe_code)]

pub mod chunked;
pub mod mime;
mod path;
mod range;
mod request;
mod response;
pub mod websocket;

pub use path::{BadPath, Path, encode};
pub use range::Range;
pub use request::{HeadError, MAX_HEAD_BYTES, MAX_HEADERS, Method, Request};
pub use response::{Response, is_unchanged};
