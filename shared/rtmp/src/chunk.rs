//! The chunk layer: messages cut into chunks and put together again, per chunk stream (specification 5.3).

pub mod header;
pub mod reader;
pub mod writer;
