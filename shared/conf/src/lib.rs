//! The configuration file: from text to typed structs.
//!
//! Text becomes a tree of directives that know their place ([`tree`]), the tree is checked against the table of all
//! directives ([`directive`]), and the typed [`config::Config`] is built from it. Every complaint is a
//! [`diagnostic::Diagnostic`] with file, line and column. This crate reads files and the environment and nothing else.
#![forbid(unsafe_code)]

mod cluster;
pub mod config;
mod encode;
mod limits;
mod record;
mod service;
pub mod vhost;
mod web;

pub use config::{Config, Lookup};
