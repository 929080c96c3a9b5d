//! The workers: processes that face viewers and only read media rings.
//!
//! `stream` serves RTMP, `http` serves HTTP, `api` answers operators. They are strangers to the back-source: what they know of it comes through
//! messages and rings.

#![forbid(unsafe_code)]

pub mod api;
mod disk;
mod listeners;
mod outbox;
mod outputs;
mod reading;
mod recording;
pub mod stream;
pub mod web;
mod workers;
