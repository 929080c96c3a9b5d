//! What every child of the master has: the control channel, a private API by which it tells what it does, and the loop.
//!
//! The role's own work is not here. In single mode a child is a thread and everything else is the same.

#![forbid(unsafe_code)]

mod control;
mod log;
mod loopback;
mod private_api;
mod process;
mod process_list;
mod sandbox;

pub use control::{Control, ControlError, terminate_flag};
pub use log::{LogHooks, configure_log, log_trouble, reopen_log, set_log_hooks};
pub use process::{Process, Woken, run};
pub use process_list::Observer;
